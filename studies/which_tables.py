"""Which of MMGCN's tables a start should fill.

    python studies/which_tables.py ../shared/data/tiktok --seeds 2

MMGCN has free vectors of users and items, and a table of user preferences per modality, in a raw
or a projected space. Each way fills some of them with the library's start and leaves the others
random. Two learning rates, ten epochs: validation is best in the first few and no better later.
Writes `studies/which_tables/results.csv`, a row per training and epoch; a stopped command goes on
where it was.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import torch
from missing import Row, measure_missing
from typing_extensions import override

from sgurinit import load_dataset
from sgurinit.arms import SGURInitInitializer
from sgurinit.models import MMGCN, UserTable
from sgurinit.runtime import keep_freed_memory
from sgurinit.training import TrainSettings, train

OUT = Path(__file__).parent / "which_tables" / "results.csv"
RATES = (1e-4, 1e-3)
# Spaces that are filled, and what the item side starts from.
WAYS = {
    "none": ((), "random"),
    "all": (("id", "raw", "projected"), "features"),
    "all but items": (("id", "raw", "projected"), "random"),
    "modality tables": (("raw", "projected"), "random"),
    "free vectors of users": (("id",), "random"),
}
KEY = ["way", "learning_rate", "seed"]


def filled(spaces: tuple[str, ...]) -> type[MMGCN]:
    """MMGCN with no other tables to fill than those in these spaces."""

    class Filled(MMGCN):
        @override
        def user_tables(self) -> list[UserTable]:
            return [table for table in super().user_tables() if table.space in spaces]

    return Filled


def measure(data: str, way: str, learning_rate: float, seed: int) -> list[Row]:
    """One training, a row per epoch."""
    torch.set_num_threads(1)
    keep_freed_memory()
    spaces, items = WAYS[way]
    trained = train(
        load_dataset(data),
        filled(spaces),
        SGURInitInitializer(items=items),
        config={"learning_rate": learning_rate},
        settings=TrainSettings(max_epochs=10),
        seed=seed,
    )
    named = dict(zip(KEY, (way, learning_rate, seed), strict=True))
    scores = ("epoch", "recall@20", "ndcg@20")
    return [named | {name: row[name] for name in scores} for row in trained.history]


def main() -> None:
    """Measure what is not measured yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    wanted = product(WAYS, RATES, range(arguments.seeds))
    measure_missing(OUT, KEY, wanted, measure, arguments.data, jobs=arguments.jobs)


if __name__ == "__main__":
    main()
