"""File formats of starts: a safetensors file with everything, a Parquet table of the users."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from sgurinit.core.diagnostics import Diagnostics
from sgurinit.core.inputs.arrays import Float32Array, IdArray
from sgurinit.core.inputs.fingerprint import hash_arrays
from sgurinit.core.inputs.ids import as_ids
from sgurinit.core.params import Parameters
from sgurinit.core.steps.clusters import Clusters
from sgurinit.errors import InputError
from sgurinit.files import write_table, write_tensors

_FORMAT = "sgurinit.start/2"
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
    metadata["checksum"] = hash_arrays(tensors, metadata)
    write_tensors(path, tensors, metadata)


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
    write_table(path, pl.DataFrame(series))


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
    try:
        path.stat()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # a loop of links, a name too long or with NUL
        raise InputError(f"{path}: cannot be read ({error})") from None
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
    if metadata.pop("checksum", None) != hash_arrays(tensors, metadata):
        raise InputError(f"{path}: the saved start is damaged (wrong checksum); save it again")
    try:
        fields = _parse_fields(metadata, tensors)
        _check_fields(fields)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path}: the saved start is incomplete or damaged ({type(error).__name__}: {error}); "
            "save it again"
        ) from error
    return fields


def _explain_stream(folder: Path) -> str:
    return (
        f"{folder}: is a folder of `stream`, which cannot be loaded as a start: read its tables in "
        f"{folder / 'users'} with NumPy or polars, or compute a start with SGURInit.fit (sgurinit "
        "init) and save it"
    )


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
    first, labels = tensors[f"users/{modalities[0]}"], tensors[f"clusters/{modalities[0]}/labels"]
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
        "user_ids": _ids_from_json(json.loads(metadata["user_ids"]), len(first)),
        "item_ids": _ids_from_json(json.loads(metadata["item_ids"]), len(labels)),
        "versions": json.loads(metadata["versions"]),
        "fingerprint": metadata["fingerprint"],
        "diagnostics": Diagnostics.from_dict(json.loads(metadata["diagnostics"])),
        "joint_tables": joint,
    }


def _check_fields(fields: Mapping[str, Any]) -> None:
    """Check that the fields fit together, so that no user of the start meets anything else."""
    facts, parameters = fields["diagnostics"], Parameters.from_config(fields["config"])
    n_users, n_items = _check_count(facts.n_users), _check_count(facts.n_items)
    if not isinstance(fields["versions"], dict):
        raise TypeError("the versions are not a mapping")
    if not fields["users"]:
        raise ValueError("it has no modality")
    if set(facts.modalities) != set(fields["users"]):
        raise ValueError("the diagnostics are of other modalities")
    for name, users in fields["users"].items():
        _check_table(f"users/{name}", users, (n_users, users.shape[-1]))
        centroids, labels = fields["clusters"][name].centroids, fields["clusters"][name].labels
        _check_table(f"clusters/{name}", centroids, (parameters.n_clusters, users.shape[-1]))
        _check_labels(name, labels, n_items, parameters.n_clusters)
    if fields["joint_tables"] is not None:
        for name, rows, count in zip(
            ("users", "items"), fields["joint_tables"], (n_users, n_items), strict=True
        ):
            _check_table(f"{name}/joint", rows, (count, parameters.joint_dim))
    for name, count in (("user_ids", n_users), ("item_ids", n_items)):
        ids = fields[name]
        if ids is not None and (len(ids) != count or len(np.unique(ids)) != count):
            raise ValueError(f"{name} are not {count} different ids")


def _check_count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is not a number of users or items")
    return value


def _check_labels(name: str, labels: NDArray[Any], n_items: int, n_clusters: int) -> None:
    if labels.shape != (n_items,) or labels.dtype != np.int32:
        raise ValueError(f"the labels of {name} are {labels.dtype} of shape {labels.shape}")
    if labels.size and not -1 <= labels.min() <= labels.max() < n_clusters:
        raise ValueError(f"a label of {name} is not the number of a cluster")


def _check_table(name: str, rows: NDArray[Any], shape: tuple[Any, ...]) -> None:
    if rows.shape != shape or rows.dtype != np.float32:
        raise ValueError(f"{name} is {rows.dtype} of shape {rows.shape}, expected float32 {shape}")
    if not np.isfinite(rows).all():
        raise ValueError(f"{name} holds NaN or infinity")


def _ids_to_json(ids: IdArray | None) -> dict[str, Any] | None:
    if ids is None:
        return None
    if ids.dtype.kind != "U" and np.array_equal(ids, np.arange(len(ids))):
        return {"kind": "positions", "values": len(ids)}
    return {"kind": "strings" if ids.dtype.kind == "U" else "integers", "values": ids.tolist()}


def _ids_from_json(stored: Mapping[str, Any] | None, count: int) -> IdArray | None:
    if stored is None:
        return None
    if stored["kind"] == "positions":
        if stored["values"] != count:  # before memory is taken for them
            raise ValueError(f"{stored['values']!r} positions of {count}")
        return np.arange(count, dtype=np.int64)
    return as_ids(stored["values"], "ids")
