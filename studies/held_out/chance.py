"""See what a random order of the held-out items scores, among themselves.

    python studies/held_out/chance.py data/lastfm xwines

Writes `chance.csv`: data, and NDCG@20 of the test users, the mean of 20 random orders.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import torch
from held_out import HERE, hold_out

from sgurinit import load_dataset
from sgurinit.evaluation import make_group_rankings

ORDERS = 20


def measure_chance(data: str) -> float:
    """Return the mean NDCG@20 of random scores."""
    dataset = hold_out(load_dataset(data), new_in_validation=False)
    ranking = dict(make_group_rankings(dataset, mask_valid=False))["cold among cold"]
    generator = torch.Generator().manual_seed(0)

    def draw(users: torch.Tensor) -> torch.Tensor:
        return torch.rand(len(users), dataset.n_items, generator=generator)

    found = [ranking.evaluate(draw)["ndcg@20"].mean() for _ in range(ORDERS)]
    return float(sum(found) / ORDERS)


def main() -> None:
    """Write the table."""
    rows = [{"data": Path(data).name, "ndcg@20": measure_chance(data)} for data in sys.argv[1:]]
    pl.DataFrame(rows).write_csv(HERE / "chance.csv")


if __name__ == "__main__":
    main()
