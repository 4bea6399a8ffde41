"""Keep the test scores of single users of finished studies, small enough for git.

    python studies/tools/keep_scores.py studies/main/lastfm/bprmf studies/main/lastfm/lightgcn

Writes `users.parquet` in each study's folder: model, arm, seed, user, recall@20 and ndcg@20 as
16-bit floats, a row per user and run, in the order of the runs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

from sgurinit.experiments import load_comparison

METRICS = ("recall@20", "ndcg@20")


def collect(folder: Path) -> pl.DataFrame:
    """Collect the scores of every finished run of the study in `folder`."""
    parts = []
    for entry in load_comparison(folder).summary["results"]:
        model, arm = entry["model"], entry["arm"]
        for seed in range(len(entry["seconds"])):
            users = pl.read_parquet(
                folder / "runs" / model / arm / f"seed-{seed}" / "users.parquet",
                columns=["user", *METRICS],
            )
            names = (pl.lit(model).alias("model"), pl.lit(arm).alias("arm"))
            parts.append(users.select(*names, pl.lit(seed, pl.UInt8).alias("seed"), pl.all()))
    return pl.concat(parts).with_columns(
        pl.col("model", "arm").cast(pl.Categorical),
        pl.col("user").cast(pl.UInt32),
        pl.col(*METRICS).cast(pl.Float16),
    )


def keep(scores: pl.DataFrame, folder: Path) -> None:
    """Write the scores into a folder, as small as possible."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "users.parquet"
    scores.write_parquet(path, compression="zstd", compression_level=19)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def main() -> None:
    """Write the file of every folder that is named."""
    for name in sys.argv[1:]:
        keep(collect(Path(name)), Path(name))


if __name__ == "__main__":
    main()
