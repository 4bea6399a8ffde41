"""Studies described by a file."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path

import polars as pl
import pytest
import yaml

from sgurinit.data import Dataset, hold_out_items, write_native
from sgurinit.errors import InputError
from sgurinit.experiments import RunEvent, Study
from sgurinit.experiments.cost import expect_epochs
from sgurinit.experiments.settings import Halving
from sgurinit.files import write_json
from sgurinit.report.page import write_report

STUDY = """
data: {path: small, cold_items: 0.1, seed: 3}
models:
  lightgcn: {n_layers: 1}
  bprmf:
arms:
  random:
  sgurinit: {local_weight: 0.7}
  permuted:
  hybrid-shuffled: {scale: 2}
  users: &users {kind: sgurinit, local_weight: 1.0, fill_items: false}
  users-permuted: {<<: *users, kind: permuted}
seeds: 1
train: {max_epochs: 2, patience: 2}
search:
  trials: 1
"""


@pytest.fixture
def folder(tmp_path: Path, small: Dataset) -> Path:
    write_native(small, tmp_path / "small")
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "s.yaml"
    path.write_text(text)
    return path


def test_a_file_describes_the_whole_study(folder: Path, small: Dataset) -> None:
    study = Study.read(write(folder, STUDY))
    plan = study.plan
    assert list(plan.models) == ["lightgcn", "bprmf"]
    assert plan.models["lightgcn"]["n_layers"] == 1
    assert plan.seeds == 1
    assert plan.train.max_epochs == 2
    arms = plan.arms
    assert {name: fields["kind"] for name, fields in arms.items()} == {
        "random": "random", "sgurinit": "sgurinit", "permuted": "permuted",
        "hybrid-shuffled": "hybrid-shuffled", "users": "sgurinit", "users-permuted": "permuted",
    }  # fmt: skip
    assert (arms["sgurinit"]["local_weight"], arms["permuted"]["local_weight"]) == (0.7, 0.7)
    assert arms["hybrid-shuffled"]["scale"] == 2
    assert arms["users"]["fill_items"] is False
    # Arms with custom names inherit nothing.
    assert arms["users-permuted"] == {**arms["users"], "kind": "permuted"}
    assert plan.search is not None
    assert plan.search.spaces["bprmf"]["reg"]
    assert plan.search.spaces["random"] == {}
    assert study.load_data().fingerprint == hold_out_items(small, 0.1, seed=3).fingerprint
    assert plan.count() == 2 * 6 * 2


@pytest.mark.slow
def test_a_study_runs_to_its_tables_beside_its_file(folder: Path) -> None:
    path = write(folder, STUDY.replace("  bprmf:\n", ""))
    found = Study.read(path).run()
    assert found.folder == folder / "s"
    assert found.summary["file"] == str(path)
    results = pl.read_csv(folder / "s" / "results.csv")
    assert results["arm"].unique(maintain_order=True).to_list() == [
        "random", "sgurinit", "permuted", "hybrid-shuffled", "users", "users-permuted",
    ]  # fmt: skip
    assert "cold among cold" in results["group"].to_list()
    assert (folder / "s" / "trials.csv").is_file()


@pytest.mark.slow
def test_a_study_with_a_search_grows_by_models_arms_and_seeds(folder: Path) -> None:
    first = STUDY.replace("  bprmf:\n", "").replace("  permuted:\n", "")
    trials = pl.read_csv(Study.read(write(folder, first)).run().folder / "trials.csv")
    grown = pl.read_csv(Study.read(write(folder, STUDY)).run().folder / "trials.csv")
    assert grown.height == 2 * 6
    pairs = trials.select("model", "arm")
    assert grown.join(pairs, on=["model", "arm"], how="semi").equals(trials)
    text = STUDY.replace("seeds: 1", "seeds: 2")
    more = Study.read(write(folder, text)).run()
    assert set(more.results["seed"]) == {0, 1}
    assert pl.read_csv(more.folder / "trials.csv").equals(grown)
    with pytest.raises(InputError, match="trials is 1 there and 2 now"):
        Study.read(write(folder, text.replace("trials: 1", "trials: 2"))).run()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds: 1", "seeds: 0", r"s\.yaml: study\.seeds is 0"),
        ("seeds: 1", "seed: 1", r"s\.yaml: study\.seed does not exist; study has data, models"),
        ("data:", "dat:", r"s\.yaml: study\.(dat does not exist|data is )"),
        ("cold_items: 0.1", "cold_items: 2", r"s\.yaml: study\.data\.cold_items is 2"),
        ("local_weight: 0.7", "local_weight: 5", r"s\.yaml: sgurinit\.local_weight is 5"),
        ("lightgcn:", "lightgnc:", r"s\.yaml: model 'lightgnc' does not exist; known: "),
        (
            "users: &users",
            "../users: &users",
            r"s\.yaml: arms: '\.\./users' cannot be the name of a folder",
        ),
        (
            "users: &users",
            "lightgcn: &users",
            r"s\.yaml: arms: lightgcn is the name of a compared model",
        ),
        ("kind: sgurinit, ", "", r"s\.yaml: arm 'users' does not exist; known: "),
        ("trials: 1", "trials: none", r"s\.yaml: study\.search\.trials is 'none'"),
        ("max_epochs: 2", "epochs: 2", r"s\.yaml: train\.epochs does not exist"),
        ("seeds: 1", "1: 2", r"s\.yaml: field 1 is not text"),
        ("seeds: 1", "on: 2", r"s\.yaml: field True is not text"),
        ("kind: sgurinit", "kind: ", r"s\.yaml: arm None does not exist"),
        (
            "local_weight: 1.0",
            "sweep: {local_weight: []}",
            r"s\.yaml: arms\.users\.sweep is .*expected at least one value",
        ),
        (STUDY, "- a list", r"s\.yaml: expected fields such as data, models and arms"),
        (STUDY, "{", r"s\.yaml: cannot be read as YAML: "),
        (
            "local_weight: 0.7",
            "local_weight: 0.7, local_weight: 1",
            r"s\.yaml: cannot be read as YAML: 'local_weight' is given twice in one place",
        ),
        (
            "seeds: 1",
            "seeds: 1\nseeds: 2",
            r"s\.yaml: cannot be read as YAML: 'seeds' is given twice",
        ),
        (STUDY, "data: {path: small}\nmodels: {}\narms: {random: }", r"study\.models is \{\}"),
    ],
)
def test_an_error_names_file_and_field(folder: Path, old: str, new: str, message: str) -> None:
    assert old in STUDY
    with pytest.raises(InputError, match=message):
        Study.read(write(folder, STUDY.replace(old, new)))
    assert not (folder / "s").exists()


def test_a_study_is_read_without_its_data_and_names_them_when_it_runs(tmp_path: Path) -> None:
    study = Study.read(write(tmp_path, STUDY))
    assert study.plan.count() == 2 * 6 * 2
    assert study.source == str(tmp_path / "small")
    for load in (study.load_data, study.run):
        with pytest.raises(InputError, match=r"s\.yaml: .*/small: no such folder") as caught:
            load()
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("path: small", "path: nothing", r"s\.yaml: .*/nothing: no such folder"),
        ("cold_items: 0.1", "cold_items: 0.001", r"s\.yaml: .*expected at least two items"),
    ],
)
def test_unusable_data_are_named_when_they_are_loaded(
    folder: Path, old: str, new: str, message: str
) -> None:
    study = Study.read(write(folder, STUDY.replace(old, new)))
    with pytest.raises(InputError, match=message):
        study.load_data()


def test_values_of_a_search_are_what_the_config_holds_each_once(tmp_path: Path) -> None:
    text = (
        "data: {path: planted}\nmodels: {lightgcn: }\narms: {random: , sgurinit: }\n"
        "search:\n  trials: 2\n  spaces:\n"
        "    lightgcn: {reg: [1e-4, 0.0001, 1e-2]}\n    sgurinit: {scale: [table, 4, 4.0]}\n"
    )
    search = Study.read(write(tmp_path, text)).plan.search
    assert search is not None
    assert search.spaces["lightgcn"] == {"reg": (1e-4, 1e-2)}
    assert search.spaces["sgurinit"] == {"scale": ("table", 4.0)}


def test_the_search_space_of_an_arm_applies_to_its_controls(tmp_path: Path) -> None:
    text = """
