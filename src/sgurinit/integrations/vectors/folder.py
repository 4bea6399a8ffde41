"""Reading and writing the folder of a vector store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from safetensors import SafetensorError
from safetensors.numpy import load_file

from sgurinit.core.inputs.arrays import Float32Array
from sgurinit.core.inputs.sparse_format import check_format
from sgurinit.core.params import LOCAL_NORMS
from sgurinit.core.steps.aggregate import ItemSide
from sgurinit.errors import InputError
from sgurinit.files import READ_ERRORS, new_folder, write_json, write_table, write_tensors
from sgurinit.integrations.vectors.index import STORE_METRICS, index_library, scale_rows
from sgurinit.integrations.vectors.new_users import NewUserSpace

_FORMAT = "sgurinit.vectors/2"
_FILES = ("users.parquet", "items.parquet", "method.safetensors")


@dataclass(frozen=True)
class StoreParts:
    """Everything that a vector store holds.

    Attributes
    ----------
    users : ndarray of float32, shape (n_users, d)
        Vectors of the users.
    user_ids, item_ids : list
        External ids of users and items.
    known : csr_array of shape (n_users, n_items)
        Items that each user has used.
    space : NewUserSpace
        The items, and how new users are computed from them.
    library : str
        Name of the index library.
    metric : {"dot", "cosine"}
        What the items are ranked by.
    index : object
        Index over the items' vectors, which have norm 1 for ``"cosine"``.
    """

    users: Float32Array
    user_ids: list[Any]
    item_ids: list[Any]
    known: sp.csr_array
    space: NewUserSpace
    library: str
    metric: str
    index: Any


def write_store(folder: Path, parts: StoreParts) -> None:
    """Write a store to a new folder, atomically."""
    side = parts.space.side
    with new_folder(folder) as partial:
        write_table(partial / "users.parquet", _vector_table(parts.user_ids, parts.users))
        write_table(partial / "items.parquet", _vector_table(parts.item_ids, side.rows))
        index_library(parts.library).write(parts.index, str(partial / f"items.{parts.library}"))
        write_tensors(
            partial / "method.safetensors",
            {
                "labels": side.labels,
                "centroids": side.centroids,
                "weights": side.weights,
                "fallback": side.fallback,
                "seen.indptr": parts.known.indptr,
                "seen.indices": parts.known.indices,
            },
        )
        write_json(
            partial / "vectors.json",
            {
                "format": _FORMAT,
                "index": parts.library,
                "metric": parts.metric,
                "local_weight": parts.space.local_weight,
                "local_norm": parts.space.local_norm,
                "checksums": {file.name: _hash_file(file) for file in sorted(partial.iterdir())},
            },
        )


def read_store(folder: Path) -> StoreParts:
    """Read a store from its folder.

    Raises
    ------
    InputError
        The folder was not written by this library or is incomplete; the message names it.
    """
    try:
        settings = json.loads((folder / "vectors.json").read_text(encoding="utf-8"))
        if settings["format"] != _FORMAT:
            raise ValueError(f"its format is {settings['format']!r}, expected {_FORMAT!r}")
        library, metric = settings["index"], settings["metric"]
        for name in (*_FILES, f"items.{library}"):
            if settings["checksums"][name] != _hash_file(folder / name):
                raise ValueError(f"{name} is damaged: wrong checksum")
        users = pl.read_parquet(folder / "users.parquet", glob=False)
        items = pl.read_parquet(folder / "items.parquet", glob=False)
        arrays = load_file(folder / "method.safetensors")
        side = ItemSide(
            rows=items["vector"].to_numpy(),
            labels=arrays["labels"],
            centroids=arrays["centroids"],
            weights=arrays["weights"],
            fallback=arrays["fallback"],
        )
        space = NewUserSpace(side, settings["local_weight"], settings["local_norm"])
        pointers, indices = arrays["seen.indptr"], arrays["seen.indices"]
        ones = np.ones(len(indices), np.int8)
        known = sp.csr_array((ones, indices, pointers), shape=(len(users), len(items)))
        check_format(known)  # places outside would be read from foreign memory
        found = StoreParts(
            users=users["vector"].to_numpy(),
            user_ids=users["id"].to_list(),
            item_ids=items["id"].to_list(),
            known=known,
            space=space,
            library=library,
            metric=metric,
            index=None,
        )
        _check_parts(found)
        rows = scale_rows(side.rows, metric)
        index = index_library(library).read(str(folder / f"items.{library}"), rows)
    except (
        *READ_ERRORS,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RuntimeError,  # also a RecursionError, and what the index libraries raise
        SafetensorError,
    ) as error:
        raise InputError(
            f"{folder}: cannot be read as a vector store ({error}); give a folder that "
            "VectorStore.save wrote"
        ) from error
    return replace(found, index=index)


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_parts(parts: StoreParts) -> None:
    """Check that the parts fit together."""
    space, side = parts.space, parts.space.side
    if parts.metric not in STORE_METRICS or space.local_norm not in LOCAL_NORMS:
        raise ValueError(f"metric {parts.metric!r} or local_norm {space.local_norm!r} is unknown")
    if not 0 <= space.local_weight <= 1:
        raise ValueError(f"local_weight is {space.local_weight!r}")
    n_clusters, width = side.centroids.shape
    n_items = len(side.rows)
    for name, rows, shape in (
        ("users", parts.users, (len(parts.user_ids), width)),
        ("items", side.rows, (n_items, width)),
        ("weights", side.weights, (n_items,)),
        ("fallback", side.fallback, (width,)),
        ("centroids", side.centroids, (n_clusters, width)),
    ):
        if rows.shape != shape or rows.dtype.kind != "f" or not np.isfinite(rows).all():
            raise ValueError(f"{name} is {rows.dtype} of shape {rows.shape}, or not finite")
    labels = side.labels
    if labels.shape != (n_items,) or labels.dtype.kind != "i":
        raise ValueError(f"labels is {labels.dtype} of shape {labels.shape}")
    if labels.size and not 0 <= labels.min() <= labels.max() < n_clusters:
        raise ValueError("a label is not the number of a cluster")


def _vector_table(ids: Sequence[Any], rows: Any) -> pl.DataFrame:
    vectors = np.asarray(rows, dtype=np.float32)
    kind = pl.Array(pl.Float32, vectors.shape[1])
    return pl.DataFrame([pl.Series("id", ids), pl.Series("vector", vectors, dtype=kind)])
