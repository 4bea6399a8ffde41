"""Starts on disk: one safetensors file, or a Parquet table of the users."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sgurinit.core.diagnostics import Diagnostics
from sgurinit.core.inputs.arrays import IdArray
from sgurinit.core.steps.clusters import Clusters
from sgurinit.errors import InputError

if TYPE_CHECKING:
    from sgurinit.core.start import UserStart

FORMAT = "sgurinit.start/1"

# The format's header may take 100 MB; the ids live there, so that the tensors are the start only.
_HEADER_BYTES = 95_000_000

Tensors = dict[str, NDArray[Any]]


def save_start(start: UserStart, path: Path) -> None:
    """Write a start; the suffix of `path` chooses the format (see `UserStart.save`)."""
    check_target(path)
    writer = _writers()[path.suffix]
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        writer(start, temporary)
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be written ({error})") from error
    finally:
        with contextlib.suppress(OSError):  # the error that led here says more
            temporary.unlink(missing_ok=True)


def check_target(path: Path) -> None:
    """Refuse a `path` that no start can be saved to, before the work of making one."""
    if path.suffix not in _writers():
        raise InputError(f"{path}: unknown suffix {path.suffix!r}, use .safetensors or .parquet")
    try:
        found = path.parent.is_dir() and not path.is_dir()
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error})") from error
    if not found:
        raise InputError(f"{path}: expected a file to write in a folder that exists")


def _writers() -> dict[str, Callable[[UserStart, Path], None]]:
    return {".safetensors": _write_safetensors, ".parquet": _write_parquet}


def read_start(path: Path) -> dict[str, Any]:
    """Read the fields of a `UserStart` from a safetensors file (see `UserStart.load`)."""
    if path.suffix == ".parquet":
        raise InputError(
            f"{path}: a Parquet table holds the users only; load the .safetensors file instead"
        )
    metadata, tensors = _read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise InputError(
            f"{path}: is no saved start (format {metadata.get('format')!r}, expected {FORMAT!r})"
        )
    try:
        fields = _fields(metadata, tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: the saved start is incomplete or damaged ({type(error).__name__}: {error}); "
            "save it again"
        ) from error
    _check_shapes(path, fields)
    return fields


def _write_safetensors(start: UserStart, path: Path) -> None:
    tensors: Tensors = {}
    for name, users in start.users.items():
        tensors[f"users/{name}"] = users
        tensors[f"clusters/{name}/centroids"] = start.clusters[name].centroids
        tensors[f"clusters/{name}/labels"] = start.clusters[name].labels
    tensors.update(_joint_tensors(start))
    metadata = {
        "format": FORMAT,
        "config": json.dumps(start.config),
        "versions": json.dumps(dict(start.versions)),
        "fingerprint": start.fingerprint,
        "diagnostics": json.dumps(start.diagnostics.to_dict()),
        "modalities": json.dumps(list(start.users)),
        "user_ids": json.dumps(_ids_to_json(start.user_ids)),
        "item_ids": json.dumps(_ids_to_json(start.item_ids)),
    }
    size = sum(len(value.encode()) for value in metadata.values())
    if size > _HEADER_BYTES:
        raise InputError(
            f"the external ids take {size} bytes, more than a safetensors header may hold: save as "
            ".parquet, or fit on positions"
        )
    contiguous = {key: np.ascontiguousarray(tensor) for key, tensor in tensors.items()}
    save_file(contiguous, path, metadata=metadata)


def _joint_tensors(start: UserStart) -> Tensors:
    width = start.config["joint_dim"]
    if width is None:
        return {}
    joint = start.joint(width)
    return {"users/joint": joint.users, "items/joint": joint.items}


def _write_parquet(start: UserStart, path: Path) -> None:
    import polars as pl  # noqa: PLC0415  (only tables need it)

    ids = np.arange(start.n_users) if start.user_ids is None else start.user_ids
    columns = dict(start.users)
    joint = _joint_tensors(start)
    if joint:
        columns["joint"] = joint["users/joint"]
    series = [pl.Series("user", ids.tolist(), dtype=pl.String if ids.dtype.kind == "U" else None)]
    for name, rows in columns.items():
        series.append(pl.Series(name, rows, dtype=pl.Array(pl.Float32, rows.shape[1])))
    pl.DataFrame(series).write_parquet(path)


def _read_tensors(path: Path) -> tuple[dict[str, str], Tensors]:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            return metadata, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: is no readable safetensors file ({error})") from error


def _fields(metadata: Mapping[str, str], tensors: Tensors) -> dict[str, Any]:
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
        "stored_diagnostics": Diagnostics.from_dict(json.loads(metadata["diagnostics"])),
        "user_ids": _ids_from_json(json.loads(metadata["user_ids"])),
        "item_ids": _ids_from_json(json.loads(metadata["item_ids"])),
        "versions": json.loads(metadata["versions"]),
        "stored_joint": joint,
        "stored_fingerprint": metadata["fingerprint"],
    }


def _check_shapes(path: Path, fields: Mapping[str, Any]) -> None:
    facts = fields["stored_diagnostics"]
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
