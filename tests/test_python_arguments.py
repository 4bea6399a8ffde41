"""Wrong arguments of `train`, `compare` and the like are refused in one line that names them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from sgurinit.cli._set_option import parse_assignments
from sgurinit.core import SGURInit, UserStart
from sgurinit.data import hold_out_items, load_dataset, planted
from sgurinit.data.prepare import prepare
from sgurinit.errors import InputError, MemoryInputError
from sgurinit.experiments import (
    Study,
    compare,
    comparison_settings,
    load_comparison,
    shared_fields,
    train_and_test,
)
from sgurinit.experiments.run import execute_run
from sgurinit.models import BPRMF, LightGCN
from sgurinit.models.checkpoint import save_model
from sgurinit.recommendations import recommend
from sgurinit.resolve import build, resolve_config
from sgurinit.runtime import explain_memory_errors
from sgurinit.seeds import derive_seed, make_generator
from sgurinit.training import TrainSettings, train

SHORT = TrainSettings(max_epochs=1)
NO_SEEDS = [None, -1, 1.5, 1.0, "0", True, np.True_, torch.tensor(1), float("nan"), [1]]
NO_PATHS = [3, b"x", ["a"], {"a": 1}, "a\0b"]
NO_COUNTS = [0, "2", None, 1.5, True]
NO_FIELDS = [3, "x", [1], {1: 2}]


@pytest.fixture(scope="module")
def data():
    return planted(40, 60, n_topics=4)


@pytest.fixture
def plan_and_compare(data, tmp_path):
    def call(models=("bprmf",), arms=("random",), **given):
        given = {"out": tmp_path / "out", "settings": SHORT, "seeds": 1, **given}
        return compare(data, models, arms, **given)

    return call


def one_line(caught) -> str:
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("seed", NO_SEEDS, ids=repr)
@pytest.mark.parametrize(
    "call",
    [
        lambda data, seed: train(data, "bprmf", settings=SHORT, seed=seed),
        lambda data, seed: train_and_test(data, "bprmf", "random", seed=seed),
        lambda data, seed: comparison_settings(["bprmf"], ["random"], seed),
        lambda data, seed: planted(40, 60, seed=seed),
        lambda data, seed: hold_out_items(data, 0.5, seed=seed),
        lambda data, seed: prepare("no.csv", "no", seed=seed),
        lambda data, seed: derive_seed(seed, "a"),
        lambda data, seed: make_generator(seed),
    ],
    ids=["train", "train_and_test", "seeds", "planted", "hold_out", "prepare", "derive", "make"],
)
def test_seeds_are_integers_of_at_least_zero(data, call, seed):
    with pytest.raises(InputError, match=r"seeds? is ") as caught:
        call(data, seed)
    one_line(caught)


def test_integers_of_numpy_are_seeds(data, tmp_path):
    found = [
        train(data, "bprmf", "random", settings=SHORT, seed=seed, folder=tmp_path / str(seed))
        for seed in (3, np.int64(3))  # the second resumes the run of the first
    ]
    assert found[0].history == found[1].history
    assert derive_seed(np.uint8(3), "a") == derive_seed(3, "a")
    assert type(comparison_settings(["bprmf"], ["random"], np.int32(2)).seeds) is int


@pytest.mark.parametrize("text", ["seeds: yes", "seeds: '2'", "data: {path: planted, seed: on}"])
def test_a_study_refuses_seeds_that_are_no_integers(tmp_path, text):
    rest = "" if "data" in text else "data: {path: planted}\n"
    (tmp_path / "a.yaml").write_text(f"{rest}models: {{bprmf: }}\narms: {{random: }}\n{text}\n")
    with pytest.raises(InputError, match=r"a.yaml: study\.(seeds|data.seed) is") as caught:
        Study.read(tmp_path / "a.yaml")
    one_line(caught)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ("lightgcn: {width: yes}", "lightgcn.width is True"),
        ("lightgcn: {learning_rate: on}", "lightgcn.learning_rate is True"),
    ],
)
def test_truth_values_in_a_file_are_no_numbers(tmp_path, fields, says):
    (tmp_path / "a.yaml").write_text(
        f"data: {{path: planted}}\nmodels: {{{fields}}}\narms: {{random: }}\n"
    )
    with pytest.raises(InputError, match=rf"{says}.*neither true nor false"):
        Study.read(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    "call",
    [
        lambda: resolve_config(BPRMF, {"width": True}),
        lambda: resolve_config(BPRMF, {"width": np.True_}),
        lambda: comparison_settings(["bprmf"], ["sgurinit"], 1, search={"trials": True}),
        lambda: comparison_settings(
            ["bprmf"], ["sgurinit"], 1,
            search={"trials": 1, "halving": {"epochs": [True, 2], "keep": 0.5}},
        ),
        lambda: comparison_settings(["bprmf"], {"a": {"kind": "sgurinit", "n_clusters": True}}, 1),
        lambda: build(TrainSettings, {"patience": True}, prefix="train"),
        lambda: build(TrainSettings, {"floors": {True: 0.1}}, prefix="train"),
        lambda: build(TrainSettings, {"floors": {3: True}}, prefix="train"),
        lambda: parse_assignments(["train.max_epochs=true"], {}),
    ],
)  # fmt: skip
def test_truth_values_are_no_numbers(call):
    with pytest.raises(InputError, match=r"True|False") as caught:
        call()
    assert "neither true nor false" in one_line(caught)


def test_truth_values_are_refused_by_the_settings_themselves():
    with pytest.raises(ValidationError, match="neither true nor false"):
        TrainSettings(max_epochs=True)
    with pytest.raises(ValidationError, match="neither true nor false"):
        LightGCN.Config(width=True)


def test_fields_that_take_truth_values_still_do():
    arms = {"a": {"kind": "hybrid", "collaborative": True, "freeze": True, "fill_items": False}}
    search = {"trials": 1, "extend": True, "spaces": {"bprmf": {"reg": [0.1]}}}
    found = comparison_settings(["bprmf"], arms, 1, mask_valid=True, search=search)
    assert found.mask_valid
    assert found.search.extend
    assert found.arms["a"]["freeze"]


@pytest.mark.parametrize("fields", NO_FIELDS, ids=repr)
@pytest.mark.parametrize(
    "call",
    [
        lambda data, fields: train(data, "bprmf", config=fields),
        lambda data, fields: comparison_settings(["bprmf"], ["random"], 1, overrides=fields),
        lambda data, fields: comparison_settings(
            ["bprmf"], ["random"], 1, overrides={"bprmf": fields}
        ),
        lambda data, fields: comparison_settings(["bprmf"], {"random": fields}, 1),
        lambda data, fields: comparison_settings(["bprmf"], ["random"], 1, search=fields),
        lambda data, fields: comparison_settings(
            ["bprmf"], ["random"], 1, search={"trials": 1, "spaces": fields}
        ),
        lambda data, fields: comparison_settings(
            ["bprmf"], ["random"], 1, search={"trials": 1, "spaces": {"bprmf": fields}}
        ),
        lambda data, fields: shared_fields(["random"], fields),
    ],
)
def test_fields_are_a_mapping_from_names(data, call, fields):
    with pytest.raises(InputError, match=r"expected a mapping|expected the name") as caught:
        call(data, fields)
    one_line(caught)


def test_fields_of_an_arm_or_a_model_are_not_none():
    for given in ({"arms": {"random": None}}, {"overrides": {"bprmf": None}}):
        with pytest.raises(InputError, match=r"(arms.random|overrides.bprmf) is None"):
            comparison_settings(**{"models": ["bprmf"], "arms": ["random"], "seeds": 1, **given})


def test_a_config_is_that_of_the_model(data):
    with pytest.raises(InputError, match=r"LightGCNConfig, expected .* BPRMFConfig of bprmf"):
        train(data, "bprmf", config=LightGCN.Config())


@pytest.mark.parametrize("settings", [3, "x", {"max_epochs": 1}, TrainSettings], ids=repr)
def test_settings_are_train_settings(data, plan_and_compare, settings):
    for call in (
        lambda: train(data, settings=settings),
        lambda: plan_and_compare(settings=settings),
    ):
        with pytest.raises(InputError, match=r"settings is .*expected TrainSettings"):
            call()


@pytest.mark.parametrize("names", [None, 3, "bprmf", b"bprmf"], ids=repr)
def test_models_and_arms_are_lists(plan_and_compare, names):
    with pytest.raises(InputError, match=r"^models is .*expected a list"):
        plan_and_compare(names)
    with pytest.raises(InputError, match=r"^arms is .*expected a list"):
        plan_and_compare(arms=names)
    with pytest.raises(InputError, match=r"^arms is .*expected a list"):
        shared_fields(names, {"n_clusters": 4})


def test_fields_of_models_are_no_models(plan_and_compare):
    with pytest.raises(InputError, match=r"^models is .*expected a list"):
        plan_and_compare({"bprmf": {"width": 8}})
    with pytest.raises(InputError, match="arms: 3 cannot be the name of a folder"):
        plan_and_compare(arms={3: {}})


@pytest.mark.parametrize("count", NO_COUNTS, ids=repr)
def test_jobs_are_integers_of_at_least_one(data, plan_and_compare, tmp_path, count):
    study = write_study(tmp_path)
    for call in (plan_and_compare, study.run, study.estimate):
        with pytest.raises(InputError, match=r"jobs is .*, expected an integer of at least 1"):
            call(jobs=count)


def write_study(folder: Path) -> Study:
    (folder / "a.yaml").write_text("data: {path: planted}\nmodels: {bprmf: }\narms: {random: }\n")
    return Study.read(folder / "a.yaml")


@pytest.mark.parametrize("path", NO_PATHS, ids=repr)
def test_paths_are_text_or_paths(data, plan_and_compare, tmp_path, path):
    study = write_study(tmp_path)
    for name, call in (
        ("folder", lambda: train(data, "bprmf", settings=SHORT, folder=path)),
        ("out", lambda: plan_and_compare(out=path)),
        ("out", lambda: train_and_test(data, "bprmf", out=path)),
        ("out", lambda: study.run(path)),
        ("out", lambda: study.estimate(path)),
        ("folder", lambda: load_comparison(path)),
        ("path", lambda: Study.read(path)),
        ("data", lambda: Study.read(tmp_path / "a.yaml", path)),
        ("path", lambda: load_dataset(path)),
        ("path", lambda: UserStart.load(path)),
        ("path", lambda: save_model(BPRMF(data), path)),
    ):
        with pytest.raises(InputError, match=rf"^{name} is .*expected a path") as caught:
            call()
        one_line(caught)


@pytest.mark.parametrize("dataset", [3, None, b"x", {"a": 1}, np.zeros((2, 2))], ids=repr)
def test_data_are_a_dataset_or_a_path(dataset, tmp_path):
    for call in (
        lambda: train(dataset),
        lambda: compare(dataset, ["bprmf"], out=tmp_path / "out"),
        lambda: train_and_test(dataset, "bprmf"),
    ):
        with pytest.raises(InputError, match=r"dataset is of type .*expected a Dataset"):
            call()


@pytest.mark.parametrize("callback", [3, "x"])
def test_callbacks_are_callable(data, plan_and_compare, callback):
    for name, call in (
        ("on_epoch", lambda: train(data, settings=SHORT, on_epoch=callback)),
        ("on_stage", lambda: train(data, settings=SHORT, on_stage=callback)),
        ("on_event", lambda: plan_and_compare(on_event=callback)),
        ("on_event", lambda: train_and_test(data, "bprmf", on_event=callback)),
    ):
        with pytest.raises(InputError, match=rf"{name} is .*, expected a function"):
            call()


@pytest.mark.parametrize("only", [3, "bprmf", [3], [None]])
def test_only_names_models_of_the_study(tmp_path, only):
    with pytest.raises(InputError, match=r"^only"):
        write_study(tmp_path).resolve_models(only)


def test_recommend_takes_a_truth_value(data):
    start = SGURInit(joint_dim=4, n_clusters=4, random_state=0).fit(data).start_
    with pytest.raises(InputError, match="exclude_known is 'no', expected True or False"):
        recommend(start, exclude_known="no")


@pytest.mark.parametrize("arm", ["sgurinit", "permuted", "random-scaled", "hybrid"])
def test_more_clusters_than_items_are_refused_before_the_first_run(plan_and_compare, arm):
    events = []
    with pytest.raises(
        InputError, match=rf"{arm}.n_clusters is 61, more than the .* items"
    ) as caught:
        plan_and_compare(arms={arm: {"n_clusters": 61}}, on_event=events.append)
    one_line(caught)
    assert not events


LACKS = {
    "numpy": MemoryError("Unable to allocate 384. MiB for an array with shape (10, 2)"),
    "cpu": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 52428800 bytes. Error code 12 (Cannot allocate memory)\n"
    ),
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 26.00 GiB. GPU 0 has"),
    "cublas": RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(h)`"),
    "bare": MemoryError(),
}


@pytest.mark.parametrize("kind", LACKS)
def test_too_little_memory_says_what_to_lower(data, kind, monkeypatch):
    def fail(*_):
        raise LACKS[kind]

    monkeypatch.setattr(BPRMF, "loss" if kind == "cuda" else "__init__", fail)
    with pytest.raises(MemoryInputError, match="width or batch_size is too large") as caught:
        train(data, "bprmf", "random", settings=SHORT)
    wanted = {"numpy": "384 MiB", "cpu": "52428800 bytes", "cuda": "26.00 GiB"}
    assert wanted.get(kind, "memory;") in one_line(caught)


def test_a_real_lack_of_memory_is_explained():
    for allocate in (lambda: np.empty(1 << 60, np.uint8), lambda: torch.empty(1 << 60)):
        with pytest.raises(MemoryInputError, match="were asked for"), explain_memory_errors():
            allocate()


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    with pytest.raises(RuntimeError, match=r"^else$"), explain_memory_errors():
        raise RuntimeError("else")


def test_a_trial_without_memory_does_not_count_as_a_poor_one(data, tmp_path, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(BPRMF, "loss", fail)
    plan = comparison_settings(["bprmf"], ["random"], 1, train=SHORT)
    trial = plan.run("bprmf", "random", 1000).model_copy(update={"trial": 0})
    with pytest.raises(MemoryInputError):
        execute_run(data, trial, tmp_path / "trial", {"fingerprint": data.fingerprint})
    assert not (tmp_path / "trial/result.json").exists()
