"""Searches: proposals, unread test data, resuming and failing trials."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from sgurinit.data import Dataset
from sgurinit.errors import InputError
from sgurinit.experiments import RunEvent, comparison_settings
from sgurinit.experiments import run as run_module
from sgurinit.experiments.comparison import run_plan
from sgurinit.experiments.search import Proposals
from sgurinit.training import TrainSettings

ARMS = ["random", "sgurinit"]
SPACES = {
    "lightgcn": {"n_layers": [1, 2], "reg": [1e-4, 1e-2]},
    "sgurinit": {"local_weight": [0.5, 1.0]},
}


def proposals(arm: str = "sgurinit", seed: int = 0) -> Proposals:
    plan = comparison_settings(["lightgcn"], ARMS, 1)
    spaces = {"random": {}, **SPACES}
    return Proposals(plan.run("lightgcn", arm, 1), SPACES["lightgcn"], spaces[arm], seed, 8)


def choices(found: Proposals, trials: int) -> list[tuple]:
    """List the settings of the first trials, scored by a fixed function of them."""
    asked = []
    for _ in range(trials):
        run = found.ask()
        if run is None:
            break
        start = run.initializer.get("local_weight")
        asked.append((run.config["n_layers"], run.config["reg"], start))
        found.tell(run.config["n_layers"] - run.config["reg"] + (start or 0))
    return asked


def test_the_first_trial_has_the_settings_as_given_and_none_is_repeated() -> None:
    asked = choices(proposals(), 20)
    assert asked[0] == (2, 1e-4, 0.5)
    assert len(asked) == len(set(asked)) == 8  # the whole space
    assert choices(proposals("random"), 20)[0] == (2, 1e-4, None)
    assert len(choices(proposals("random"), 20)) == 4


def test_proposals_depend_on_the_seed() -> None:
    assert choices(proposals(seed=3), 5) == choices(proposals(seed=3), 5)
    assert any(choices(proposals(seed=s), 5) != choices(proposals(seed=3), 5) for s in range(4))


def test_scores_only_affect_the_second_half_of_the_trials() -> None:
    plan = comparison_settings(["lightgcn"], ["random"], 1)
    space = {"width": list(range(1, 200)), "n_layers": [1, 2, 3, 4]}

    def layers(sign: int) -> list[int]:
        found = Proposals(plan.run("lightgcn", "random", 1), space, {}, 0, 60)
        asked = []
        for _ in range(60):
            run = found.ask()
            assert run is not None
            asked.append(run.config["n_layers"])
            found.tell(sign * run.config["n_layers"])
        return asked

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
            "config.json", "environment.json", "log.txt", "result.json", "checkpoint",
        }  # fmt: skip
        assert {path.name for path in (folder / "checkpoint").iterdir()} == {"run.json"}
        result = json.loads((folder / "result.json").read_text())
        assert "test" not in result
        assert json.loads((folder / "config.json").read_text())["run"]["seed"] == 2
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
        ({"trials": 1, "tries": 2}, r"search\.tries does not exist"),
    ],
)
def test_bad_searches_are_refused(search: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        comparison_settings(["lightgcn"], ARMS, 1, search=search)
