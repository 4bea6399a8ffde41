"""Train models of other frameworks from their own random values and from the hybrid.

    python studies/archive/frameworks.py data/tiktok [--seeds 3] [--only recbole,cornac] [--out DIR]

Needs the virtual environment of `make frameworks`. MMRec and MRLib are trained from the checkouts
that SGURINIT_MMREC and SGURINIT_MRLIB name, and left out where these are not set. Every framework
gets the same split of the data in its own format, its own loop and, where it has one, its own early
stopping on validation data; scores are those of its own evaluation on test data. What is already in
`results.csv` is not run again.
"""

# Each framework is imported where it is used.
# ruff: noqa: PLC0415

from __future__ import annotations

import argparse
import csv
import json
import logging
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.base import clone

from sgurinit import SGURInit, load_dataset
from sgurinit.data import Dataset
from sgurinit.data.convert import convert
from sgurinit.integrations.compat import legacy_compat
from sgurinit.integrations.torch import attach

ARMS = ("random", "hybrid")
WIDTH, K = 64, 20
HYBRID = SGURInit.from_preset("hybrid", local_weight=0.1, random_state=0)
FIELDS = ("framework", "model", "arm", "seed", "recall@20", "ndcg@20", "epochs", "seconds")
# Early stopping: validated every few epochs, stopped when so many validations brought no gain.
LOOP = {"epochs": 60, "eval_step": 3, "stopping_step": 4, "learning_rate": 0.005}


class Score(NamedTuple):
    """The scores of a framework's own evaluation, and the number of epochs."""

    recall: float
    ndcg: float
    epochs: int


class Job(NamedTuple):
    """One training."""

    path: str
    data: Dataset
    name: str
    arm: str
    seed: int
    folder: str


def recbole(job: Job) -> Score:
    """RecBole: full ranking of its `Trainer`, best checkpoint on validation."""
    with tempfile.TemporaryDirectory() as temporary, legacy_compat():
        from recbole.config import Config
        from recbole.data import create_dataset, data_preparation
        from recbole.utils import get_model, get_trainer, init_seed

        from sgurinit.integrations.recbole import fit_start

        place = Path(temporary)
        convert(job.path, place / "data", "recbole")
        for path in (place / "data").glob("*.inter"):
            path.rename(path.with_name(f"data.{path.name.partition('.')[2]}"))
        os.chdir(place)
        config = Config(
            model=job.name, dataset="data",
            config_dict={
                **LOOP, "data_path": temporary, "benchmark_filename": ["train", "valid", "test"],
                "load_col": {"inter": ["user_id", "item_id"]}, "embedding_size": WIDTH,
                "train_batch_size": 4096, "eval_batch_size": 1 << 25, "topk": [K],
                "metrics": ["Recall", "NDCG"], "valid_metric": f"Recall@{K}", "seed": job.seed,
                "checkpoint_dir": temporary, "use_gpu": False, "show_progress": False,
            },
        )  # fmt: skip
        init_seed(job.seed, True)
        train, valid, test = data_preparation(config, create_dataset(config))
        model = get_model(job.name)(config, train._dataset)
        if job.arm != "random":
            tables = {m: table.values for m, table in job.data.features.items()}
            attach(model, fit_start(train, tables, job.data.item_ids, estimator=HYBRID))
        trainer = get_trainer(config["MODEL_TYPE"], job.name)(config, model)
        trainer.fit(train, valid, show_progress=False)
        found = trainer.evaluate(test, load_best_model=True, show_progress=False)
        epochs = len(trainer.train_loss_dict)
    return Score(found[f"recall@{K}"], found[f"ndcg@{K}"], epochs)


