r"""Which part of the method matters? Vary one part at a time; only validation is read.

    python studies/ablation/ablation.py data/lastfm data/ml-100k data/tiktok data/amazon-beauty \
        xwines
    python studies/ablation/ablation.py data/lastfm --models bprmf,lightgcn,vbpr \
        --chosen studies/main --seeds 5 --jobs 2

The first command ranks items with the untrained joint space, 64 columns. The second one trains
models, with the settings that `sgurinit` chose in the main study; VBPR, which has tables in a
projected space, with the ways to fill these. Writes `ablation.csv`, a row per data set, model
(`start` is untrained), variant and seed, and `lifts.csv`, every variant over the method with a 95 %
interval by a crossed bootstrap over users and seeds. The scores of every user are in `users/` (not
kept in git). A command that was stopped resumes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from sgurinit import load_dataset, train
from sgurinit.arms import SGURInitInitializer
from sgurinit.evaluation import FullRanking, bootstrap_lifts
from sgurinit.models import Recommender
from sgurinit.runtime import keep_freed_memory

sys.path.append(str(Path(__file__).parents[1] / "tools"))
from chosen import fields_of, read_chosen
from resumable import Row, measure_missing

HERE = Path(__file__).parent
OUT, USERS = HERE / "ablation.csv", HERE / "users"
KEY = ["data", "model", "variant", "seed"]
METRICS = ("recall@20", "ndcg@20")
START, METHOD = "start", "sgurinit"
VARIANTS: dict[str, dict[str, Any]] = {
    METHOD: {},
    "items only": {"local_weight": 1.0},
    "items 0.9": {"local_weight": 0.9},
    "clusters only": {"local_weight": 0.0},
    "2 clusters": {"n_clusters": 2},
    "32 clusters": {"n_clusters": 32},
    "128 clusters": {"n_clusters": 128},
    "sym": {"local_norm": "sym"},
}
PROJECTED: dict[str, dict[str, Any]] = {
    METHOD: {},
    "through": {"projected": "through"},
    "added": {"projected": "added"},
}


def variants_of(model: str) -> dict[str, dict[str, Any]]:
    """Return the variants to compare in a model."""
    return PROJECTED if model == "vbpr" else VARIANTS


def measure(paths: dict[str, str], chosen: Path | None, *run: Any) -> list[Row]:
    """Score one variant with one seed, untrained or trained."""
    data, model, variant, seed = run
    torch.set_num_threads(1)
    keep_freed_memory()
    dataset = load_dataset(paths[data])
    ranking = FullRanking(dataset, "valid")
    if chosen is None:
        joint = SGURInitInitializer(**VARIANTS[variant]).compute_start(dataset, seed).joint(64)
        users, items = torch.from_numpy(joint.users), torch.from_numpy(joint.items)
        scores = ranking.evaluate(lambda rows: users[rows] @ items.T)
    else:
        scores = _train(dataset, ranking, chosen / data / model, variant, seed)
    USERS.mkdir(exist_ok=True)
    kept = pl.DataFrame({"user": ranking.users, **{name: scores[name] for name in METRICS}})
    kept.write_parquet(_scores_of(data, model, variant, seed))
    means = {name: float(scores[name].mean()) for name in METRICS}
    return [dict(zip(KEY, run, strict=True)) | means]


def _train(
    dataset: Any, ranking: FullRanking, folder: Path, variant: str, seed: int
) -> dict[str, np.ndarray]:
    own = read_chosen(folder)[METHOD]
    found = {}

    def score(stage: str, model: Recommender) -> None:
        with torch.no_grad():
            found[stage] = ranking.evaluate(model.make_scorer())

    initializer = SGURInitInitializer(**fields_of(own) | variants_of(folder.name)[variant])
    train(dataset, folder.name, initializer, config=own["config"], seed=seed, on_stage=score)
    return found["trained"]


def _scores_of(data: str, model: str, variant: str, seed: int) -> Path:
    return USERS / f"{data}_{model}_{variant.replace(' ', '-')}_{seed}.parquet"


def compare_variants() -> list[Row]:
    """Compare every variant with the method, by data set and model."""
    rows = []
    measured = pl.read_csv(OUT)
    for data, model in measured.select("data", "model").unique(maintain_order=True).rows():
        runs = measured.filter(data=data, model=model)
        n_seeds = runs.group_by("variant").len()["len"].min()
        variants = variants_of(model)
        for metric in METRICS:
            scores = np.stack(
                [
                    [
                        pl.read_parquet(_scores_of(data, model, variant, seed))[metric].to_numpy()
                        for variant in variants
                    ]
                    for seed in range(n_seeds)
                ]
            ).swapaxes(1, 2)
            pairs = [(at, 0) for at in range(len(variants))]
            found = bootstrap_lifts(scores, pairs)
            means = scores.mean(axis=(0, 1)).tolist()
            for variant, mean, of in zip(variants, means, found, strict=True):
                row = {"data": data, "model": model, "variant": variant, "metric": metric}
                row |= {"seeds": n_seeds, "mean": mean}
                rows.append(row | {"lift": of.lift, "low": of.low, "high": of.high})
    return rows


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+")
    parser.add_argument("--models", default=START)
    parser.add_argument("--chosen", type=Path, help="the main study; none: untrained")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    paths = {Path(path).name: path for path in given.data}
    wanted = [
        (data, model, variant, seed)
        for model in given.models.split(",")
        for data in paths
        for seed in range(given.seeds)
        for variant in variants_of(model)
    ]
    measure_missing(OUT, KEY, wanted, measure, paths, given.chosen, jobs=given.jobs)
    pl.DataFrame(compare_variants()).write_csv(HERE / "lifts.csv")


if __name__ == "__main__":
    main()
