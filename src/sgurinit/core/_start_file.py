"""File formats of starts: a safetensors file with everything, a Parquet table of the users."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sgurinit.core.diagnostics import Diagnostics
from sgurinit.core.inputs.arrays import Float32Array, IdArray
from sgurinit.core.steps.clusters import Clusters
from sgurinit.errors import InputError

_FORMAT = "sgurinit.start/1"
STREAM_FORMAT = "sgurinit.users/1"
"""Format of the folders of `SGURInit.stream`."""

# A safetensors header holds at most 100 MB, and the ids are stored there.
_HEADER_BYTES = 95_000_000

_Tensors = dict[str, NDArray[Any]]


def write_start_file(path: Path, fields: Mapping[str, Any]) -> None:
    """Write the fields of a `UserStart` to a safetensors file.

    Raises
    ------
    InputError
        The ids are too large for the format, or the file cannot be written.
    """
    tensors: _Tensors = {}
    for name, users in fields["users"].items():
        tensors[f"users/{name}"] = users
        tensors[f"clusters/{name}/centroids"] = fields["clusters"][name].centroids
        tensors[f"clusters/{name}/labels"] = fields["clusters"][name].labels
    if fields["joint_tables"] is not None:
        tensors["users/joint"], tensors["items/joint"] = fields["joint_tables"]
    metadata = {
        "format": _FORMAT,
        "config": json.dumps(fields["config"]),
        "versions": json.dumps(dict(fields["versions"])),
        "fingerprint": fields["fingerprint"],
        "diagnostics": json.dumps(fields["diagnostics"].to_dict()),
        "modalities": json.dumps(list(fields["users"])),
        "user_ids": json.dumps(_ids_to_json(fields["user_ids"])),
        "item_ids": json.dumps(_ids_to_json(fields["item_ids"])),
    }
    size = sum(len(value.encode()) for value in metadata.values())
    if size > _HEADER_BYTES:
        raise InputError(
            f"the external ids take {size} bytes, more than a safetensors header may hold: save as "
            ".parquet, or fit on positions"
        )
    contiguous = {key: np.ascontiguousarray(tensor) for key, tensor in tensors.items()}
    _replace(path, lambda temporary: save_file(contiguous, temporary, metadata=metadata))


def write_users_table(
    path: Path, tables: Mapping[str, Float32Array], user_ids: IdArray | None
) -> None:
    """Write the users to a Parquet table: a column ``user`` of ids, and one column per table.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    import polars as pl  # noqa: PLC0415 - only Parquet needs it

    n_users = len(next(iter(tables.values())))
    ids = np.arange(n_users) if user_ids is None else user_ids
    series = [pl.Series("user", ids.tolist(), dtype=pl.String if ids.dtype.kind == "U" else None)]
    for name, rows in tables.items():
        series.append(pl.Series(name, rows, dtype=pl.Array(pl.Float32, rows.shape[1])))
    _replace(path, pl.DataFrame(series).write_parquet)


def read_start_file(path: Path) -> dict[str, Any]:
    """Read the fields of a `UserStart` from a safetensors file.

    Raises
    ------
    InputError
        The file is missing, damaged or not a saved start.
    """
    if path.suffix == ".parquet":
        raise InputError(
            f"{path}: a Parquet table holds the users only; load the .safetensors file instead"
        )
    if path.is_dir():
        if (path / "start.json").is_file():
            raise InputError(_explain_stream(path))
        raise InputError(f"{path}: is a folder, expected a .safetensors file that `save` wrote")
    metadata, tensors = _read_tensors(path)
    if metadata.get("format") == STREAM_FORMAT:
        raise InputError(_explain_stream(path.parent))
    if metadata.get("format") != _FORMAT:
        raise InputError(
            f"{path}: not a saved start (format {metadata.get('format')!r}, expected {_FORMAT!r})"
        )
    try:
        fields = _parse_fields(metadata, tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: the saved start is incomplete or damaged ({type(error).__name__}: {error}); "
            "save it again"
        ) from error
    _check_shapes(path, fields)
    return fields


def _explain_stream(folder: Path) -> str:
    return (
        f"{folder}: is a folder of `stream`, which cannot be loaded as a start: read its tables in "
        f"{folder / 'users'} with NumPy or polars, or compute a start with SGURInit.fit (sgurinit "
        "init) and save it"
    )


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a temporary file beside `path`, then put it in the place of `path`."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        write(temporary)
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be written ({error})") from error
    finally:
        with contextlib.suppress(OSError):  # the first error is the one to report
            temporary.unlink(missing_ok=True)


def _read_tensors(path: Path) -> tuple[dict[str, str], _Tensors]:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            return metadata, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read as a safetensors file ({error})") from error


def _parse_fields(metadata: Mapping[str, str], tensors: _Tensors) -> dict[str, Any]:
    modalities = json.loads(metadata["modalities"])
    config = json.loads(metadata["config"])
    joint = None
    if config["joint_dim"] is not None:
        joint = tensors["users/joint"], tensors["items/joint"]
    return {
        "users": {name: tensors[f"users/{name}"] for name in modalities},
        "clusters": {
            name: Clusters(
                tensors[f"clusters/{name}/centroids"], tensors[f"clusters/{name}/labels"]
            )
            for name in modalities
        },
        "config": config,
        "user_ids": _ids_from_json(json.loads(metadata["user_ids"])),
        "item_ids": _ids_from_json(json.loads(metadata["item_ids"])),
        "versions": json.loads(metadata["versions"]),
        "fingerprint": metadata["fingerprint"],
        "diagnostics": Diagnostics.from_dict(json.loads(metadata["diagnostics"])),
        "joint_tables": joint,
    }


def _check_shapes(path: Path, fields: Mapping[str, Any]) -> None:
    facts = fields["diagnostics"]
    n_users, n_items = facts.n_users, facts.n_items
    for name, users in fields["users"].items():
        clusters = fields["clusters"][name]
        expected = (fields["config"]["n_clusters"], users.shape[-1])
        if (
            users.ndim != 2
            or len(users) != n_users
            or clusters.labels.shape != (n_items,)
            or clusters.centroids.shape != expected
        ):
            raise InputError(f"{path}: the tensors of {name!r} do not fit together; save it again")


def _ids_to_json(ids: IdArray | None) -> dict[str, Any] | None:
    if ids is None:
        return None
    if ids.dtype.kind != "U" and np.array_equal(ids, np.arange(len(ids))):
        return {"kind": "positions", "values": len(ids)}
    return {"kind": "strings" if ids.dtype.kind == "U" else "integers", "values": ids.tolist()}


def _ids_from_json(stored: Mapping[str, Any] | None) -> IdArray | None:
    if stored is None:
        return None
    if stored["kind"] == "positions":
        return np.arange(stored["values"], dtype=np.int64)
    return np.array(stored["values"], dtype=np.str_ if stored["kind"] == "strings" else np.int64)
