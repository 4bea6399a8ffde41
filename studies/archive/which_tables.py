"""Find out which of MMGCN's tables a start should fill.

    python studies/archive/which_tables.py data/tiktok --seeds 2

MMGCN has free vectors of users and items, and a table of user preferences per modality, in a raw
or a projected space. Each way fills some of them with the hybrid start and leaves the others
random. Two learning rates, ten epochs: validation is best within the first few. Writes
`which_tables/results.csv`, a row per training and epoch; a command that was stopped resumes.
"""

from __future__ import annotations

import argparse
import sys
from itertools import product
from pathlib import Path

import torch
from typing_extensions import override

from sgurinit import load_dataset
from sgurinit.arms import HybridInitializer
from sgurinit.models import MMGCN, UserTable
from sgurinit.runtime import keep_freed_memory
from sgurinit.training import TrainSettings, train

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from resumable import Row, measure_missing

OUT = Path(__file__).parent / "which_tables" / "results.csv"
RATES = (1e-4, 1e-3)
# Spaces that are filled, and whether the items start too.
WAYS = {
    "none": ((), False),
    "all": (("free", "raw", "projected"), True),
    "all but items": (("free", "raw", "projected"), False),
    "modality tables": (("raw", "projected"), False),
    "free vectors of users": (("free",), False),
}
KEY = ["way", "learning_rate", "seed"]


def filled(spaces: tuple[str, ...]) -> type[MMGCN]:
    """MMGCN in which only the tables in these spaces are filled."""

    class Filled(MMGCN):
        @override
        def user_tables(self) -> list[UserTable]:
            return [table for table in super().user_tables() if table.space in spaces]

    return Filled


def measure(data: str, way: str, learning_rate: float, seed: int) -> list[Row]:
    """Train once and return a row per epoch."""
    torch.set_num_threads(1)
    keep_freed_memory()
    spaces, fill_items = WAYS[way]
    trained = train(
        load_dataset(data),
        filled(spaces),
        HybridInitializer(fill_items=fill_items),
        config={"learning_rate": learning_rate},
        settings=TrainSettings(max_epochs=10),
        seed=seed,
    )
    named = dict(zip(KEY, (way, learning_rate, seed), strict=True))
    scores = ("epoch", "recall@20", "ndcg@20")
    return [named | {name: row[name] for name in scores} for row in trained.history]


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    wanted = product(WAYS, RATES, range(arguments.seeds))
    measure_missing(OUT, KEY, wanted, measure, arguments.data, jobs=arguments.jobs)


if __name__ == "__main__":
    main()
