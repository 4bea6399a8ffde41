"""Comparisons: folders, tables, resuming, and exclusive use of a folder."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import polars as pl
import pytest
import torch
from filelock import FileLock

from sgurinit.core import SGURInit
from sgurinit.core.semantic_gap import compute_gap
from sgurinit.data import Dataset, planted
from sgurinit.errors import InputError
from sgurinit.evaluation import CUTOFFS, METRICS, FullRanking, bootstrap_lift
from sgurinit.experiments import (
    Comparison,
    RunEvent,
    compare,
    comparison_settings,
    load_comparison,
    provenance,
    train_and_test,
)
from sgurinit.experiments.run import METRIC_NAMES
from sgurinit.experiments.summary import GROUP_METRICS, summarize_runs
from sgurinit.models import Recommender, model_resolver
from sgurinit.models.checkpoint import load_model
from sgurinit.report.page import write_report
from sgurinit.runtime import count_cores
from sgurinit.training import TrainSettings, train

ARMS = ["random", "sgurinit", "permuted"]
RUN_FILES = {
    *("config.json", "environment.json", "epochs.csv", "users.parquet", "groups.parquet"),
    "handover.json",
    *("log.txt", "result.json", "checkpoint"),
}


def run_folders(comparison: Comparison) -> list[Path]:
    return sorted((comparison.folder / "runs").glob("*/*/seed-*"))


def numbers(folder: Path) -> dict[str, bytes]:
    """Read the tables of a comparison that must not depend on interruptions or time."""
    found = {name: (folder / name).read_bytes() for name in ("results.csv", "curves.csv")}
    for path in sorted((folder / "runs").rglob("users.parquet")):
        found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def test_without_features_only_random_users_can_be_compared(
    tmp_path: Path, small: Dataset, brief: TrainSettings
) -> None:
    bare = replace(small, features={})
    message = f"^{small.name}: has no item features; add them with `sgurinit encode` or "
    for arms in (["random", "sgurinit"], ["random", "random-scaled"]):
        with pytest.raises(InputError, match=message):
            compare(bare, ["bprmf"], arms, 1, out=tmp_path / "a", settings=brief)
    assert not list(tmp_path.rglob("result.json"))
    with pytest.raises(InputError, match=message):
        train(bare, "bprmf", "sgurinit", settings=brief)
    with pytest.raises(InputError, match=message):
        train(bare, "vbpr", "random", settings=brief)
    with pytest.raises(InputError, match=message):
        SGURInit().fit(bare)
    found = compare(bare, ["bprmf"], ["random"], 1, out=tmp_path / "b", settings=brief)
    assert write_report(found.folder).is_file()


@pytest.mark.slow
def test_each_run_is_a_complete_folder(finished: Comparison, small: Dataset) -> None:
    folders = run_folders(finished)
    assert len(folders) == 2 * 3 * 2
    for folder in folders:
        measured = {"gap.json"} if folder.name == "seed-0" else set()
        assert {entry.name for entry in folder.iterdir()} == RUN_FILES | measured
        config = json.loads((folder / "config.json").read_text())
        assert config["run"]["model"] in folder.parts
        assert config["data"]["fingerprint"] == small.fingerprint
        environment = json.loads((folder / "environment.json").read_text())
        assert environment["versions"]["torch"] == version("torch")
        assert environment["threads"] >= 1
        log = (folder / "log.txt").read_text()
        assert "epoch 0: recall@20" in log
        assert "epoch 1: loss" in log
        epochs = pl.read_csv(folder / "epochs.csv")
        assert epochs["epoch"].to_list() == list(range(len(epochs)))
        assert epochs["train_loss"].is_null().to_list() == [True] + [False] * (len(epochs) - 1)
        result = json.loads((folder / "result.json").read_text())
        assert result["epochs"] == epochs["epoch"].max()
        assert result["best_epoch"] == epochs["recall@20"].arg_max()
        assert result["seconds"] == pytest.approx(epochs["seconds"].sum())
        kept = {path.name for path in (folder / "checkpoint").iterdir()}
        assert kept == {"best.safetensors", "run.json"}


def test_user_scores_are_those_of_the_saved_model_and_average_to_the_results(
    finished: Comparison, small: Dataset
) -> None:
    ranking = FullRanking(small, "test")
    for folder in run_folders(finished):
        model, arm, seed = folder.parts[-3], folder.parts[-2], int(folder.name[5:])
        users = pl.read_parquet(folder / "users.parquet")
        np.testing.assert_array_equal(users["user"], ranking.users)
        assert users["user_id"].to_list() == small.user_ids[ranking.users].tolist()
        path = folder / "checkpoint" / "best.safetensors"
        saved = load_model(model_resolver.lookup(model), path, small)
        scores = ranking.evaluate(saved.make_scorer())
        own = finished.results.filter(model=model, arm=arm, seed=seed, split="test", group="all")
        assert own.height == len(METRICS) * len(CUTOFFS)
        for metric, k, value in own.select("metric", "k", "value").iter_rows():
            np.testing.assert_array_equal(users[f"{metric}@{k}"], scores[f"{metric}@{k}"])
            assert value == scores[f"{metric}@{k}"].mean()


def test_gaps_are_those_of_the_model_before_training_and_of_the_saved_model(
    finished: Comparison, small: Dataset
) -> None:
    table = pl.read_csv(finished.folder / "gaps.csv")
    values = {tuple(key): value for *key, value in table.iter_rows()}
    for folder in run_folders(finished):
        model, arm, seed = folder.parts[-3], folder.parts[-2], folder.name
        if seed != "seed-0":
            continue
        saved = load_model(
            model_resolver.lookup(model), folder / "checkpoint/best.safetensors", small
        )
        with torch.no_grad():
            users, items = saved.eval().embed()
        found = compute_gap(small.train_matrix(), items.numpy(), users.numpy(), 0)
        assert values[model, arm, "trained", "alignment"] == pytest.approx(found.alignment)
        assert values[model, arm, "trained", "separability"] == found.separability
    for model in ("lightgcn", "vbpr"):
        ours, control = (values[model, arm, "start", "alignment"] for arm in ("sgurinit", "random"))
        assert ours > control + 0.2


def test_runs_that_ended_before_patience_ran_out_are_counted(
    finished: Comparison, brief: TrainSettings
) -> None:
    for entry in finished.summary["results"]:
        curves = finished.curves.filter(pl.col("epoch") > 0, model=entry["model"], arm=entry["arm"])
        best = curves.sort("recall@20", "seed", descending=True).unique("seed", keep="first")
        n = sum(
            epochs == brief.max_epochs and epochs - best < brief.patience
            for epochs, best in zip(entry["epochs"], best.sort("seed")["epoch"], strict=True)
        )
        assert entry["at_epoch_limit"] == n
    assert any(entry["at_epoch_limit"] for entry in finished.summary["results"])


def test_a_comparison_is_printed_in_a_few_lines(finished: Comparison) -> None:
    assert repr(finished).splitlines() == [
        f"Comparison({str(finished.folder)!r}) on planted",
        "  models: lightgcn, vbpr",
        "  arms: random, sgurinit, permuted",
        "  seeds: 2",
    ]


def test_results_and_curves_are_tidy_and_complete(finished: Comparison) -> None:
    results, curves = finished.results, finished.curves
    columns = ["model", "arm", "seed", "split", "group", "metric", "k", "value"]
    assert results.columns == columns
    assert not results.select(columns[:-1]).is_duplicated().any()
    plain = results.filter(group="all").select("model", "arm", "seed", "split", "metric", "k")
    assert set(plain.rows()) == set(
        itertools.product(("lightgcn", "vbpr"), ARMS, (0, 1), ("valid", "test"), METRICS, CUTOFFS)
    )
    assert set(results.filter(split="valid")["group"]) == {"all"}
    assert curves.columns == ["model", "arm", "seed", "epoch", "train_loss", *METRIC_NAMES]
    key = ["model", "arm", "seed"]
    best = curves.group_by(key).agg(pl.col("recall@20").max())
    valid = results.filter(split="valid", metric="recall", k=20).select(*key, "value")
    joined = best.join(valid, on=key)
    assert joined.height == valid.height
    assert joined["recall@20"].to_list() == joined["value"].to_list()


def test_a_comparison_writes_every_table_and_the_report_only_adds_the_page(
    finished: Comparison, tmp_path: Path
) -> None:
    def files(folder: Path) -> dict[str, bytes]:
        found = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
        return {str(path.relative_to(folder)): path.read_bytes() for path in found}

    copy = tmp_path / "copy"
    shutil.copytree(finished.folder, copy)
    before = files(copy)
    assert set(before) >= {
        *("settings.json", "summary.json", "results.csv", "curves.csv"),
        *("lifts.csv", "epochs.csv", "gaps.csv"),
        *(f"starts/{table}.csv" for table in ("gap", "cosines", "points", "clusters")),
    }
    page = write_report(copy)
    after = files(copy)
    assert after.pop("report.html") == page.read_bytes()
    assert after == before


@pytest.mark.slow
def test_a_start_is_fitted_once_per_arm_and_seed_and_no_model_is_built_but_for_a_run(
    tmp_path: Path, brief: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[tuple[object, ...]] = []
    built: list[str] = []
    fit, construct = SGURInit.fit, Recommender.__init__

    def count_fit(self: SGURInit, *arguments: object, **more: object) -> SGURInit:
        fits.append((self.collaborative, self.random_state))
        return fit(self, *arguments, **more)

    def count_model(self: Recommender, *arguments: object) -> None:
        built.append(type(self).__name__)
        construct(self, *arguments)

    monkeypatch.setattr(SGURInit, "fit", count_fit)
    monkeypatch.setattr(Recommender, "__init__", count_model)
    data = planted(120, 80, n_topics=6, seed=9)  # starts of the other data may be cached
    arms = ["random", "sgurinit", "hybrid"]
    found = compare(data, ["lightgcn", "bprmf"], arms, 2, out=tmp_path, settings=brief)
    assert len(fits) == len(set(fits)) == 2 * 2
    assert sorted(built) == ["BPRMF"] * 6 + ["LightGCN"] * 6
    measured = [
        (model, arm, stage, measure, value)
        for model in ("lightgcn", "bprmf")
        for arm in arms
        for stage, measures in json.loads(
            (found.folder / f"runs/{model}/{arm}/seed-0/gap.json").read_text()
        ).items()
        for measure, value in measures.items()
    ]
    assert pl.read_csv(found.folder / "gaps.csv").rows() == measured


def test_tables_read_back_as_they_were(finished: Comparison) -> None:
    again = load_comparison(finished.folder)
    assert again.results.equals(finished.results)
    assert again.curves.equals(finished.curves)
    assert again.summary == finished.summary


def test_the_summary_agrees_with_numbers_computed_by_hand(finished: Comparison) -> None:
    entries = {(e["model"], e["arm"]): e for e in finished.summary["results"]}
    assert len(entries) == 6
    for (model, arm), entry in entries.items():
        for name in METRIC_NAMES:
            metric, k = name.split("@")
            values = finished.results.filter(
                model=model, arm=arm, split="test", group="all", metric=metric, k=int(k)
            )["value"].to_list()
            found = entry["test"][name]
            assert found["per_seed"] == values
            assert found["mean"] == pytest.approx(fmean(values), rel=1e-12)
            assert found["sd"] == pytest.approx(stdev(values), rel=1e-12)
            if arm == "random":
                assert set(found) == {"mean", "sd", "per_seed"}
                continue
            reference = entries[model, "random"]["test"][name]["mean"]
            assert found["lift"] == pytest.approx(found["mean"] / reference - 1, abs=1e-9)
            assert found["mean_difference"] == pytest.approx(found["mean"] - reference, abs=1e-12)
            if name in GROUP_METRICS:
                own, base = (user_scores(finished, model, one, name) for one in (arm, "random"))
                check_interval(found, own, base)
                assert found["n_users"] == own.shape[1]
            else:
                assert "p_value" not in found


def user_scores(finished: Comparison, model: str, arm: str, name: str) -> np.ndarray:
    """One metric of every user, shape (n_seeds, n_users)."""
    runs = sorted((finished.folder / f"runs/{model}/{arm}").glob("seed-*/users.parquet"))
    return np.stack([pl.read_parquet(run)[name].to_numpy() for run in runs])


def check_interval(found: dict, own: np.ndarray, base: np.ndarray) -> None:
    """Fields of a comparison are those of a bootstrap of this pair alone."""
    for field, value in vars(bootstrap_lift(own, base)).items():
        assert found[field] == pytest.approx(value, abs=1e-6)


def test_groups_are_the_same_scores_by_users_and_the_ranking_of_their_items(
    finished: Comparison, small: Dataset
) -> None:
    n_train = np.bincount(small.train.users, minlength=small.n_users)
    popularity = small.popularity()
    for folder in run_folders(finished):
        model, arm, seed = folder.parts[-3], folder.parts[-2], int(folder.name[5:])
        of_run = finished.results.filter(model=model, arm=arm, seed=seed, split="test")
        values = {
            group: of_run.filter(group=group, metric="recall", k=20)["value"].item()
            for group in of_run["group"].unique(maintain_order=True)
        }
        users = pl.read_parquet(folder / "users.parquet")
        np.testing.assert_array_equal(users["n_train"], n_train[users["user"]])
        for group, value in values.items():
            if group.startswith("users with "):
                low, _, high = group.removeprefix("users with ").partition("-")
                own = users.filter(pl.col("n_train").is_between(int(low), int(high or low)))
                assert own["recall@20"].mean() == pytest.approx(value, rel=1e-12)
        saved = load_model(
            model_resolver.lookup(model), folder / "checkpoint" / "best.safetensors", small
        )
        cold = FullRanking(small, "test", positives=popularity == 0).evaluate(saved.make_scorer())
        assert values["cold items"] == cold["recall@20"].mean()
        assert set(values) >= {"cold among cold", "tail items", "head items"}
    entry = next(e for e in finished.summary["results"] if e["arm"] == "sgurinit")
    found = entry["groups"]["head items"]["recall@20"]
    of_arm = finished.results.filter(
        model=entry["model"], arm="sgurinit", group="head items", metric="recall", k=20
    )
    assert found["per_seed"] == of_arm["value"].to_list()
    reference = finished.results.filter(
        model=entry["model"], arm="random", group="head items", metric="recall", k=20
    )["value"].mean()
    assert found["mean_difference"] == pytest.approx(found["mean"] - reference, abs=1e-12)


@pytest.mark.parametrize("group", [None, "head items", "tail items"])
def test_p_values_of_several_models_are_adjusted(finished: Comparison, group: str | None) -> None:
    for arm in ("sgurinit", "permuted"):
        entries = [entry for entry in finished.summary["results"] if entry["arm"] == arm]
        own = [(e["groups"][group] if group else e["test"])["ndcg@20"] for e in entries]
        low, high = sorted(own, key=lambda metric: metric["p_value"])
        assert low["p_holm"] == min(1, 2 * low["p_value"])
        assert high["p_holm"] == max(low["p_holm"], high["p_value"])


def test_arms_are_tested_against_each_other(finished: Comparison) -> None:
    entries = {(e["model"], e["arm"]): e for e in finished.summary["results"]}
    model = next(iter(entries))[0]
    assert entries[model, "random"]["against"] == {}
    assert list(entries[model, "sgurinit"]["against"]) == ["permuted"]
    own, other = (user_scores(finished, model, arm, "ndcg@20") for arm in ("sgurinit", "permuted"))
    score = entries[model, "sgurinit"]["against"]["permuted"]["ndcg@20"]
    check_interval(score, own, other)
    back = entries[model, "permuted"]["against"]["sgurinit"]["ndcg@20"]
    check_interval(back, other, own)
    assert back["p_value"] == score["p_value"]
    several = [
        entry["against"]["permuted"]["ndcg@20"]
        for (_, arm), entry in entries.items()
        if arm == "sgurinit"
    ]
    low = min(several, key=lambda metric: metric["p_value"])
    assert low["p_holm"] == min(1, 2 * low["p_value"])


def test_seconds_to_99_percent_are_those_of_its_epochs(finished: Comparison) -> None:
    for entry in finished.summary["results"]:
        for seed, epochs in enumerate(entry["epochs_to_99_percent"]):
            seconds = entry["seconds_to_99_percent"][seed]
            if epochs is None:
                assert seconds is None
                continue
            path = finished.folder / f"runs/{entry['model']}/{entry['arm']}/seed-{seed}/epochs.csv"
            assert seconds == pytest.approx(pl.read_csv(path)["seconds"][1 : epochs + 1].sum())


def test_epochs_to_99_percent_are_counted_on_the_same_seed(finished: Comparison) -> None:
    curves = finished.curves
    for entry in finished.summary["results"]:
        for seed in (0, 1):
            own, random = (
                curves.filter(model=entry["model"], arm=arm, seed=seed)["recall@20"].to_list()
                for arm in (entry["arm"], "random")
            )
            reached = (n for n, value in enumerate(own) if value >= 0.99 * max(random))
            assert entry["epochs_to_99_percent"][seed] == next(reached, None)
            assert entry["start_share"][seed] == pytest.approx(own[0] / max(random))


@pytest.mark.parametrize(
    ("own", "random", "epochs", "share"),
    [
        ([0.3, 0.1], [0.1, 0.3, 0.2], 0, 1),  # the start is there
        ([0.2, 0.1, 0.3], [0.1, 0.3, 0.2], 2, 2 / 3),
        ([0.1, 0.298], [0.1, 0.3, 0.2], 1, 1 / 3),  # 99 %
        ([0.1, 0.296], [0.1, 0.3, 0.2], None, 1 / 3),
        ([0.1, 0.4], [0.3, 0.2], 1, 1 / 3),  # random is best before training
        ([0.0, 0.1], [0.0, 0.0], 0, None),  # random learns nothing
    ],
)
def test_the_start_is_epoch_0_on_the_way_to_99_percent(
    finished: Comparison, tmp_path: Path, own: list, random: list, epochs: int, share: float
) -> None:
    runs = list(comparison_settings(["lightgcn"], ["random", "local"], 1).runs())
    for run, curve in zip(runs, (random, own), strict=True):
        folder = tmp_path / run.label
        shutil.copytree(finished.folder / "runs/lightgcn/random/seed-0", folder)
        pl.DataFrame({"recall@20": curve, "seconds": [1.0] * len(curve)}).write_csv(
            folder / "epochs.csv"
        )
    _, found = summarize_runs(runs, tmp_path)
    assert found["epochs_to_99_percent"] == [epochs]
    assert found["start_share"] == [share if share is None else pytest.approx(share)]
    assert found["seconds_to_99_percent"] == [epochs]  # one second each


def test_a_lift_over_zero_is_unknown_and_its_difference_is_not(
    finished: Comparison, tmp_path: Path
) -> None:
    runs = list(comparison_settings(["lightgcn"], ["random", "local"], 1).runs())
    for run, hits in zip(runs, (0.0, 1.0), strict=True):
        folder = tmp_path / run.label
        shutil.copytree(finished.folder / "runs/lightgcn/random/seed-0", folder)
        users = pl.read_parquet(folder / "users.parquet")
        users.with_columns(pl.lit(hits).alias("recall@20")).write_parquet(folder / "users.parquet")
        one = pl.DataFrame({"group": ["tiny"], **{name: [hits] for name in METRIC_NAMES}})
        one.write_parquet(folder / "groups.parquet")
    _, found = summarize_runs(runs, tmp_path)
    recall = found["test"]["recall@20"]
    assert (recall["lift"], recall["low"], recall["high"]) == (None, None, None)
    assert recall["mean_difference"] == recall["difference_low"] == 1
    alone = found["groups"]["tiny"]["recall@20"]  # a group of one user has no interval
    assert (alone["lift"], alone["mean_difference"], alone["n_users"]) == (None, 1, 1)
    assert "p_value" not in alone


def test_arms_differ_from_the_first_epoch_and_sgurinit_has_four_times_the_norm(
    finished: Comparison,
) -> None:
    handover = json.loads(
        (finished.folder / "runs/lightgcn/sgurinit/seed-0/handover.json").read_text()
    )
    assert handover["tables"][0]["norm_after"] == pytest.approx(
        4 * handover["tables"][0]["norm_before"], rel=1e-5
    )
    arms = finished.curves.filter(model="lightgcn", seed=0, epoch=1)
    assert arms["train_loss"].n_unique() == 3


def test_a_finished_comparison_is_not_trained_again(
    finished: Comparison, small: Dataset, brief: TrainSettings
) -> None:
    before = numbers(finished.folder)
    times = {path: path.stat().st_mtime_ns for path in (finished.folder / "runs").rglob("*.*")}
    events: list[RunEvent] = []
    arms = ["random", "sgurinit", "permuted"]
    again = compare(
        small,
        ["lightgcn", "vbpr"],
        arms,
        2,
        out=finished.folder,
        settings=brief,
        on_event=events.append,
    )
    assert [event.kind for event in events if event.run] == ["kept"] * 12
    assert numbers(finished.folder) == before
    assert again.summary == finished.summary
    assert times == {p: p.stat().st_mtime_ns for p in (finished.folder / "runs").rglob("*.*")}


def test_other_settings_or_data_in_the_same_folder_are_refused(
    finished: Comparison, small: Dataset, brief: TrainSettings
) -> None:
    arms, out = ["random", "sgurinit", "permuted"], finished.folder
    names = ["lightgcn", "vbpr"]
    with pytest.raises(InputError, match=r"train\.max_epochs is 3 there and 4 now"):
        compare(small, names, arms, 2, out=out, settings=TrainSettings(max_epochs=4, patience=2))
    fields = {"sgurinit": {"local_weight": 0.9}}
    message = r"arms\.sgurinit\.local_weight is 0\.5 there and 0\.9 now"
    with pytest.raises(InputError, match=message):
        compare(small, names, arms, 2, out=out, settings=brief, overrides=fields)
    other = planted(120, 80, n_topics=6, seed=1)
    with pytest.raises(InputError, match=r"settings\.json: data\.fingerprint is "):
        compare(other, names, arms, 2, out=out, settings=brief)


@pytest.mark.slow
def test_a_comparison_can_grow_but_not_shrink(
    tmp_path: Path, small: Dataset, brief: TrainSettings
) -> None:
    def grow(names: list[str], arms: list[str], seeds: int, events: list[RunEvent]) -> Comparison:
        return compare(
            small, names, arms, seeds, out=tmp_path, settings=brief, on_event=events.append
        )

    first = grow(["bprmf"], ["random"], 1, [])
    events: list[RunEvent] = []
    grown = grow(["lightgcn", "bprmf"], ["random", "sgurinit"], 2, events)
    kept = [event.run for event in events if event.kind == "kept"]
    assert kept == ["bprmf/random/seed-0"]
    assert sum(event.kind == "done" for event in events) == 2 * 2 * 2 - 1
    own = (pl.col("model") == "bprmf") & (pl.col("arm") == "random") & (pl.col("seed") == 0)
    assert grown.results.filter(own).equals(first.results)
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert [*settings["models"]] == ["lightgcn", "bprmf"]
    for names, arms, seeds in (
        (["bprmf"], ["random", "sgurinit"], 2),
        (["lightgcn", "bprmf"], ["random"], 2),
        (["lightgcn", "bprmf"], ["random", "sgurinit"], 1),
    ):
        with pytest.raises(InputError, match=r"settings\.json: .* there and .* now; choose"):
            grow(names, arms, seeds, [])
        assert json.loads((tmp_path / "settings.json").read_text()) == settings


def test_a_folder_in_use_is_refused(tmp_path: Path, small: Dataset, brief: TrainSettings) -> None:
    with (
        FileLock(tmp_path / ".lock"),
        pytest.raises(InputError, match="another process is using it"),
    ):
        compare(small, ["lightgcn"], ["random"], 1, out=tmp_path, settings=brief)


def test_a_file_in_the_way_of_the_folder_is_named(
    tmp_path: Path, small: Dataset, brief: TrainSettings
) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="out: expected a folder that can be created"):
        compare(small, ["lightgcn"], ["random"], 1, out=tmp_path / "out", settings=brief)


def test_bad_input_leaves_no_folder(tmp_path: Path, small: Dataset) -> None:
    with pytest.raises(InputError):
        compare(small, ["no-such"], out=tmp_path / "out")
    with pytest.raises(InputError):
        compare(tmp_path / "no-data", ["lightgcn"], out=tmp_path / "out")
    empty = replace(small, test=small.test.__class__([], []))
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="the test split is empty"):
        compare(empty, ["lightgcn"], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_ctrl_c_is_raised_and_the_run_resumes_to_the_same_numbers(
    tmp_path: Path, small: Dataset, brief: TrainSettings, finished: Comparison
) -> None:
    def stop(event: RunEvent) -> None:
        if event.kind == "epoch" and event.values["epoch"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_and_test(
            small, "vbpr", "sgurinit", seed=1, out=tmp_path, settings=brief, on_event=stop
        )
    assert not (tmp_path / "result.json").exists()
    events: list[RunEvent] = []
    found = train_and_test(
        small, "vbpr", "sgurinit", seed=1, out=tmp_path, settings=brief, on_event=events.append
    )
    epochs = [event.values["epoch"] for event in events if event.kind == "epoch"]
    assert epochs == list(range(2, found["epochs"] + 1))
    whole = finished.folder / "runs/vbpr/sgurinit/seed-1"
    expected = json.loads((whole / "result.json").read_text())
    assert {**found, "seconds": 0} == {**expected, "seconds": 0}
    assert (tmp_path / "users.parquet").read_bytes() == (whole / "users.parquet").read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(count_cores() == 1, reason="needs two cores to run two at a time")
def test_worker_processes_give_the_same_results_as_one_process(
    tmp_path: Path, small: Dataset, brief: TrainSettings
) -> None:
    one = compare(small, ["lightgcn"], ["random", "local"], 1, out=tmp_path / "1", settings=brief)
    events: list[RunEvent] = []
    many = compare(
        small,
        ["lightgcn"],
        ["random", "local"],
        1,
        out=tmp_path / "2",
        settings=brief,
        jobs=count_cores(),  # one thread each, like this process
        on_event=events.append,
    )
    assert numbers(many.folder) == numbers(one.folder)
    kinds = [event.kind for event in events if event.run]
    assert sorted(kinds) == [*["begin"] * 2, *["done"] * 2, *["epoch"] * 8, *["step"] * 4]


def test_a_model_that_diverges_stops_the_comparison_with_one_line(
    tmp_path: Path, small: Dataset, brief: TrainSettings
) -> None:
    fields = {"lightgcn": {"learning_rate": 1e30}}
    with pytest.raises(InputError, match="the model has diverged"):
        compare(small, ["lightgcn"], out=tmp_path, settings=brief, overrides=fields)
    log = (tmp_path / "runs/lightgcn/random/seed-0/log.txt").read_text()
    assert "the model has diverged" in log


def test_one_seed_without_random_has_neither_spread_nor_lift(
    tmp_path: Path, small: Dataset, brief: TrainSettings
) -> None:
    found = compare(small, ["lightgcn"], ["global"], 1, out=tmp_path, settings=brief)
    (entry,) = found.summary["results"]
    assert entry["test"]["recall@20"]["sd"] is None
    assert "lift" not in entry["test"]["recall@20"]
    assert "epochs_to_random_best" not in entry
    assert math.isfinite(entry["test"]["recall@20"]["mean"])


def test_masking_validation_items_is_passed_to_the_test_ranking(
    tmp_path: Path, small: Dataset, brief: TrainSettings, finished: Comparison
) -> None:
    found = compare(
        small, ["lightgcn"], ["random"], 1, out=tmp_path, settings=brief, mask_valid=True
    )
    masked = found.results.filter(split="test", group="all")
    kept = finished.results.filter(
        split="test", group="all", model="lightgcn", arm="random", seed=0
    )
    assert (masked["value"] >= kept["value"]).all()
    assert (masked["value"] > kept["value"]).any()


@pytest.mark.parametrize("path", ["", "/nonexistent"])
def test_without_git_the_revision_is_unknown(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    provenance.source_revision.cache_clear()
    monkeypatch.setenv("PATH", path)
    try:
        assert provenance.source_revision() is None
    finally:
        provenance.source_revision.cache_clear()


def test_a_checkout_of_another_owner_has_no_revision(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "git"
    fake.write_text("#!/bin/sh\necho 'fatal: detected dubious ownership' >&2\nexit 128\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    provenance.source_revision.cache_clear()
    try:
        assert provenance.source_revision() is None
    finally:
        provenance.source_revision.cache_clear()


@pytest.mark.parametrize(
    ("models", "fields", "message"),
    [
        (["vbpr", "lightgcn"], {"projected": "through"}, "lightgcn from sgurinit: projected='thr"),
        (["vbpr", "bprmf"], {"freeze": True}, "bprmf from sgurinit: freeze leaves BPRMF nothing"),
        (
            ["mmgcn", "vbpr"],
            {"preprocess": ["center"]},
            r"vbpr from sgurinit: preprocess=\('center'",
        ),
    ],
)
def test_settings_that_a_model_cannot_use_are_refused_before_the_first_run(
    small: Dataset, tmp_path: Path, models: list[str], fields: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        compare(small, models, ["random", "sgurinit"], 1, out=tmp_path / "c",
                overrides={"sgurinit": fields})  # fmt: skip
    assert not (tmp_path / "c" / "runs").exists()
