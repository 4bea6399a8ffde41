"""Files of saved models: damage and sizes are noticed before they are used."""

from __future__ import annotations

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from sgurinit.data import planted
from sgurinit.errors import InputError
from sgurinit.models import LightGCN
from sgurinit.models.checkpoint import load_model, load_weights, save_model


@pytest.fixture(scope="module")
def data():
    return planted(90, 60)


@pytest.fixture
def path(data, tmp_path):
    save_model(LightGCN(data, LightGCN.Config(width=8)), tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def change_metadata(path, **changes):
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(weights, path, {**metadata, **changes})


def test_half_precision_survives(data, tmp_path):
    model = LightGCN(data, LightGCN.Config(width=8)).bfloat16()
    save_model(model, tmp_path / "m.safetensors")
    other = LightGCN(data, LightGCN.Config(width=8)).bfloat16()
    load_weights(other, tmp_path / "m.safetensors")
    for name, rows in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], rows)


def test_a_changed_number_is_noticed(data, path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    model = LightGCN(data, LightGCN.Config(width=8))
    before = {name: rows.clone() for name, rows in model.state_dict().items()}
    for load in (lambda: load_weights(model, path), lambda: load_model(LightGCN, path, data)):
        with pytest.raises(InputError, match=r"m\.safetensors: .*damaged \(wrong checksum\)"):
            load()
    for name, rows in model.state_dict().items():
        torch.testing.assert_close(before[name], rows)


@pytest.mark.parametrize("width", [1000, 65_536])
def test_a_config_of_other_sizes_takes_no_memory(width, data, path):
    config = LightGCN.Config(width=8).model_dump_json().replace('"width":8', f'"width":{width}')
    change_metadata(path, config=config)
    with pytest.raises(InputError, match=r"m\.safetensors: its tables do not fit"):
        load_model(LightGCN, path, data)


@pytest.mark.parametrize("width", [65_537, 10**12, 2**63])
def test_a_config_beyond_its_limits_takes_no_memory(width, data, path):
    config = LightGCN.Config(width=8).model_dump_json().replace('"width":8', f'"width":{width}')
    change_metadata(path, config=config)
    with pytest.raises(InputError) as error:
        load_model(LightGCN, path, data)
    assert str(error.value) == (
        f"{path}: expected a saved LightGCN (width: Input should be less than or equal to 65536)"
    )


@pytest.mark.parametrize("config", ["", "{", "[" * 100_000, '{"width": -1}', '{"x": 1}', "3"])
def test_a_damaged_config_is_one_line(config, data, path):
    change_metadata(path, config=config)
    with pytest.raises(InputError, match=r"m\.safetensors: expected a saved LightGCN") as error:
        load_model(LightGCN, path, data)
    assert "\n" not in str(error.value)
    assert "pydantic" not in str(error.value)


@pytest.mark.parametrize("wrong", [None, 3, b"x", ["a"], "a\0b"])
def test_what_is_no_path_is_refused(wrong, data):
    model = LightGCN(data, LightGCN.Config(width=8))
    for use in (
        lambda: save_model(model, wrong),
        lambda: load_weights(model, wrong),
        lambda: load_model(LightGCN, wrong, data),
    ):
        with pytest.raises(InputError, match=r"^path is .*, expected a path"):
            use()
