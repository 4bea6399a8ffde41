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
from sgurinit.data import summarize

OUT = Path(__file__).parent / "agreement.csv"


def main() -> None:
    """Measure every modality."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+")
    rows = []
    for path in parser.parse_args().data:
        for modality, content in summarize(load_dataset(path)).modalities.items():
            if content.agreement is not None:
                found = asdict(content.agreement)
                rows.append({"data": Path(path).name, "modality": modality, **found})
    pl.DataFrame(rows).write_csv(OUT)


if __name__ == "__main__":
    main()
