"""Settings are resolved, complete and checked before anything runs."""

from __future__ import annotations

import itertools
import json
import shlex
from pathlib import Path

import pytest
from pydantic import ValidationError

from sgurinit.cli._set_option import parse_assignments
from sgurinit.errors import InputError
from sgurinit.experiments import (
    ComparisonSettings,
    comparison_settings,
    shared_fields,
)
from sgurinit.experiments.reproduce import format_command
from sgurinit.experiments.settings import SearchSettings
from sgurinit.experiments.study import Study
from sgurinit.resolve import resolve_initializer
from sgurinit.training import TrainSettings

STUDIES = Path(__file__).resolve().parents[2] / "studies"


def test_every_field_is_written_out_and_names_are_normalized() -> None:
    found = comparison_settings(
        ["LightGCN"], ["Random", "sgurinit"], 2, overrides={"lightgcn": {"n_layers": 2}}
    )
    assert list(found.models) == ["lightgcn"]
    assert found.models["lightgcn"]["n_layers"] == 2
    assert found.models["lightgcn"]["width"] == 64
    assert found.arms["sgurinit"]["local_weight"] == 0.5
    assert found.train == TrainSettings()


def has_todays_fields(path: Path) -> bool:
    """Whether a study was run with settings that this version has, not fewer, not others."""
    kept = json.loads(path.read_text())
    kinds = [(own, type(resolve_initializer(own["kind"]))) for own in kept["arms"].values()]
    return (
        set(kept["train"]) == set(TrainSettings().model_dump())
        and all(set(own) == {"kind", *kind.model_fields} for own, kind in kinds)
        and (kept["search"] is None or set(kept["search"]) == set(SearchSettings.model_fields))
    )


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(STUDIES.rglob("settings.json")) if has_todays_fields(path)],
    ids=lambda path: path.parent.name,
)
def test_a_committed_study_can_be_resumed(path: Path) -> None:
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
def test_bad_names_and_numbers_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(InputError, match=message):
        comparison_settings(*arguments)


def test_an_override_must_apply_to_a_model_or_arm_that_is_compared() -> None:
    with pytest.raises(InputError, match=r"'vbpr' is set but not compared"):
        comparison_settings(["lightgcn"], ["random"], 1, overrides={"vbpr": {"reg": 0.1}})
    with pytest.raises(InputError, match=r"lightgcn\.n_layers is 0: .*greater than or equal to 1"):
        comparison_settings(["lightgcn"], ["random"], 1, overrides={"lightgcn": {"n_layers": 0}})
    with pytest.raises(InputError, match=r"lightgcn\.layers does not exist; lightgcn has .*n_lay"):
        comparison_settings(["lightgcn"], ["random"], 1, overrides={"lightgcn": {"layers": 1}})


OF_METHOD = ["local", "global", "permuted", "random-scaled"]
OF_HYBRID = ["collaborative", "hybrid-shuffled"]
EVERY_ARM = ["random", "sgurinit", "hybrid", *OF_METHOD, *OF_HYBRID]


@pytest.mark.parametrize(
    ("lead", "followers"), [("sgurinit", OF_METHOD), ("hybrid", OF_HYBRID)], ids=["method", "ours"]
)
def test_fields_of_an_arm_apply_to_its_controls_only(lead: str, followers: list[str]) -> None:
    plain = comparison_settings(["lightgcn"], EVERY_ARM, 1).arms
    overrides = {lead.upper(): {"scale": 2.0, "fill_items": False}}
    found = comparison_settings(["LightGCN"], EVERY_ARM, 1, overrides=overrides).arms
    for arm in EVERY_ARM:
        changed = {"scale": 2.0, "fill_items": False} if arm in (lead, *followers) else {}
        assert found[arm] == plain[arm] | changed, arm


