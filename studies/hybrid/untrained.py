r"""Rank items with the untrained joint space of the hybrid and of its controls.

    python studies/hybrid/untrained.py data/lastfm data/ml-100k data/tiktok \
        data/amazon-beauty xwines

64 columns, read on validation. Writes `untrained.csv`, a row per data set, arm and seed, and in
`users/` the scores of every user (not kept in git). Popularity is given for comparison.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl
import torch
from trained import METRICS, USERS

from sgurinit import load_dataset
from sgurinit.arms import CollaborativeInitializer, HybridInitializer, HybridShuffledInitializer
from sgurinit.data import Dataset
from sgurinit.evaluation import FullRanking
from sgurinit.runtime import keep_freed_memory

OUT = Path(__file__).parent / "untrained.csv"
ARMS = (HybridInitializer, HybridShuffledInitializer, CollaborativeInitializer)


def find_vectors(dataset: Dataset, arm: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute users and items; by popularity, all users are the same."""
    if arm == "popularity":
        return np.ones((dataset.n_users, 1)), dataset.popularity()[:, None].astype(np.float64)
    initializer = next(own for own in ARMS if own.name == arm)()
    joint = initializer.compute_start(dataset, seed).joint(64)
    return joint.users, joint.items


def main() -> None:
    """Measure everything; it takes minutes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    keep_freed_memory()
    USERS.mkdir(exist_ok=True)
    rows = []
    for path in given.data:
        dataset = load_dataset(path)
        ranking = FullRanking(dataset, "valid")
        for arm in ("popularity", *(own.name for own in ARMS)):
            for seed in range(given.seeds if arm != "popularity" else 1):
                users, items = map(torch.from_numpy, find_vectors(dataset, arm, seed))
                found = ranking.evaluate(lambda chosen, u=users, i=items: u[chosen] @ i.T)
                scores = {f"best {name}": found[name] for name in METRICS}
                name = f"{Path(path).name}_start_{arm}_None_{seed}.parquet"
                pl.DataFrame({"user": ranking.users, **scores}).write_parquet(USERS / name)
                means = {name: float(found[name].mean()) for name in METRICS}
                rows.append({"data": Path(path).name, "arm": arm, "seed": seed, **means})
                print(rows[-1], flush=True)
                pl.DataFrame(rows).write_csv(OUT)


if __name__ == "__main__":
    main()
