"""Measure how well the content of items tells which items share users.

    python studies/hybrid/agreement.py data/lastfm data/ml-100k data/tiktok \
        data/amazon-beauty xwines

Writes `agreement.csv`, a row per data set and modality, from training interactions alone.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import polars as pl

from sgurinit import load_dataset
from sgurinit.core.content_agreement import compute_content_agreement

OUT = Path(__file__).parent / "agreement.csv"


def main() -> None:
    """Measure every modality."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+")
    rows = []
    for path in parser.parse_args().data:
        dataset = load_dataset(path)
        matrix = dataset.train_matrix()
        for modality, features in dataset.features.items():
            found = compute_content_agreement(matrix, features)
            if found is not None:
                rows.append({"data": Path(path).name, "modality": modality, **asdict(found)})
    pl.DataFrame(rows).write_csv(OUT)


if __name__ == "__main__":
    main()
