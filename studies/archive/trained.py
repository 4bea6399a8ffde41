"""Train models from the vectors of `untrained.py`.

    python studies/archive/trained.py data/tiktok data/ml-100k --seeds 2

The users and items of a variant fill a model's tables at four times the tables' own norm. Models
have their default settings, patience is 50, scores are those of the best epoch on validation.
Writes `trained/results.csv`, a row per training; a command that was stopped resumes.
"""

from __future__ import annotations

import argparse
import sys
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import torch
from typing_extensions import override
from untrained import Pair, variants

from sgurinit import load_dataset
from sgurinit.arms import Initializer
from sgurinit.data import Dataset
from sgurinit.handover import DEFAULT_SCALE, HandoverReport, match_scale
from sgurinit.models import Recommender
from sgurinit.runtime import keep_freed_memory
from sgurinit.training import TrainSettings, train

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from resumable import Row, measure_missing

OUT = Path(__file__).parent / "trained" / "results.csv"
VARIANTS = (
    "random",
    "hybrid",
    "local_weight 1.0",
    "local_weight 0.0",
    "local_weight 0.0, soft clusters",
    "local_weight 0.0, clusters of content",
    "local_weight n / (n + 4)",
    "features whitened",
    "local_weight 1.0, whitened",
    "local_weight 1.0, unit rows",
    "local_weight 1.0, items by popularity^-0.5",
    "local_weight 1.0, one step over the graph",
)
KEY = ["data", "model", "variant", "seed"]


@cache
def of_data(path: str) -> tuple[Dataset, dict[str, Pair]]:
    """Load a data set and the variants of its start, once per process."""
    dataset = load_dataset(path)
    return dataset, dict(variants(dataset))


class Variant(Initializer):
    """Fill the tables of a free space with the vectors of a variant."""

    path: str
    variant: str

    @override
    def fill(self, model: Recommender, dataset: Dataset, seed: int) -> HandoverReport:
        """Bring both sides to so many times their tables' norms."""
        (table,) = model.user_tables()
        sides = zip(
            (table.parameter, table.items), of_data(self.path)[1][self.variant], strict=True
        )
        with torch.no_grad():
            for side, rows in sides:
                norm = float(side.norm(dim=1).mean())
                side.copy_(torch.from_numpy(match_scale(rows, DEFAULT_SCALE * norm)))
        return HandoverReport(self.name, ())


def measure(paths: dict[str, str], *run: Any) -> list[Row]:
    """Train once and return a row; `KEY` names the columns that identify it."""
    data, model, variant, seed = run
    torch.set_num_threads(1)
    keep_freed_memory()
    dataset, _ = of_data(paths[data])
    start = "random" if variant == "random" else Variant(path=paths[data], variant=variant)
    trained = train(dataset, model, start, settings=TrainSettings(patience=50), seed=seed)
    best = trained.history[trained.best_epoch]
    named = dict(zip(KEY, run, strict=True))
    scores = {name: best[name] for name in ("recall@20", "ndcg@20")}
    return [named | scores | {"best_epoch": trained.best_epoch}]


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+")
    parser.add_argument("--models", default="bprmf,lightgcn")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    paths = {load_dataset(path).name: path for path in arguments.data}
    wanted = product(paths, arguments.models.split(","), VARIANTS, range(arguments.seeds))
    measure_missing(OUT, KEY, wanted, measure, paths, jobs=arguments.jobs)


if __name__ == "__main__":
    main()
