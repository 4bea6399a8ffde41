"""Images are encoded with a real model of timm. ``make frameworks`` runs this with timm."""

from __future__ import annotations

import importlib.util
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from sgurinit.cli import app
from sgurinit.data import load_dataset, write_native
from sgurinit.errors import InputError

# With torch without CUDA, the default build of torchvision cannot load its operators, and asks for
# these two when it is imported. timm's models do not use them.
_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


@pytest.fixture(scope="module")
def timm():
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    declared = torch.library.Library("torchvision", "FRAGMENT")
    if torch.version.cuda is None and "+cpu" not in version("torchvision"):
        for operator in _OPERATORS:
            declared.define(operator)
    import timm  # noqa: PLC0415

    yield timm
    del declared


@pytest.fixture
def model(timm, tmp_path) -> Path:
    """A folder as timm writes it, with a small untrained model."""
    network = timm.create_model("test_vit", num_classes=0)
    config = {"input_size": [3, 160, 160], "mean": [0.5] * 3, "std": [0.5] * 3, "num_classes": 0}
    config_json = {"architecture": "test_vit", "num_classes": 0, "pretrained_cfg": config}
    place = tmp_path / "model"
    place.mkdir()
    save_file(network.state_dict(), place / "model.safetensors")
    (place / "config.json").write_text(json.dumps(config_json))
    return place


@pytest.fixture
def folder(make_dataset, tmp_path) -> Path:
    return write_native(make_dataset(features={}), tmp_path / "small")


def encode(folder: Path, *words: object):
    return CliRunner().invoke(app, ["encode", str(folder), *map(str, words), "--device", "cpu"])


def test_vectors_are_those_of_the_model(timm, model, folder, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    colors = {0: (255, 255, 255), 1: (0, 0, 0), 3: (200, 30, 90)}
    for item, color in colors.items():
        Image.new("RGB", (160, 160), color).save(photos / f"{item}.png")
    (photos / "2.jpg").write_bytes((photos / "0.png").read_bytes()[:60])
    done = encode(folder, "--images", photos, "--model", model, "--batch-size", 2)
    assert done.exit_code == 0, done.output
    found = load_dataset(folder).features["image"]
    assert found.mask().tolist() == [True, True, False, True, False]
    listed = dict(pl.read_csv(folder / "features/image.missing.csv").iter_rows())
    assert set(listed) == {2, 4}
    assert listed[4] == "no value"
    assert "cannot" in listed[2] or "not an image" in listed[2]
    network = timm.create_model(f"local-dir:{model}", pretrained=True, num_classes=0).eval()
    pixels = torch.tensor([[c / 127.5 - 1 for c in color] for color in colors.values()])
    with torch.inference_mode():
        expected = network(pixels[:, :, None, None].expand(-1, -1, 160, 160)).numpy()
    np.testing.assert_allclose(found.values[[0, 1, 3]], expected, atol=1e-4)


def test_a_missing_model_gives_a_one_line_error(timm, folder, tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "photos" / "0.png")
    done = encode(folder, "--images", tmp_path / "photos", "--model", tmp_path / "nowhere")
    assert done.exit_code == 2
    assert "not a folder with a model of timm" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list((folder / "features").iterdir()) == []


def test_a_torchvision_of_another_build_is_explained():
    from sgurinit.data.encode._device import explain_torchvision_errors  # noqa: PLC0415

    for error in (RuntimeError("operator torchvision::nms\n does not exist"),
                  ModuleNotFoundError("Could not import module 'PreTrainedModel'")):  # fmt: skip
        expected = pytest.raises(InputError, match="install it from the same index as torch")
        with expected, explain_torchvision_errors():
            raise error
    with pytest.raises(ModuleNotFoundError), explain_torchvision_errors():
        raise ModuleNotFoundError("No module named 'timm'", name="timm")
