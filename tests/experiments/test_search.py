"""Searches: proposals, unread test data, resuming and failing trials."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from sgurinit.data import Dataset
from sgurinit.errors import InputError
from sgurinit.experiments import RunEvent, comparison_settings
from sgurinit.experiments import run as run_module
from sgurinit.experiments.comparison import run_plan
from sgurinit.experiments.proposals import Proposals, propose_settings
from sgurinit.experiments.settings import RunSettings
from sgurinit.experiments.value_lists import combine_spaces
from sgurinit.training import TrainSettings

ARMS = ["random", "sgurinit"]
SPACES = {
    "lightgcn": {"n_layers": [1, 2], "reg": [1e-4, 1e-2]},
    "sgurinit": {"local_weight": [0.5, 1.0]},
}


def proposals(arm: str = "sgurinit", seed: int = 0, trials: int = 8) -> Proposals:
    plan = comparison_settings(["lightgcn"], ARMS, 1)
    space = combine_spaces(SPACES["lightgcn"], {"random": {}, **SPACES}[arm])
    return propose_settings(plan.run("lightgcn", arm, 1), space, seed, trials)


def ask_all(found: Proposals, score: Callable[[RunSettings], float]) -> list[RunSettings]:
    """List all proposals, scored by a function of them."""
    asked = [next(found)]
    try:
        while True:
            asked.append(found.send(score(asked[-1])))
    except StopIteration:
        return asked


def choices(found: Proposals) -> list[tuple]:
    """List the settings of the trials, scored by a fixed function of them."""
    runs = ask_all(
        found,
        lambda run: (
            run.config["n_layers"] - run.config["reg"] + run.initializer.get("local_weight", 0)
        ),
    )
    return [
        (run.config["n_layers"], run.config["reg"], run.initializer.get("local_weight"))
        for run in runs
    ]


def test_the_first_trial_has_the_settings_as_given_and_none_is_repeated() -> None:
    asked = choices(proposals(trials=20))
    assert asked[0] == (2, 1e-4, 0.5)
    assert len(asked) == len(set(asked)) == 8  # the whole space
    assert choices(proposals("random"))[0] == (2, 1e-4, None)
    assert len(choices(proposals("random"))) == 4


def test_proposals_depend_on_the_seed() -> None:
    assert choices(proposals(seed=3)) == choices(proposals(seed=3))
    assert any(choices(proposals(seed=s)) != choices(proposals(seed=3)) for s in range(4))


def test_scores_only_affect_the_second_half_of_the_trials() -> None:
    plan = comparison_settings(["lightgcn"], ["random"], 1)
    space = combine_spaces({"width": list(range(1, 200)), "n_layers": [1, 2, 3, 4]}, {})

    def layers(sign: int) -> list[int]:
        found = propose_settings(plan.run("lightgcn", "random", 1), space, 0, 60)
        runs = ask_all(found, lambda run: sign * run.config["n_layers"])
        return [run.config["n_layers"] for run in runs]

    more, fewer = layers(1), layers(-1)
    assert more[:30] == fewer[:30]
    assert more[30:] != fewer[30:]


@pytest.fixture(scope="module")
def searched(
    tmp_path_factory: pytest.TempPathFactory, small: Dataset, brief: TrainSettings
) -> tuple:
    plan = comparison_settings(
        ["lightgcn"], ARMS, 2, train=brief, search={"trials": 3, "spaces": SPACES}
    )
    out = tmp_path_factory.mktemp("search")
    events: list[RunEvent] = []
    found = run_plan(plan, small, None, out=out, jobs=1, on_event=events.append)
    return plan, found, events


@pytest.mark.slow
def test_every_arm_has_the_same_number_of_trials_and_the_best_is_run(searched: tuple) -> None:
    plan, found, events = searched
    assert plan.count() == 2 * 3 + 2 * 2 == sum(event.kind == "done" for event in events)
    trials = pl.read_csv(found.folder / "trials.csv")
    assert trials.select("model", "arm", "trial").rows() == [
        ("lightgcn", arm, trial) for arm in ARMS for trial in range(3)
    ]
    for arm in ARMS:
        own = trials.filter(arm=arm)
        best = json.loads(own["settings"][int(own["recall@20"].arg_max())])
        for seed in (0, 1):
            config = json.loads(
                (found.folder / f"runs/lightgcn/{arm}/seed-{seed}/config.json").read_text()
            )["run"]
            assert config["trial"] is None
            assert config["config"]["n_layers"] == best["n_layers"]
            assert config["config"]["reg"] == best["reg"]
            if arm == "sgurinit":
                assert config["initializer"]["local_weight"] == best["sgurinit.local_weight"]
        chosen = found.summary["chosen"]["lightgcn"][arm]
        assert chosen["config"]["reg"] == best["reg"]


@pytest.mark.slow
def test_trials_do_not_read_test_data_and_save_little(searched: tuple) -> None:
    _, found, _ = searched
    folders = sorted((found.folder / "trials").glob("*/*/trial-*"))
    assert len(folders) == 6
    for folder in folders:
        names = {path.name for path in folder.iterdir()}
        assert names == {
            "config.json", "environment.json", "log.txt", "result.json", "checkpoint", "epochs.csv",
        }  # fmt: skip
        assert {path.name for path in (folder / "checkpoint").iterdir()} == {"run.json"}
        result = json.loads((folder / "result.json").read_text())
        assert "test" not in result
        assert json.loads((folder / "config.json").read_text())["run"]["seed"] == 1000
        assert "test" not in (folder / "log.txt").read_text()


@pytest.mark.slow
def test_a_search_resumes(searched: tuple, small: Dataset, tmp_path: Path) -> None:
    plan, found, _ = searched

    def stop(event: RunEvent) -> None:
        if event.run.endswith("sgurinit/trial-1") and event.kind == "epoch":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, small, None, out=tmp_path, jobs=1, on_event=stop)
    events: list[RunEvent] = []
    again = run_plan(plan, small, None, out=tmp_path, jobs=1, on_event=events.append)
    kept = {event.run for event in events if event.kind == "kept"}
    assert "lightgcn/random/trial-1" in kept
    assert "lightgcn/sgurinit/trial-1" not in kept
    assert again.results.equals(found.results)
    drop = ["seconds"]
    first, second = (pl.read_csv(f / "trials.csv") for f in (found.folder, tmp_path))
    assert first.drop(drop).equals(second.drop(drop))


@pytest.mark.slow
def test_a_trial_killed_before_its_result_is_written_can_be_resumed(
    searched: tuple, small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, found, _ = searched
    plain = run_module.write_json

    def killed(path: Path, data: object) -> None:
        if path.name == "result.json" and path.parent.name == "trial-1":
            raise KeyboardInterrupt
        plain(path, data)

    monkeypatch.setattr(run_module, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, small, None, out=tmp_path, jobs=1, on_event=lambda _: None)
    monkeypatch.setattr(run_module, "write_json", plain)
    again = run_plan(plan, small, None, out=tmp_path, jobs=1, on_event=lambda _: None)
    assert again.results.equals(found.results)


def test_a_failing_trial_is_the_worst_and_states_the_reason(
    small: Dataset, brief: TrainSettings, tmp_path: Path
) -> None:
    plan = comparison_settings(
        ["bprmf"], ["sgurinit"], 1, train=brief,
        search={"trials": 2, "spaces": {"bprmf": {}, "sgurinit": {"n_clusters": [500, 8]}}},
    )  # fmt: skip
    found = run_plan(plan, small, None, out=tmp_path, jobs=1, on_event=lambda _: None)
    trials = pl.read_csv(tmp_path / "trials.csv")
    (why,) = trials["failed"].drop_nulls().to_list()
    assert "n_clusters=500 is more than the 80 distinct item rows" in why
    assert found.summary["chosen"]["bprmf"]["sgurinit"]["initializer"]["n_clusters"] == 8


def test_a_diverging_trial_is_the_worst(
    small: Dataset, brief: TrainSettings, tmp_path: Path
) -> None:
    plan = comparison_settings(
        ["lightgcn"], ["random"], 1, train=brief,
        search={"trials": 2, "spaces": {"lightgcn": {"learning_rate": [1e30, 1e-3]}}},
    )  # fmt: skip
    found = run_plan(plan, small, None, out=tmp_path, jobs=1, on_event=lambda _: None)
    trials = pl.read_csv(tmp_path / "trials.csv")
    assert sorted(trials["recall@20"] == 0) == [False, True]
    assert found.summary["chosen"]["lightgcn"]["random"]["config"]["learning_rate"] == 1e-3


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"trials": 0}, r"search\.trials is 0"),
        ({"trials": 1, "spaces": {"vbpr": {"reg": [1]}}}, r"search\.spaces\.vbpr is not compared"),
        ({"trials": 1, "spaces": {"lightgcn": {"n_layers": [0]}}}, r"lightgcn\.n_layers is 0"),
        (
            {"trials": 1, "spaces": {"sgurinit": {"local_weight": [2]}}},
            r"sgurinit\.local_weight is 2",
        ),
        ({"trials": 1, "spaces": {"sgurinit": {"no": [2]}}}, r"sgurinit\.no does not exist"),
        (
            {"trials": 1, "spaces": {"sgurinit": {"local_weight": []}}},
            r"search\.spaces\.sgurinit\.local_weight",
        ),
        ({"trials": 1, "spaces": {"sgurinit": {"kind": ["local"]}}}, r"kind cannot be searched"),
        ({"trials": 1, "finalists": 0}, r"search\.finalists is 0"),
        ({"trials": 1, "control_trials": -1}, r"search\.control_trials is -1"),
        ({"trials": 1, "halving": {"epochs": [9, 3], "keep": 0.5}}, r"search\.halving\.epochs is"),
        ({"trials": 1, "halving": {"epochs": [], "keep": 0.5}}, r"search\.halving\.epochs is"),
        ({"trials": 1, "halving": {"epochs": [3], "keep": 1}}, r"search\.halving\.keep is 1"),
        ({"trials": 1, "tries": 2}, r"search\.tries does not exist"),
    ],
)
def test_bad_searches_are_refused(search: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        comparison_settings(["lightgcn"], ARMS, 1, search=search)


WHOLE = {
    "trials": 4,
    "halving": {"epochs": [1, 2], "keep": 0.5},
    "finalists": 2,
    "extend": True,
    "exchange": True,
    "control_trials": 2,
    "spaces": SPACES,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, small: Dataset) -> tuple:
    """Run a search with everything in worker processes."""
    train = TrainSettings(max_epochs=4, batch_size=256)
    arms = ["random", "permuted", "sgurinit"]
    plan = comparison_settings(["lightgcn"], arms, 2, train=train, search=WHOLE)
    out = tmp_path_factory.mktemp("whole")
    events: list[RunEvent] = []
    found = run_plan(plan, small, None, out=out, jobs=2, on_event=events.append)
    return plan, found, events


@pytest.mark.slow
def test_a_whole_search_is_the_same_in_worker_processes_and_here(
    whole: tuple, small: Dataset, tmp_path: Path
) -> None:
    plan, found, _ = whole
    again = run_plan(plan, small, None, out=tmp_path, jobs=1, on_event=lambda _: None)
    assert again.summary["chosen"] == found.summary["chosen"]
    assert again.results.equals(found.results)
    one, two = (pl.read_csv(f / "trials.csv").drop("seconds") for f in (found.folder, tmp_path))
    assert one.equals(two)
    assert set(one["seed"]) == {1000, 1001}
    assert set(one["stopped_at"].drop_nulls()) <= {1, 2}
    for own in one.partition_by("arm"):
        first = own.filter(seed=1000)
        assert first["trial"].to_list() == list(range(first.height))
        assert first["best_so_far"].to_list() == first["recall@20"].cum_max().to_list()
    for path in sorted((found.folder / "runs").glob("*/*/*/config.json")):
        assert json.loads(path.read_text())["run"]["train"]["floors"] == {}
    for own in found.summary["chosen"]["lightgcn"].values():
        assert set(own) == {"config", "initializer", "at_edge"}


@pytest.mark.slow
@pytest.mark.parametrize("at", ["random/trial-2", "sgurinit/trial-1-again", "permuted/trial-1"])
def test_a_whole_search_resumes_from_any_run(
    whole: tuple, small: Dataset, tmp_path: Path, at: str
) -> None:
    plan, found, _ = whole
    trials = pl.read_csv(found.folder / "trials.csv").filter(seed=1001)
    again = trials.filter(arm="sgurinit")["trial"][0]
    at = at.replace("trial-1-again", f"trial-{again}-again")

    def stop(event: RunEvent) -> None:
        if event.run.endswith(at) and event.kind == "epoch":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_plan(plan, small, None, out=tmp_path, jobs=1, on_event=stop)
    events: list[RunEvent] = []
    resumed = run_plan(plan, small, None, out=tmp_path, jobs=1, on_event=events.append)
    assert any(event.kind == "kept" for event in events)
    assert resumed.results.equals(found.results)
    one, two = (pl.read_csv(f / "trials.csv").drop("seconds") for f in (found.folder, tmp_path))
    assert one.equals(two)


def test_seeds_of_runs_and_of_trials_do_not_meet() -> None:
    assert comparison_settings(["lightgcn"], ARMS, 1000).seeds == 1000
    with pytest.raises(InputError, match=r"comparison\.seeds is 1001"):
        comparison_settings(["lightgcn"], ARMS, 1001)