def test_a_control_keeps_its_fixed_fields_and_its_own_overrides() -> None:
    overrides = {
        "sgurinit": {"local_weight": 0.7, "scale": 2.0},
        "hybrid": {"content_weight": 0.3, "penalty": 30.0, "local_weight": 0.6},
        "permuted": {"scale": "items"},
        "hybrid-shuffled": {"local_weight": 0.8},
    }
    found = comparison_settings(["lightgcn"], EVERY_ARM, 1, overrides=overrides).arms
    weights = {arm: own["local_weight"] for arm, own in found.items() if "local_weight" in own}
    assert weights == {
        "sgurinit": 0.7, "local": 1.0, "global": 0.0, "permuted": 0.7,
        "random-scaled": 0.7, "hybrid": 0.6, "collaborative": 0.6, "hybrid-shuffled": 0.8,
    }  # fmt: skip
    content = {arm: found[arm]["content_weight"] for arm in ("hybrid", *OF_HYBRID)}
    assert content == {"hybrid": 0.3, "collaborative": 0, "hybrid-shuffled": 0.3}
    penalties = {arm: found[arm]["penalty"] for arm in ("hybrid", *OF_HYBRID)}
    assert penalties == dict.fromkeys(("hybrid", *OF_HYBRID), 30.0)
    scales = {arm: found[arm]["scale"] for arm in ("sgurinit", *OF_METHOD)}
    assert scales == dict.fromkeys(scales, 2.0) | {"permuted": "items"}


@pytest.mark.parametrize(
    ("lead", "follower"), [("sgurinit", "permuted"), ("hybrid", "collaborative")]
)
def test_fields_of_an_arm_apply_to_its_controls_even_if_it_is_not_compared(
    lead: str, follower: str
) -> None:
    overrides = {lead: {"n_clusters": 5}}
    found = comparison_settings(["lightgcn"], [follower], 1, overrides=overrides).arms
    assert found[follower]["n_clusters"] == 5
    with pytest.raises(InputError, match=f"'{lead}' is set but not compared"):
        comparison_settings(["lightgcn"], ["random"], 1, overrides=overrides)


def test_an_arm_with_a_custom_name_inherits_nothing() -> None:
    arms = {"sgurinit": {}, "mine": {"kind": "permuted"}}
    found = comparison_settings(["lightgcn"], arms, 1, overrides={"sgurinit": {"n_clusters": 5}})
    assert (found.arms["sgurinit"]["n_clusters"], found.arms["mine"]["n_clusters"]) == (5, 8)


@pytest.mark.parametrize("name", ["hybrid-shuffled", "hybrid_shuffled", "HybridShuffled"])
def test_names_of_several_words_can_be_joined_in_any_way(name: str) -> None:
    overrides = {name: {"scale": 2}}
    search = {"trials": 1, "spaces": {"hybrid-shuffled": {"n_clusters": [4, 8]}}}
    plan = comparison_settings(["bprmf"], [name], 1, overrides=overrides, search=search)
    assert plan.arms["hybrid-shuffled"]["scale"] == 2
    assert plan.search is not None
    assert plan.search.spaces["hybrid-shuffled"] == {"n_clusters": (4, 8)}


@pytest.mark.parametrize(
    ("arm", "field", "value"),
    [
        ("local", "local_weight", 0.5),
        ("global", "local_weight", 1),
        ("collaborative", "content_weight", 0.3),
        ("hybrid", "collaborative", False),
        ("collaborative", "collaborative", False),
    ],
)
def test_fields_that_define_an_arm_cannot_be_set(arm: str, field: str, value: float) -> None:
    message = rf"{arm}\.{field} is .*: fixed at"
    with pytest.raises(InputError, match=message):
        comparison_settings(["bprmf"], [arm], 1, overrides={arm: {field: value}})
    with pytest.raises(InputError, match=message):
        comparison_settings(["bprmf"], {"mine": {"kind": arm, field: value}}, 1)
    spaces = {arm: {field: [value]}}
    with pytest.raises(InputError, match=message):
        comparison_settings(["bprmf"], [arm], 1, search={"trials": 1, "spaces": spaces})


def test_a_plan_whose_arms_cannot_be_run_is_refused() -> None:
    mine = {"mine": {"kind": "sgurinit", "penalty": 10}}
    with pytest.raises(InputError, match=r"sgurinit\.penalty is 10: .*no effect without collab"):
        comparison_settings(["bprmf"], mine, 1)
    mine["mine"]["collaborative"] = True
    run = comparison_settings(["bprmf"], mine, 1).run("bprmf", "mine", 0)
    assert run.make_initializer().model_dump(mode="json") == {
        name: value for name, value in run.initializer.items() if name != "kind"
    }