def cornac(job: Job) -> Score:
    """Cornac: `ranking_eval` of its evaluation methods, a fixed number of epochs."""
    from cornac import metrics, models
    from cornac.data import FeatureModality, ImageModality
    from cornac.eval_methods import BaseMethod

    from sgurinit.integrations.cornac import fit_start, init_params

    def triples(part: Any) -> list[tuple[Any, Any, float]]:
        return [(u, i, 1.0) for u, i in zip(part.users.tolist(), part.items.tolist(), strict=True)]

    image, *others = (
        job.data.features[m].values.astype(np.float32) for m in sorted(job.data.features)[::-1]
    )
    ids = list(range(job.data.n_items))
    method = BaseMethod.from_splits(
        train_data=triples(job.data.train), test_data=triples(job.data.test), rating_threshold=0.5,
        exclude_unknowns=True, seed=job.seed,
        item_image=ImageModality(features=image / np.abs(image).max(), ids=ids),
        item_feature=FeatureModality(features=others[0], ids=ids) if others else None,
    )  # fmt: skip
    model = {
        "BPR": lambda: models.BPR(k=WIDTH, max_iter=100, learning_rate=0.05, seed=job.seed),
        "VBPR": lambda: models.VBPR(
            k=WIDTH, k2=WIDTH, n_epochs=20, learning_rate=0.005, verbose=False, seed=job.seed
        ),
    }[job.name]()
    epochs = model.max_iter if job.name == "BPR" else model.n_epochs
    if job.arm != "random":
        start = fit_start(method.train_set, estimator=HYBRID)
        model = model.clone({"init_params": init_params(model, method.train_set, start=start)})
    result, _ = method.evaluate(
        model, [metrics.Recall(k=K), metrics.NDCG(k=K)], user_based=True, show_validation=False
    )
    found = result.metric_avg_results
    return Score(found[f"Recall@{K}"], found[f"NDCG@{K}"], epochs)


def implicit(job: Job) -> Score:
    """Implicit: its `ranking_metrics_at_k`, a fixed number of iterations."""
    from implicit.als import AlternatingLeastSquares
    from implicit.bpr import BayesianPersonalizedRanking
    from implicit.evaluation import ranking_metrics_at_k

    from sgurinit.integrations.implicit import set_factors

    def matrix(part: Any) -> sp.csr_matrix:
        made = sp.csr_matrix(part.matrix(job.data.n_users, job.data.n_items))
        made.indices, made.indptr = made.indices.astype("i4"), made.indptr.astype("i4")
        return made

    kind = {
        "ALS": lambda: AlternatingLeastSquares(
            WIDTH, alpha=10, regularization=1, num_threads=1, random_state=job.seed
        ),
        "BPR": lambda: BayesianPersonalizedRanking(WIDTH, num_threads=1, random_state=job.seed),
    }[job.name]
    model, train = kind(), matrix(job.data.train)
    if job.arm != "random":
        set_factors(model, train, _start(job.data))
    model.fit(train, show_progress=False)
    found = ranking_metrics_at_k(model, train, matrix(job.data.test), K=K, show_progress=False)
    # Its "precision" divides by the smaller of K and a user's relevant items, as recall would.
    return Score(found["precision"], found["ndcg"], model.iterations)


def lenskit(job: Job) -> Score:
    """LensKit: its batch `recommend` and `RunAnalysis`, a fixed number of epochs."""
    import pandas as pd
    from lenskit.als import ImplicitMFScorer
    from lenskit.batch import recommend
    from lenskit.data import ItemListCollection, from_interactions_df
    from lenskit.flexmf import FlexMFImplicitScorer
    from lenskit.metrics import NDCG, Recall, RunAnalysis
    from lenskit.pipeline import topn_pipeline
    from lenskit.training import TrainingOptions

    from sgurinit.integrations.lenskit import attach_to_scorer

    def frame(part: Any) -> Any:
        return pd.DataFrame({"user_id": part.users, "item_id": part.items})

    scorer = {
        "ImplicitMF": lambda: ImplicitMFScorer(embedding_size=WIDTH, epochs=20),
        "FlexMF": lambda: FlexMFImplicitScorer(embedding_size=WIDTH, epochs=50),
    }[job.name]()
    if job.arm != "random":
        tables = {m: table.values for m, table in job.data.features.items()}
        attach_to_scorer(scorer, tables, range(job.data.n_items), estimator=HYBRID)
    pipe = topn_pipeline(scorer)
    pipe.train(from_interactions_df(frame(job.data.train)), TrainingOptions(rng=job.seed))
    truth = ItemListCollection.from_df(frame(job.data.test), ["user_id"])
    analysis = RunAnalysis()
    analysis.add_metric(Recall(K))
    analysis.add_metric(NDCG(K))
    result = analysis.measure(recommend(pipe, list(truth.keys()), K, n_jobs=1), truth)
    summary = result.list_summary()["mean"]
    return Score(summary[f"Recall@{K}"], summary[f"NDCG@{K}"], scorer.config.epochs)


