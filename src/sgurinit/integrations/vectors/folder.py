"""Reading and writing the folder of a vector store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from safetensors.numpy import load_file

from sgurinit.core.inputs.arrays import Float32Array
from sgurinit.core.steps.aggregate import ItemSide
from sgurinit.errors import InputError
from sgurinit.files import new_folder, write_json, write_table, write_tensors
from sgurinit.integrations.vectors.index import index_library
from sgurinit.integrations.vectors.new_users import NewUserSpace

_FORMAT = "sgurinit.vectors/1"


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
        if settings.pop("format") != _FORMAT:
            raise KeyError("format")
        users = pl.read_parquet(folder / "users.parquet")
        items = pl.read_parquet(folder / "items.parquet")
        arrays = load_file(folder / "method.safetensors")
        library, metric = settings["index"], settings["metric"]
        index = index_library(library).read(str(folder / f"items.{library}"))
        side = ItemSide(
            rows=items["vector"].to_numpy(),
            labels=arrays["labels"],
            centroids=arrays["centroids"],
            weights=arrays["weights"],
            fallback=arrays["fallback"],
        )
        space = NewUserSpace(side, settings["local_weight"], settings["local_norm"])
        pointers, indices = arrays["seen.indptr"], arrays["seen.indices"]
    except (OSError, KeyError, ValueError, RuntimeError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"{folder}: cannot be read as a vector store ({error}); give a folder that "
            "VectorStore.save wrote"
        ) from error
    ones = np.ones(len(indices), np.int8)
    return StoreParts(
        users=users["vector"].to_numpy(),
        user_ids=users["id"].to_list(),
        item_ids=items["id"].to_list(),
        known=sp.csr_array((ones, indices, pointers), shape=(len(users), len(items))),
        space=space,
        library=library,
        metric=metric,
        index=index,
    )


def _vector_table(ids: Sequence[Any], rows: Any) -> pl.DataFrame:
    vectors = np.asarray(rows, dtype=np.float32)
    kind = pl.Array(pl.Float32, vectors.shape[1])
    return pl.DataFrame([pl.Series("id", ids), pl.Series("vector", vectors, dtype=kind)])
