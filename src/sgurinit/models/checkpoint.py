"""Saving a model in one safetensors file: weights, class name and config."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.utils.parametrize import type_before_parametrizations

from sgurinit.arguments import check_path
from sgurinit.core.inputs.conversion import to_array
from sgurinit.core.inputs.fingerprint import hash_arrays
from sgurinit.errors import InputError
from sgurinit.files import replace_file, sort_metadata
from sgurinit.models.base import Recommender

if TYPE_CHECKING:
    from sgurinit.data import Dataset


_OTHER_SIZES = (
    "its tables do not fit this data set and config; build the model with the data set and config "
    "that it was trained with"
)


def save_model(model: Recommender, path: str | Path) -> None:
    """Write the weights and config of a model to a file, atomically.

    Parameters
    ----------
    model : Recommender
        The model.
    path : str or Path
        The file, replaced if it exists. Its folder must exist.

    Raises
    ------
    InputError
        `path` is not a path, or the file cannot be written.

    See Also
    --------
    load_model : Rebuilds the model.
    load_weights : Loads the weights into an existing model.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> from sgurinit.models import BPRMF
    >>> dataset = planted(200, 100)
    >>> save_model(BPRMF(dataset), "bprmf.safetensors")
    >>> load_model(BPRMF, "bprmf.safetensors", dataset).config.width
    64
    """
    if not isinstance(model, Recommender):
        raise InputError(
            f"model is of type {type(model).__name__}, expected a sgurinit.models.Recommender"
        )
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    metadata = {
        "model": type_before_parametrizations(model).__name__,
        "config": model.config.model_dump_json(),
    }
    metadata["checksum"] = _compute_checksum(weights, metadata)

    def write(partial: Path) -> None:
        save_file(weights, partial, metadata=metadata)
        sort_metadata(partial)

    replace_file(check_path(path, "path"), write)


def load_weights(model: Recommender, path: str | Path) -> None:
    """Load the weights in a file into a model that was built for the same data set and config.

    Parameters
    ----------
    model : Recommender
        The model; its weights are replaced.
    path : str or Path
        A file written by `save_model`.

    Raises
    ------
    InputError
        `path` is not a path, or the file is missing or broken, or holds another model or other
        sizes.

    See Also
    --------
    load_model : Also builds the model.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> from sgurinit.models import BPRMF
    >>> dataset = planted(200, 100)
    >>> save_model(BPRMF(dataset), "bprmf.safetensors")
    >>> load_weights(BPRMF(dataset), "bprmf.safetensors")
    """
    path = check_path(path, "path")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: expected a saved model, a safetensors file ({error})") from None
    checksum = metadata.pop("checksum", None)  # earlier versions wrote none
    if checksum is not None and checksum != _compute_checksum(weights, metadata):
        raise InputError(
            f"{path}: the saved model is damaged (wrong checksum); save it again, or train again"
        )
    name = type_before_parametrizations(model).__name__
    if metadata.get("model") != name:
        raise InputError(
            f"{path}: holds {metadata.get('model', 'no model of this library')}, expected {name}"
        )
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        if any(".parametrizations." in key for key in weights.keys() - model.state_dict().keys()):
            raise InputError(
                f"{path}: was trained with projected='through'; before loading, hand the same "
                "start over to the new model, with the same `projected`"
            ) from None
        raise InputError(f"{path}: {_OTHER_SIZES}") from None


def _compute_checksum(weights: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    return hash_arrays({name: to_array(rows, name) for name, rows in weights.items()}, metadata)


def load_model(model_class: type[Recommender], path: str | Path, dataset: Dataset) -> Recommender:
    """Rebuild a model from a file.

    Parameters
    ----------
    model_class : type
        Class of the model, such as ``LightGCN``.
    path : str or Path
        A file written by `save_model`.
    dataset : Dataset
        The data set that the model was trained on.

    Returns
    -------
    Recommender
        The model with the saved config and weights.

    Raises
    ------
    InputError
        `path` is not a path, or the file is missing or broken, or holds another model or other
        sizes.

    See Also
    --------
    save_model : Writes the file.
    load_weights : Loads the weights into an existing model.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> from sgurinit.models import BPRMF
    >>> dataset = planted(200, 100)
    >>> save_model(BPRMF(dataset, BPRMF.Config(width=16)), "bprmf.safetensors")
    >>> load_model(BPRMF, "bprmf.safetensors", dataset).config.width
    16
    """
    path = check_path(path, "path")
    try:
        with safe_open(path, framework="pt") as file:
            config = model_class.Config.model_validate_json(
                (file.metadata() or {}).get("config", "")
            )
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "its config"
        raise InputError(
            f"{path}: expected a saved {model_class.__name__} ({field}: {first['msg']})"
        ) from None
    except (OSError, SafetensorError, ValueError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{path}: expected a saved {model_class.__name__} ({why})") from None
    # Before memory is taken for the model: its users' vectors alone are that many numbers.
    if sum(map(prod, shapes)) < dataset.n_users * config.width:
        raise InputError(f"{path}: {_OTHER_SIZES}")
    model = model_class(dataset, config)
    load_weights(model, path)
    return model
