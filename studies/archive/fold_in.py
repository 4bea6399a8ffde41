"""Serve users who join after training: with the trained model, or with one trained again.

    python studies/archive/fold_in.py data/tiktok --models lightgcn,freedom --seeds 3

A tenth of the users with a test interaction are left out of training with everything they did.
Afterwards each gets a vector from the trained model's item vectors and their own training
interactions (`SGURInit.on`), and all items are ranked for them. `retrained` is the same model
trained on everybody. Writes `fold_in/results.csv`; a command that was stopped resumes.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from sgurinit import SGURInit, load_dataset
from sgurinit.data import Dataset, Interactions
from sgurinit.evaluation import FullRanking
from sgurinit.runtime import keep_freed_memory
from sgurinit.training import TrainSettings, train

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from resumable import Row, measure_missing

OUT = Path(__file__).parent / "fold_in" / "results.csv"
SHARE = 0.1
WEIGHTS = (0.0, 0.1, 0.5, 0.9, 1.0)
KEY = ["model", "seed"]


def without(dataset: Dataset, users: np.ndarray) -> Dataset:
    """Return the data set without the interactions of these users."""

    def known(split: Interactions) -> Interactions:
        stays = ~np.isin(split.users, users)
        return Interactions(split.users[stays], split.items[stays])

    return replace(
        dataset,
        train=known(dataset.train),
        valid=known(dataset.valid),
        test=known(dataset.test),
    )


def measure(data: str, model: str, seed: int) -> list[Row]:
    """Measure all ways for one model and seed."""
    torch.set_num_threads(1)
    keep_freed_memory()
    dataset = load_dataset(data)
    ranking = FullRanking(dataset, "test")
    busy = np.intersect1d(ranking.users, dataset.train.users)
    rng = np.random.default_rng(seed)
    new = np.sort(rng.choice(busy, round(SHARE * len(busy)), replace=False))
    asked = np.isin(ranking.users, new)
    rows: list[Row] = []

    def judge(way: str, users: torch.Tensor, items: torch.Tensor, seconds: float) -> None:
        scores = ranking.evaluate(lambda chosen: users[chosen] @ items.T)
        found = {name: float(scores[name][asked].mean()) for name in ("recall@20", "ndcg@20")}
        rows.append({"model": model, "seed": seed, "way": way, **found, "seconds": seconds})

    settings = TrainSettings(patience=50)
    began = perf_counter()
    again = train(dataset, model, "hybrid", settings=settings, seed=seed).model
    with torch.no_grad():
        judge("retrained", *again.embed(), perf_counter() - began)
    before = without(dataset, new)
    served = train(before, model, "hybrid", settings=settings, seed=seed).model
    with torch.no_grad():
        items = served.embed()[1]
    for local_weight in WEIGHTS:
        estimator = SGURInit(local_weight=local_weight, random_state=seed).fit(before)
        began = perf_counter()
        vectors = estimator.on(items.numpy(), dataset.train_matrix()[new])
        seconds = perf_counter() - began
        users = torch.zeros(dataset.n_users, items.shape[1])
        users[new] = torch.from_numpy(vectors)
        judge(f"folded in, local_weight {local_weight}", users, items, seconds)
    popularity = torch.from_numpy(before.popularity()).float()[:, None]
    judge("popularity", torch.ones(dataset.n_users, 1), popularity, 0.0)
    return rows


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--models", default="lightgcn,freedom")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    wanted = product(arguments.models.split(","), range(arguments.seeds))
    measure_missing(OUT, KEY, wanted, measure, arguments.data, jobs=arguments.jobs)


if __name__ == "__main__":
    main()