@pytest.mark.parametrize(
    ("arms", "overrides", "message"),
    [
        (
            {"random": {"kind": "sgurinit"}},
            {},
            r"arms\.random is of kind sgurinit, but random is a built-in arm",
        ),
        ({"permuted": {"kind": "hybrid"}}, {}, r"arms\.permuted is of kind hybrid"),
        (["sgurinit"], {"sgurinit": {"collaborative": True}}, "sgurinit only uses content"),
        (
            ["sgurinit"],
            {"sgurinit": {}, "SGURInit": {"scale": 2}},
            "sgurinit is set twice, once as",
        ),
    ],
)
def test_built_in_names_cannot_be_given_to_other_arms(arms, overrides, message) -> None:
    with pytest.raises(InputError, match=message):
        comparison_settings(["bprmf"], arms, 1, overrides=overrides)
    mine = {"mine": {"kind": "sgurinit", "collaborative": True}}
    assert comparison_settings(["bprmf"], mine, 1).arms["mine"]["collaborative"] is True


def test_shared_fields_are_given_to_arms_that_do_not_fix_them() -> None:
    arms = ["random", "sgurinit", "permuted", "local", "hybrid-shuffled", "random-scaled"]
    found = shared_fields(arms, {"local_weight": 0.6, "n_clusters": 4})
    whole = {"local_weight": 0.6, "n_clusters": 4}
    assert found == {
        "sgurinit": whole, "permuted": whole, "local": {"n_clusters": 4},
        "hybrid-shuffled": whole, "random-scaled": whole,
    }  # fmt: skip
    assert shared_fields(arms, {}) == {}
    with pytest.raises(InputError, match="local_weight is set, but none of the arms random, local"):
        shared_fields(["random", "local"], {"local_weight": 0.6})


def test_the_command_lists_what_differs_from_the_defaults() -> None:
    found = comparison_settings(
        ["lightgcn"],
        ["random", "sgurinit", "hybrid"],
        2,
        train=TrainSettings(max_epochs=7, batch_size=64),
        overrides={
            "lightgcn": {"n_layers": 3},
            "sgurinit": {"preprocess": ["center"], "local_norm": "sym", "scale": None},
            "hybrid": {"content_weight": 0.1},
        },
        mask_valid=True,
    )
    words = shlex.split(format_command(found, "my data", "out"))
    assert words[:3] == ["sgurinit", "compare", "my data"]
    assert words[3:] == [
        *("--models", "lightgcn", "--arms", "random,sgurinit,hybrid", "--seeds", "2"),
        *("--out", "out", "--max-epochs", "7", "--set", "train.batch_size=64"),
        *("--set", "lightgcn.n_layers=3", "--set", "sgurinit.local_norm=sym"),
        *("--set", 'sgurinit.preprocess=["center"]', "--set", "sgurinit.scale=null"),
        *("--set", "hybrid.content_weight=0.1"),
        "--mask-valid",
    ]


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"sgurinit": {"n_clusters": 4, "scale": 2}},
        {"permuted": {"n_clusters": 4}, "hybrid-shuffled": {"local_weight": 0.5}},
        {"sgurinit": {"n_clusters": 4, "scale": 2}, "permuted": {"n_clusters": 8}},
        {"sgurinit": {"scale": 2}, "random-scaled": {"scale": 4}, "local": {"scale": "items"}},
        {"hybrid": {"collaborative_rank": 16}, "collaborative": {"collaborative_rank": None}},
        {"hybrid": {"content_weight": 0.1}, "hybrid-shuffled": {"content_weight": None}},
    ],
)
def test_the_command_reproduces_the_plan(overrides: dict) -> None:
    found = comparison_settings(["vbpr"], EVERY_ARM, 1, overrides=overrides)
    words = shlex.split(format_command(found, "planted", "out"))
    sets = [after for word, after in itertools.pairwise(words) if word == "--set"]
    train, read = parse_assignments(sets, {})
    arms = words[words.index("--arms") + 1].split(",")
    assert comparison_settings(["vbpr"], arms, 1, train=train, overrides=read) == found


def test_a_plan_without_a_command_becomes_a_study_file(tmp_path: Path) -> None:
    found = comparison_settings(
        ["lightgcn"],
        {"random": {}, "mine": {"kind": "sgurinit", "local_weight": 0.7}},
        2,
        train=TrainSettings(max_epochs=7),
        search={"trials": 2, "spaces": {"lightgcn": {"reg": [0.1, 0.01]}}},
    )
    text = format_command(found, "planted", "my out")
    yaml, _, line = text.partition("# save the lines above as study.yaml, then:\n")
    assert line == "sgurinit study study.yaml --out 'my out'"
    (tmp_path / "study.yaml").write_text(yaml)
    assert Study.read(tmp_path / "study.yaml").plan == found
