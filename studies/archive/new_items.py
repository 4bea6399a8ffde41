"""Find out why items without training interactions miss the top 20, and what would help.

    python studies/archive/new_items.py data/tiktok --models lightgcn,freedom --seeds 3

The split is that of `cold.yaml`. Each model is trained from a random start and from the hybrid.
Then its cold items keep their vectors (`trained`), or all items get one norm (`unit`), or a cold
item gets the mean vector of the trained items most similar in content (`similar-5`: of five). Read
on validation, with the cold items' norm as a share of the trained ones', and the best cold item's
score as a share of the score that reaches the top 20. Writes `new_items/results.csv`; a command
that was stopped resumes.
"""

from __future__ import annotations

import argparse
import sys
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize

from sgurinit import load_dataset
from sgurinit.data import Dataset, hold_out_items
from sgurinit.evaluation import FullRanking
from sgurinit.runtime import keep_freed_memory
from sgurinit.training import TrainSettings, train

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from resumable import Row, measure_missing

OUT = Path(__file__).parent / "new_items" / "results.csv"
KEY = ["model", "arm", "seed"]
ARMS = ("random", "hybrid")
SHARE = 0.2
SIMILAR = (1, 5, 20, 100)


def content(dataset: Dataset) -> torch.Tensor:
    """Concatenate all modalities of the items, each centered and of unit norm."""
    columns = [torch.tensor(features.values).float() for features in dataset.features.values()]
    return torch.cat([normalize(own - own.mean(0)) for own in columns], dim=1)


def measure(data: str, model: str, arm: str, seed: int) -> list[Row]:
    """Train once and return a row per way to place cold items."""
    torch.set_num_threads(1)
    keep_freed_memory()
    dataset = hold_out_items(load_dataset(data), SHARE, seed=0)
    cold = dataset.popularity() == 0
    rankings = {
        "all": FullRanking(dataset, "valid"),
        "cold": FullRanking(dataset, "valid", positives=cold),
        "among": FullRanking(dataset, "valid", positives=cold, candidates=cold),
    }
    settings = TrainSettings(patience=50)
    trained = train(dataset, model, arm, settings=settings, seed=seed).model
    with torch.no_grad():
        users, items = trained.embed()

    new, old = (torch.from_numpy(np.flatnonzero(chosen)) for chosen in (cold, ~cold))
    placed = {"trained": items, "unit": normalize(items)}
    described = content(dataset)
    order = (described[new] @ described[old].T).topk(max(SIMILAR), dim=1).indices
    for k in SIMILAR:
        placed[f"similar-{k}"] = items.clone()
        placed[f"similar-{k}"][new] = items[old][order[:, :k]].mean(1)

    rows = []
    for way, vectors in placed.items():
        row: Row = {"model": model, "arm": arm, "seed": seed, "way": way}
        for name, ranking in rankings.items():
            scores = ranking.evaluate(lambda chosen, of=vectors: users[chosen] @ of.T)
            row[name] = float(scores["recall@20"].mean())
        asked = users[torch.from_numpy(rankings["all"].users)] @ vectors.T
        norms = vectors.norm(dim=1)
        row["norm"] = float(norms[new].median() / norms[old].median())
        entry = asked.topk(20, dim=1).values[:, -1]
        row["score"] = float((asked[:, new].amax(1) / entry).median())
        rows.append(row)
    return rows


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--models", default="lightgcn,freedom")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    wanted = product(arguments.models.split(","), ARMS, range(arguments.seeds))
    measure_missing(OUT, KEY, wanted, measure, arguments.data, jobs=arguments.jobs)


if __name__ == "__main__":
    main()
