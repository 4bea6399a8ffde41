r"""Find out whether items that nobody used are recommended, and what the other items lose.

    python studies/hybrid/new_items.py data/lastfm data/ml-100k xwines data/tiktok \
        data/amazon-beauty --models start,bprmf,lightgcn

A fifth of the items is held out of training. Read on validation, Recall@20: of the new items among
all items (`new`) and among new items alone (`among new`), of the less popular half of the used
items among all (`tail`), of the used items among all (`used`) and among used items alone (`used
alone`), and of all items (`all`). `start` is the joint space of the hybrid, untrained, also with
the content shuffled among the items; the models are trained from it. A new item keeps its vector
(`kept`), or `place_new_items` puts it at the mean of used items (`placed 20`: of 20). An untrained
start does so by itself; there, `kept` has zeros. Writes `new_items.csv`; a command that was stopped
resumes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch

from sgurinit import SGURInit, load_dataset, train
from sgurinit.core import ItemFeatures, place_new_items
from sgurinit.data import Dataset, hold_out_items
from sgurinit.evaluation import FullRanking
from sgurinit.runtime import keep_freed_memory

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from resumable import Row, measure_missing

OUT = Path(__file__).parent / "new_items.csv"
KEY = ["data", "model", "content", "seed"]
SHARE = 0.2
NEIGHBORS = (5, 10, 20, 50)
CONFIG = {"bprmf": {"reg": 1e-2}}
Vectors = tuple[np.ndarray, np.ndarray]


def find_vectors(dataset: Dataset, model: str, seed: int) -> Vectors:
    """Compute users and items, with zeros for new items in an untrained start."""
    if model == "start":
        joint = SGURInit.from_preset("hybrid", random_state=seed).fit(dataset).start_.joint(64)
        return joint.users, np.where((dataset.popularity() > 0)[:, None], joint.items, 0)
    trained = train(dataset, model, "hybrid", config=CONFIG.get(model), seed=seed).model
    with torch.no_grad():
        users, items = trained.embed()
    return users.detach().numpy(), items.detach().numpy()


def measure(paths: dict[str, str], *run: str | int) -> list[Row]:
    """Hold items out, fit or train, and return a row per way to place the new items."""
    torch.set_num_threads(1)
    keep_freed_memory()
    row: Row = dict(zip(KEY, run, strict=True))
    dataset = hold_out_items(load_dataset(paths[row["data"]]), SHARE, seed=0)
    popularity = dataset.popularity()
    new, used = popularity == 0, popularity > 0
    order = np.flatnonzero(used)[np.argsort(popularity[used], kind="stable")]
    tail = np.isin(np.arange(dataset.n_items), order[: len(order) // 2])
    rankings = {
        "new": FullRanking(dataset, "valid", positives=new),
        "among new": FullRanking(dataset, "valid", positives=new, candidates=new),
        "tail": FullRanking(dataset, "valid", positives=tail),
        "used": FullRanking(dataset, "valid", positives=used),
        "used alone": FullRanking(dataset, "valid", positives=used, candidates=used),
        "all": FullRanking(dataset, "valid"),
    }
    if row["content"] == "shuffled":
        dataset = replace(dataset, features=shuffle(dataset, row["seed"]))
    users, items = find_vectors(dataset, row["model"], row["seed"])
    ways = {"kept": items}
    ways |= {f"placed {k}": place_new_items(items, dataset, n_neighbors=k) for k in NEIGHBORS}
    rows = []
    for way, vectors in ways.items():
        score = score_by(users, vectors)
        found = {name: ranking.evaluate(score)["recall@20"] for name, ranking in rankings.items()}
        rows.append(row | {"way": way} | {name: float(own.mean()) for name, own in found.items()})
    return rows


def shuffle(dataset: Dataset, seed: int) -> dict[str, ItemFeatures]:
    """Shuffle the content of all modalities among the items, in one order."""
    order = np.random.default_rng(seed).permutation(dataset.n_items)
    return {
        name: ItemFeatures(table.values[order], table.mask()[order])
        for name, table in dataset.features.items()
    }


def score_by(users: np.ndarray, items: np.ndarray) -> Callable[[torch.Tensor], torch.Tensor]:
    """Score by the dot products of vectors."""
    left, right = torch.from_numpy(users), torch.from_numpy(items)
    return lambda chosen: left[chosen] @ right.T


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+")
    parser.add_argument("--models", default="start,bprmf,lightgcn")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    paths = {Path(path).name: path for path in given.data}
    wanted = [
        (data, model, content, seed)
        for model, data, seed in product(given.models.split(","), paths, range(given.seeds))
        for content in ("true", "shuffled")
        if model == "start" or content == "true"
    ]
    measure_missing(OUT, KEY, wanted, measure, paths, jobs=given.jobs)


if __name__ == "__main__":
    main()