def pyg(job: Job) -> Score:
    """PyTorch Geometric: `LightGCN`, `LinkPredRecall`, `LinkPredNDCG`; the loop is written here."""
    from torch_geometric.metrics import LinkPredNDCG, LinkPredRecall
    from torch_geometric.nn import LightGCN

    from sgurinit.integrations.pyg import initialize_nodes_

    torch.manual_seed(job.seed)
    model = LightGCN(job.data.n_users + job.data.n_items, WIDTH, num_layers=2)
    if job.arm != "random":
        initialize_nodes_(model.embedding, _start(job.data))
    pairs = torch.tensor(
        np.stack([job.data.train.users, job.data.train.items + job.data.n_users])
    ).long()
    edges = torch.cat([pairs, pairs.flip(0)], dim=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=LOOP["learning_rate"])

    def judged(part: Any, *seen: Any) -> tuple[float, float]:
        metrics = LinkPredRecall(K), LinkPredNDCG(K)
        with torch.no_grad():
            nodes = model.get_embedding(edges)
            scores = nodes[: job.data.n_users] @ nodes[job.data.n_users :].T
        for other in (job.data.train, *seen):
            scores[other.users, other.items] = -torch.inf
        users, rows = np.unique(part.users, return_inverse=True)
        best = scores[users].topk(K).indices
        truth = torch.tensor(np.stack([rows, part.items])).long()
        for metric in metrics:
            metric.update(best, truth)
        recall, ndcg = (float(metric.compute()) for metric in metrics)
        return recall, ndcg

    best, kept, waited, epoch = -1.0, (0.0, 0.0), 0, 0
    while epoch < LOOP["epochs"] and waited < LOOP["stopping_step"]:
        epoch += 1
        for batch in torch.randperm(pairs.shape[1]).split(4096):
            positive = pairs[:, batch]
            fakes = torch.randint(
                job.data.n_users, job.data.n_users + job.data.n_items, (len(batch),)
            )
            labels = torch.cat([positive, torch.stack([positive[0], fakes])], dim=1)
            ranks = model(edges, labels).chunk(2)
            optimizer.zero_grad()
            model.recommendation_loss(*ranks, node_id=labels.unique()).backward()
            optimizer.step()
        if epoch % LOOP["eval_step"] == 0:
            recall, _ = judged(job.data.valid)
            waited = 0 if recall > best else waited + 1
            if waited == 0:
                best, kept = recall, judged(job.data.test, job.data.valid)
    return Score(*kept, epoch)


def checkout(job: Job) -> Score:
    """MMRec and MRLib: their `Trainer`, test scores of the best epoch on validation."""
    sys.path.insert(0, str(Path(job.folder) / "src"))
    with tempfile.TemporaryDirectory() as temporary, legacy_compat():
        from common.trainer import Trainer
        from utils.configurator import Config
        from utils.dataloader import EvalDataLoader, TrainDataLoader
        from utils.dataset import RecDataset
        from utils.utils import get_model, init_seed

        from sgurinit.integrations import mmrec

        place = Path(temporary) / "data"
        convert(job.path, place, "mmrec")
        next(place.glob("*.inter")).rename(place / "data.inter")
        first, *_ = sorted(place.glob("*_feat.npy"))
        first.rename(place / "text_feat.npy")  # they have a slot for images and one for text
        os.chdir(Path(job.folder) / "src")
        config = Config(
            job.name, "data",
            {
                **LOOP, "use_gpu": False, "data_path": f"{temporary}/",
                "inter_file_name": "data.inter", "USER_ID_FIELD": "userID",
                "ITEM_ID_FIELD": "itemID", "vision_feature_file": "image_feat.npy",
                "text_feature_file": "text_feat.npy", "train_batch_size": 4096,
                "enable_visualization": False, "seed": job.seed,
            },
        )  # fmt: skip
        for field in config["hyper_parameters"]:  # the first of what the tree would search
            config[field] = config[field][0] if isinstance(config[field], list) else config[field]
        init_seed(job.seed)
        parts = RecDataset(config).split()
        for part in parts:
            str(part)  # counts what the loaders need
        train = TrainDataLoader(config, parts[0], batch_size=4096, shuffle=True)
        valid, test = (
            EvalDataLoader(config, part, additional_dataset=parts[0], batch_size=4096)
            for part in parts[1:]
        )
        train.pretrain_setup()
        model = get_model(job.name)(config, train)
        if job.arm != "random":
            mmrec.attach(model, mmrec.fit_start(config, estimator=HYBRID), train)
        trainer = Trainer(config, model)
        _, _, found = trainer.fit(train, valid_data=valid, test_data=test, saved=False)
    return Score(found[f"recall@{K}"], found[f"ndcg@{K}"], len(trainer.train_loss_dict))


