"""Settings are resolved, complete and checked before anything runs."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from pydantic import ValidationError

from sgurinit.errors import InputError
from sgurinit.experiments import ComparisonSettings, comparison_settings, shared_fields
from sgurinit.experiments.reproduce import command
from sgurinit.experiments.study import Study
from sgurinit.training import TrainSettings

STUDIES = Path(__file__).resolve().parents[2] / "studies"


def test_every_field_is_written_out_and_names_are_normalised() -> None:
    found = comparison_settings(
        ["LightGCN"], ["Random", "sgurinit"], 2, overrides={"lightgcn": {"n_layers": 2}}
    )
    assert list(found.models) == ["lightgcn"]
    assert found.models["lightgcn"]["n_layers"] == 2
    assert found.models["lightgcn"]["width"] == 64
    assert found.arms["sgurinit"]["local_weight"] == 0.9
    assert found.train == TrainSettings()


@pytest.mark.parametrize(
    "path", sorted(STUDIES.glob("*/settings.json")), ids=lambda p: p.parent.name
)
def test_a_committed_study_can_be_gone_on_with(path: Path) -> None:
    kept = json.loads(path.read_text())
    del kept["data"]
    found = ComparisonSettings.model_validate(kept)
    arms = {name: dict(fields) for name, fields in found.arms.items()}
    now = comparison_settings(
        list(found.models), arms, found.seeds, train=found.train, overrides=found.models,
        mask_valid=found.mask_valid, search=found.search and found.search.model_dump(),
    )  # fmt: skip
    assert now.model_dump(mode="json") == kept


def test_settings_survive_json_and_are_frozen() -> None:
    found = comparison_settings(["lightgcn", "mgcn"], ["random", "local"], 3, mask_valid=True)
    assert ComparisonSettings.model_validate(json.loads(found.model_dump_json())) == found
    with pytest.raises(ValidationError):
        found.seeds = 4  # type: ignore[misc]


def test_runs_are_all_combinations_with_the_arms_of_a_seed_together() -> None:
    found = comparison_settings(["lightgcn", "vbpr"], ["random", "global"], 2)
    assert [run.label for run in found.runs()] == [
        f"{model}/{arm}/seed-{seed}"
        for model in ("lightgcn", "vbpr")
        for seed in (0, 1)
        for arm in ("random", "global")
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["no-such"], ["random"], 1), "model 'no-such' does not exist; known: "),
        ((["lightgcn"], ["no-such"], 1), "arm 'no-such' does not exist; known: "),
        (([], ["random"], 1), "models: none given"),
        ((["lightgcn"], ["random", "Random"], 1), "arms: random is given twice"),
        ((["lightgcn"], ["random"], 0), r"comparison\.seeds is 0"),
    ],
)
def test_bad_names_and_numbers_say_so(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        comparison_settings(*arguments)


def test_an_override_must_hit_something_that_is_compared() -> None:
    with pytest.raises(InputError, match=r"'vbpr' is set but not compared"):
        comparison_settings(["lightgcn"], ["random"], 1, overrides={"vbpr": {"reg": 0.1}})
    with pytest.raises(InputError, match=r"lightgcn\.n_layers is 0: .*greater than or equal to 1"):
        comparison_settings(["lightgcn"], ["random"], 1, overrides={"lightgcn": {"n_layers": 0}})
    with pytest.raises(InputError, match=r"lightgcn\.layers does not exist; lightgcn has .*n_lay"):
        comparison_settings(["lightgcn"], ["random"], 1, overrides={"lightgcn": {"layers": 1}})


def test_what_is_set_for_the_method_holds_for_its_controls_and_halves() -> None:
    arms = ["random", "sgurinit", "permuted", "local"]
    overrides = {"SGURInit": {"items": "random", "local_weight": 0.5}, "permuted": {"scale": "items"}}
    found = comparison_settings(["LightGCN"], arms, 1, overrides=overrides).arms
    assert found["random"] == {"kind": "random"}
    assert found["sgurinit"]["items"] == found["permuted"]["items"] == "random"
    assert found["local"]["items"] == "random"
    assert (found["sgurinit"]["local_weight"], found["permuted"]["local_weight"], found["local"]["local_weight"]) == (
        0.5,
        0.5,
        1.0,
    )
    assert (found["sgurinit"]["scale"], found["permuted"]["scale"]) == (4.0, "items")
    alone = comparison_settings(["lightgcn"], ["permuted"], 1, overrides={"sgurinit": {"local_weight": 0}})
    assert alone.arms["permuted"]["local_weight"] == 0
    with pytest.raises(InputError, match="'sgurinit' is set but not compared"):
        comparison_settings(["lightgcn"], ["random"], 1, overrides={"sgurinit": {"local_weight": 0}})


def test_shared_fields_go_to_the_arms_that_leave_them_free() -> None:
    arms = ["random", "sgurinit", "permuted", "local", "global"]
    found = shared_fields(arms, {"local_weight": 0.5, "n_clusters": 4})
    assert found == {
        "sgurinit": {"local_weight": 0.5, "n_clusters": 4},
        "permuted": {"local_weight": 0.5, "n_clusters": 4},
        "local": {"n_clusters": 4},
        "global": {"n_clusters": 4},
    }
    assert shared_fields(arms, {}) == {}
    with pytest.raises(InputError, match="local_weight is set, but none of the arms random, local takes it"):
        shared_fields(["random", "local"], {"local_weight": 0.5})


def test_the_command_repeats_what_differs_from_the_defaults() -> None:
    found = comparison_settings(
        ["lightgcn"],
        ["random", "sgurinit"],
        2,
        train=TrainSettings(max_epochs=7, batch_size=64),
        overrides={
            "lightgcn": {"n_layers": 3},
            "sgurinit": {"preprocess": ["center"], "collaborative": 0.0},
        },
        mask_valid=True,
    )
    words = shlex.split(command(found, "my data", "out"))
    assert words[:3] == ["sgurinit", "compare", "my data"]
    assert words[3:] == [
        *("--models", "lightgcn", "--arms", "random,sgurinit", "--seeds", "2", "--out", "out"),
        *("--max-epochs", "7", "--set", "train.batch_size=64"),
        *("--set", "lightgcn.n_layers=3", "--set", "sgurinit.collaborative=0.0"),
        *("--set", 'sgurinit.preprocess=["center"]'),
        "--mask-valid",
    ]


def test_a_plan_that_no_command_can_say_becomes_a_file_that_can(tmp_path: Path) -> None:
    found = comparison_settings(
        ["lightgcn"],
        {"random": {}, "mine": {"kind": "sgurinit", "local_weight": 0.7}},
        2,
        train=TrainSettings(max_epochs=7),
        search={"trials": 2, "spaces": {"lightgcn": {"reg": [0.1, 0.01]}}},
    )
    text = command(found, "planted", "my out")
    yaml, _, line = text.partition("# save the lines above as study.yaml, then:\n")
    assert line == "sgurinit study study.yaml --out 'my out'"
    (tmp_path / "study.yaml").write_text(yaml)
    assert Study.read(tmp_path / "study.yaml").plan == found