data: {path: planted}
models: {bprmf: }
arms: {random: , permuted: , local: , global: , random-scaled: , own: {kind: permuted},
  collaborative: , hybrid-shuffled: }
search:
  trials: 2
  spaces:
    sgurinit: {local_weight: [0, 1], scale: [2, 4]}
    hybrid: {content_weight: [0.1, 0.3], penalty: [10, 30], n_clusters: [4, 8]}
    global: {}
"""
    search = Study.read(write(tmp_path, text)).plan.search
    assert search is not None
    assert {name: space for name, space in search.spaces.items() if name != "bprmf"} == {
        "random": {},
        "permuted": {"local_weight": (0.0, 1.0), "scale": (2.0, 4.0)},
        "local": {"scale": (2.0, 4.0)},
        "global": {},
        "random-scaled": {"local_weight": (0.0, 1.0), "scale": (2.0, 4.0)},
        "own": {},
        "collaborative": {"penalty": (10.0, 30.0), "n_clusters": (4, 8)},
        "hybrid-shuffled": {
            "content_weight": (0.1, 0.3),
            "penalty": (10.0, 30.0),
            "n_clusters": (4, 8),
        },
    }
    alone = text.replace("collaborative: , hybrid-shuffled: ", "")
    with pytest.raises(InputError, match=r"search\.spaces\.hybrid is not compared"):
        Study.read(write(tmp_path, alone))


def test_a_sweep_makes_an_arm_of_every_combination(tmp_path: Path) -> None:
    sweep = "{kind: sgurinit, scale: items, sweep: {n_clusters: [2, 4], local_weight: [0, 0.5]}}"
    text = f"data: {{path: planted}}\nmodels: {{bprmf: }}\narms: {{random: , ours: {sweep}}}\n"
    arms = Study.read(write(tmp_path, text)).plan.arms
    assert list(arms) == [
        "random", "ours-n_clusters=2-local_weight=0", "ours-n_clusters=2-local_weight=0.5",
        "ours-n_clusters=4-local_weight=0", "ours-n_clusters=4-local_weight=0.5",
    ]  # fmt: skip
    last = arms["ours-n_clusters=4-local_weight=0.5"]
    assert (last["kind"], last["n_clusters"], last["local_weight"], last["scale"]) == (
        "sgurinit", 4, 0.5, "items",
    )  # fmt: skip
    swept = "n_clusters: [2, 4], local_weight: [0, 0.5]"
    steps = text.replace(swept, "preprocess: [[], [center, unit]]")
    arms = Study.read(write(tmp_path, steps)).plan.arms
    assert list(arms)[1:] == ["ours-preprocess=none", "ours-preprocess=center+unit"]
    assert arms["ours-preprocess=center+unit"]["preprocess"] == ["center", "unit"]
    with pytest.raises(InputError, match=r"s\.yaml: arms\.ours\.sweep is \{'local_weight': 1\}"):
        Study.read(write(tmp_path, text.replace(swept, "local_weight: 1")))


def test_the_documented_study_reads(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/how-to/write-a-study.md").read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    content = yaml.safe_load(text)
    plan = Study.read(write(tmp_path, text.replace(content["data"]["path"], "planted"))).plan
    assert list(plan.models) == list(content["models"])
    sweeps = [(fields or {}).get("sweep", {}) for fields in content["arms"].values()]
    assert len(plan.arms) == sum(math.prod(map(len, sweep.values())) for sweep in sweeps)
    assert (plan.search is None) == ("search" not in content)


def test_a_study_does_not_write_into_its_data(folder: Path) -> None:
    path = folder / "small.yaml"
    path.write_text("data: {path: small}\nmodels: {bprmf: }\narms: {random: }\n")
    before = sorted((folder / "small").iterdir())
    with pytest.raises(InputError, match="small: is the study's file or the folder of its data"):
        Study.read(path).run()
    assert sorted((folder / "small").iterdir()) == before
    bare = folder / "study"
    bare.write_text(path.read_text())
    with pytest.raises(InputError, match="study: is the study's file"):
        Study.read(bare).run()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: expected a YAML file that can be read"):
        Study.read(tmp_path / "none.yaml")


def test_embedded_data_go_by_their_name(tmp_path: Path) -> None:
    text = "data: {path: planted}\nmodels: {bprmf: }\narms: {random: }\n"
    study = Study.read(write(tmp_path, text))
    assert study.source == "planted"
    assert study.plan.seeds == 5
    assert study.plan.search is None
    assert study.plan.count() == 5


TWO_MODELS = """
models: {bprmf: , lightgcn: {n_layers: 1}}
arms: {random: , sgurinit: , permuted: }
seeds: 1
train: {max_epochs: 2, batch_size: 256}
search: {trials: 2, finalists: 2, control_trials: 1, spaces: {bprmf: {reg: [0.1, 0.01]}}}
"""


def drop_seconds(folder: Path) -> dict[str, pl.DataFrame]:
    """Read the tables of a study, without times."""
    names = ("trials", "results", "lifts", "curves")
    tables = {name: pl.read_csv(folder / f"{name}.csv") for name in names}
    return {name: table.select(pl.exclude("^.*seconds$")) for name, table in tables.items()}


@pytest.mark.slow
def test_models_can_be_run_apart_and_put_together(folder: Path) -> None:
    study = Study.read(write(folder, TWO_MODELS), folder / "small")
    whole = study.run(folder / "whole")
    for model, at in (("bprmf", "here"), ("lightgcn", "there")):
        found = study.run(folder / at, only=[model])
        assert list(found.summary["settings"]["models"]) == list(found.summary["chosen"]) == [model]
        assert set(found.results["model"]) == {model}
        assert {path.name for path in (folder / at / "runs").iterdir()} == {model}
        write_report(found.folder)
    for part in ("trials", "runs"):
        copied = folder / "there" / part / "lightgcn"
        shutil.copytree(copied, folder / "here" / part / "lightgcn")
    events: list[RunEvent] = []
    study.run(folder / "here", on_event=events.append)
    assert {event.kind for event in events if event.run} == {"kept"}
    for name, table in drop_seconds(whole.folder).items():
        assert table.equals(drop_seconds(folder / "here")[name]), name


@pytest.mark.slow
def test_finished_models_stay_in_the_tables_and_copied_runs_are_checked(folder: Path) -> None:
    study = Study.read(write(folder, TWO_MODELS), folder / "small")
    study.run(folder / "a", only=["bprmf"])
    found = study.run(folder / "a", only=["Light-GCN"])
    assert list(found.summary["chosen"]) == ["bprmf", "lightgcn"]
    other = TWO_MODELS.replace("max_epochs: 2", "max_epochs: 1")
    Study.read(write(folder, other), folder / "small").run(folder / "b", only=["lightgcn"])
    for part in ("trials", "runs"):
        shutil.rmtree(folder / "a" / part / "lightgcn")
        shutil.copytree(folder / "b" / part / "lightgcn", folder / "a" / part / "lightgcn")
    for only in (["bprmf"], None):
        with pytest.raises(
            InputError, match=r"trials/lightgcn/.*config\.json: run\.train\.max_epochs is 1 there"
        ):
            study.run(folder / "a", only=only)


def test_a_study_only_runs_models_that_it_has(folder: Path) -> None:
    study = Study.read(write(folder, TWO_MODELS), folder / "small")
    message = r"only: 'vbpr' is not a model of the study, which has bprmf, lightgcn"
    with pytest.raises(InputError, match=message):
        study.run(only=["bprmf", "vbpr"])
    with pytest.raises(InputError, match=r"only: no model is given, expected some of bprmf, light"):
        study.estimate(only=[])
    assert not study.folder.exists()


def test_one_file_serves_several_data_sets(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(folder, TWO_MODELS)
    with pytest.raises(InputError, match=r"s\.yaml: study\.data\.path is missing, expected the"):
        Study.read(path)
    study = Study.read(path, "planted")
    assert (study.source, study.folder) == ("planted", folder / "s" / "planted")
    monkeypatch.chdir(folder / "small")
    study = Study.read(path, ".")
    assert (study.source, study.folder) == (".", folder / "s" / "small")
    study = Study.read(write(folder, "data: {path: other, cold_items: 0.1}\n" + TWO_MODELS), ".")
    assert "0.1 cold" in study.load_data().name


def test_the_time_of_a_study_is_estimated(folder: Path) -> None:
    study = Study.read(write(folder, TWO_MODELS), folder / "small")
    costs = study.estimate(only=["bprmf"])
    assert not study.folder.exists()
    (cost,) = costs
    assert cost.counts == (2 + 2 + 2, 0, 2 + 2 + 2, 3)
    assert (cost.n_finished, cost.epochs, cost.epochs_per_trial) == (0, 2, 2)
    assert cost.hours == pytest.approx(15 * 2 * cost.seconds_per_epoch / 3600)
    run = study.folder / "runs/bprmf/random/seed-0"
    trial = study.folder / "trials/bprmf/random/trial-0"
    failed = study.folder / "trials/bprmf/random/trial-1"
    for at, result in (
        (run, {"epochs": 50, "seconds": 80}),
        (trial, {"epochs": 30, "seconds": 80, "stopped_at": 30}),
        (failed, {"epochs": 0, "seconds": 0}),
    ):
        at.mkdir(parents=True)
        write_json(at / "result.json", result)
    (cost,) = study.estimate(only=["bprmf"])
    assert (cost.n_finished, cost.seconds_per_epoch, cost.epochs) == (2, 2.0, 50)


def test_trials_that_may_be_stopped_are_expected_to_be_shorter() -> None:
    halving = Halving(epochs=(30, 90, 270), keep=0.5)
    assert expect_epochs(20, halving) == 20
    assert expect_epochs(60, halving) == 30 + 30 / 2
    assert expect_epochs(400, halving) == 30 + 60 / 2 + 180 / 4 + 130 / 8
    assert expect_epochs(400, None) == 400


BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)

SWEEP = "data: {path: planted}\nmodels: {bprmf: }\narms: {mine: {kind: sgurinit, sweep: {" + (
    ", ".join(f"f{n}: [{', '.join(map(str, range(100)))}]" for n in range(6)) + "}}}\n"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "stand for too many values"),
        ("models: &a [*a]\n", "stand for too many values"),
        ("[" * 100_000, "nested too deeply"),
        ("seeds: " + "9" * 5000, "cannot be read as YAML"),
        ("seeds: 2001-99-99", "cannot be read as YAML"),
        ("x: !!map [1]", "cannot be read as YAML"),
        ("\n".join(f"f{n}: 1" for n in range(20_000)), r"study\."),
        (SWEEP, r"arms\.mine\.sweep makes 1,000,000,000,000 arms, at most 1,000 are allowed"),
        ('x: !!python/object/apply:os.system ["true"]\n', "could not determine a constructor"),
        ("data: " + "x" * 10**6, r"study\."),
    ],
)
def test_a_hostile_file_is_one_short_line(text: str, message: str, folder: Path) -> None:
    with pytest.raises(InputError, match=message) as error:
        Study.read(write(folder, text))
    assert len(str(error.value)) < 1000
    assert "\n" not in str(error.value)
