"""A trained model in one safetensors file: its weights, its name and its config."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.nn.utils.parametrize import type_before_parametrizations

from sgurinit.errors import InputError
from sgurinit.models.base import Recommender

if TYPE_CHECKING:
    from sgurinit.data import Dataset


def save_model(model: Recommender, path: Path) -> None:
    """Write the weights and config of `model` to `path`; the file appears whole or not at all."""
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    metadata = {
        "model": type_before_parametrizations(model).__name__,
        "config": model.config.model_dump_json(),
    }
    partial = path.with_name(path.name + ".partial")
    save_file(weights, partial, metadata=metadata)
    os.replace(partial, path)  # noqa: PTH105 - replaces an older file in one step


def load_weights(model: Recommender, path: Path) -> None:
    """Put the weights in `path` into a `model` built for the same data set and config.

    Raises
    ------
    InputError
        The file is missing, broken, of another model or of other sizes.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: expected a model in safetensors form ({error})") from None
    name = type_before_parametrizations(model).__name__
    if metadata.get("model") != name:
        raise InputError(
            f"{path}: holds a {metadata.get('model', 'file of unknown origin')}, expected {name}"
        )
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        if any(".parametrizations." in key for key in weights.keys() - model.state_dict().keys()):
            raise InputError(
                f"{path}: was trained with users that pass through the projection; hand the same "
                "start over to the new model, with the same `projected`, before loading"
            ) from None
        raise InputError(
            f"{path}: its tables do not fit this data set and config; "
            "build the model with those that it was trained with"
        ) from None


def load_model(kind: type[Recommender], path: Path, dataset: Dataset) -> Recommender:
    """Rebuild the model of class `kind` that `save_model` wrote to `path`, for `dataset`."""
    try:
        with safe_open(path, framework="pt") as file:
            config = kind.Config.model_validate_json((file.metadata() or {}).get("config", ""))
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(f"{path}: expected a saved {kind.__name__} ({error})") from None
    model = kind(dataset, config)
    load_weights(model, path)
    return model
