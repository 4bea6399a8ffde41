"""What a comparison's folder accepts when it is resumed."""

from __future__ import annotations

import json

import pytest

from sgurinit.errors import InputError
from sgurinit.experiments import comparison_settings
from sgurinit.experiments.folder_lock import claim_settings, refuse_other_folder


def settings(models, arms, seeds=1):
    return comparison_settings(models, arms, seeds).model_dump(mode="json")


@pytest.mark.parametrize(
    ("field", "value"),
    [("models", 3), ("arms", ["x"]), ("seeds", "x"), ("search", []), ("search", {"spaces": 1})],
)
def test_damaged_settings_are_refused(field, value, tmp_path):
    path = tmp_path / "settings.json"
    claim_settings(path, settings(["bprmf"], ["random"]))
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(InputError, match=rf"settings\.json: {field}.* is damaged"):
        claim_settings(path, settings(["bprmf"], ["random"]))


def test_models_arms_and_seeds_can_be_added(tmp_path):
    path = tmp_path / "settings.json"
    claim_settings(path, settings(["bprmf"], ["random"]))
    claim_settings(path, settings(["bprmf", "vbpr"], ["random", "sgurinit"], 2))


def test_an_arm_that_others_depend_on_cannot_be_added(tmp_path):
    """Controls only depend on others. A single arm has not exchanged anything."""
    path = tmp_path / "settings.json"

    def claim(arms, **search):
        plan = comparison_settings(
            ["bprmf"], arms, 1, search={"trials": 1, "control_trials": 1, **search}
        )
        claim_settings(path, plan.model_dump(mode="json"), plan.list_exchanging())

    claim(["random", "sgurinit"], exchange=True)
    claim(["random", "sgurinit", "permuted"], exchange=True)
    before = path.read_bytes()
    with pytest.raises(InputError, match="arms has hybrid now and not there"):
        claim(["random", "sgurinit", "permuted", "hybrid", "collaborative"], exchange=True)
    assert path.read_bytes() == before
    path.unlink()
    claim(["random"], exchange=True)
    with pytest.raises(InputError, match="arms has sgurinit now"):
        claim(["random", "sgurinit"], exchange=True)
    path.unlink()
    claim(["random"])
    claim(["random", "sgurinit"])


@pytest.mark.parametrize(
    ("models", "arms", "says"),
    [
        (
            ["vbpr"],
            ["random", "local"],
            "models has bprmf there and not now; choose another folder, or name all of bprmf",
        ),
        (
            ["bprmf"],
            ["random"],
            "arms has local there and not now; choose another folder, or name all of random, local",
        ),
    ],
)
def test_a_model_or_an_arm_cannot_be_left_out(tmp_path, models, arms, says):
    path = tmp_path / "settings.json"
    claim_settings(path, settings(["bprmf"], ["random", "local"]))
    before = path.read_bytes()
    with pytest.raises(InputError, match=says):
        claim_settings(path, settings(models, arms))
    assert path.read_bytes() == before


def test_the_folder_of_the_data_is_refused_by_any_of_its_names(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "dataset.json").write_text("{}")
    (tmp_path / "link").symlink_to(data)
    for name in (data, tmp_path / "link", data / "new" / "..", tmp_path / "no" / ".." / "data"):
        with pytest.raises(InputError, match=r"out is '.*', the folder of the data"):
            refuse_other_folder(name, data)
        with pytest.raises(InputError, match="contains a data set"):
            refuse_other_folder(name, None)