def _start(data: Dataset) -> Any:
    return clone(HYBRID).fit(data).start_


RUNS: dict[str, tuple[Callable[..., Score], tuple[str, ...]]] = {
    "RecBole": (recbole, ("BPR", "LightGCN")),
    "Cornac": (cornac, ("BPR", "VBPR")),
    "implicit": (implicit, ("BPR", "ALS")),
    "LensKit": (lenskit, ("FlexMF", "ImplicitMF")),
    "PyG": (pyg, ("LightGCN",)),
    "MMRec": (checkout, ("LightGCN", "FREEDOM")),
    "MRLib": (checkout, ("VBPR",)),
}
CHECKOUTS = {"MMRec": "SGURINIT_MMREC", "MRLib": "SGURINIT_MRLIB"}


def run(framework: str, name: str, path: str, table: Path, todo: list[tuple[str, int]]) -> None:
    """Train one model in each of the given arms and seeds, a row of the table each."""
    torch.set_num_threads(1)
    logging.disable()
    data = load_dataset(path)
    train, _ = RUNS[framework]
    folder = os.environ[CHECKOUTS[framework]] if framework in CHECKOUTS else ""
    for arm, seed in todo:
        began = perf_counter()
        score = train(Job(path, data, name, arm, seed, folder))
        seconds = f"{perf_counter() - began:.1f}"
        scores = (f"{value:.4f}" for value in score[:2])
        with table.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow([framework, name, arm, seed, *scores, score.epochs, seconds])


def summary(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Summarize the mean and spread of every framework, model and arm."""
    found = []
    for framework, (_, names) in RUNS.items():
        for name, arm in product(names, ARMS):
            key = (framework, name, arm)
            own = [r for r in rows if (r["framework"], r["model"], r["arm"]) == key]
            if not own:
                continue
            test = {}
            for metric in ("recall@20", "ndcg@20"):
                values = [float(row[metric]) for row in own]
                test[metric] = {
                    "mean": fmean(values), "sd": stdev(values) if len(values) > 1 else 0.0
                }  # fmt: skip
            epochs = fmean(int(row["epochs"]) for row in own)
            found.append(
                {"framework": framework, "model": name, "arm": arm, "seeds": len(own),
                 "test": test, "epochs": epochs}
            )  # fmt: skip
    return found


def main() -> None:
    """Run what is missing and write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="names of frameworks, with commas")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(""))
    args = parser.parse_args()
    wanted = args.only.lower().split(",") if args.only else [name.lower() for name in RUNS]
    args.out.mkdir(parents=True, exist_ok=True)
    table = (args.out / "results.csv").resolve()
    if not table.exists():
        table.write_text(",".join(FIELDS) + "\n", encoding="utf-8")
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    done = {(r["framework"], r["model"], r["arm"], int(r["seed"])) for r in rows}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
        for framework, (_, names) in RUNS.items():
            if framework.lower() not in wanted:
                continue
            if framework in CHECKOUTS and CHECKOUTS[framework] not in os.environ:
                print(f"{framework} is left out: {CHECKOUTS[framework]} names no checkout")
                continue
            for name in names:
                todo = [
                    (arm, seed)
                    for seed, arm in product(range(args.seeds), ARMS)
                    if (framework, name, arm, seed) not in done
                ]
                path = str(Path(args.data).resolve())
                pool.submit(run, framework, name, path, table, todo).result()
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    text = json.dumps({"results": summary(rows)}, indent=1)
    (args.out / "summary.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
