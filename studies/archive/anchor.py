"""Train with a penalty on the distance from the start, kept or decaying.

    python studies/archive/anchor.py data/tiktok --models bprmf,lightgcn --seeds 2

The loss gets an extra term: ``strength * 0.5 ** (epoch / half_life)`` times half the squared
distance of the batch's users and items from their start, summed over a triple and averaged over the
batch, like the models' own L2 penalties. As a control, a random start is held by the two penalties
that gain most for the hybrid. Models have their default settings, patience is 50, scores are those
of the best epoch on validation. Writes `anchor/results.csv`, a row per training; a command that was
stopped resumes.
"""

from __future__ import annotations

import argparse
import math
import sys
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sgurinit import load_dataset
from sgurinit.models import Batch, Recommender, model_resolver
from sgurinit.models.blocks.losses import l2_penalty
from sgurinit.runtime import keep_freed_memory
from sgurinit.training import TrainSettings, train

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from resumable import Row, measure_missing

OUT = Path(__file__).parent / "anchor" / "results.csv"
FREE = (0.0, math.inf)
ANCHORS = {
    "hybrid": (FREE, *product((0.01, 0.1, 1.0), (10.0, math.inf))),
    "random": (FREE, (0.01, math.inf), (1.0, 10.0)),
}
KEY = ["model", "arm", "strength", "half_life", "seed"]


def anchored(kind: type[Recommender], strength: float, half_life: float) -> type[Recommender]:
    """Add a penalty on the distance of the tables from their values at the first batch."""

    class Anchored(kind):
        start: tuple[Tensor, Tensor] | None = None
        epoch = -1

        def begin_epoch(self, seed: int) -> None:
            super().begin_epoch(seed)
            self.epoch += 1

        def loss(self, batch: Batch) -> Tensor:
            (table,) = self.user_tables()
            users, items = table.parameter, table.items
            if self.start is None:
                self.start = users.detach().clone(), items.detach().clone()
            first_users, first_items = self.start
            way = l2_penalty(
                *(
                    now[rows] - first[rows]
                    for now, first, rows in (
                        (users, first_users, batch.users),
                        (items, first_items, batch.positives),
                        (items, first_items, batch.negatives),
                    )
                )
            )
            return super().loss(batch) + strength * 0.5 ** (self.epoch / half_life) * way

    return Anchored


def measure(data: str, *run: Any) -> list[Row]:
    """Train once and return a row; `KEY` names the columns that identify it."""
    model, arm, strength, half_life, seed = run
    torch.set_num_threads(1)
    keep_freed_memory()
    kind = model_resolver.lookup(model)
    if (strength, half_life) != FREE:
        kind = anchored(kind, strength, half_life)
    trained = train(load_dataset(data), kind, arm, settings=TrainSettings(patience=50), seed=seed)
    best = trained.history[trained.best_epoch]
    before = [row["recall@20"] for row in trained.history[: trained.best_epoch + 1]]
    named = dict(zip(KEY, run, strict=True))
    scores = {name: best[name] for name in ("recall@20", "ndcg@20")}
    return [named | scores | {"lowest_before": min(before), "best_epoch": trained.best_epoch}]


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--models", default="bprmf,lightgcn")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    wanted = [
        (model, arm, *anchor, seed)
        for model in arguments.models.split(",")
        for arm, anchors in ANCHORS.items()
        for anchor in anchors
        for seed in range(arguments.seeds)
    ]
    measure_missing(OUT, KEY, wanted, measure, arguments.data, jobs=arguments.jobs)


if __name__ == "__main__":
    main()
