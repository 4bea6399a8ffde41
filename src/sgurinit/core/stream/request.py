"""What a call of `SGURInit.stream` asks for, checked before the work begins."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sgurinit.core.inputs.arrays import IdArray
from sgurinit.core.inputs.features import BFLOAT16, ItemFeatures, as_features
from sgurinit.core.inputs.ids import check_item_ids
from sgurinit.core.params import Parameters
from sgurinit.core.stream.edges import EdgeFiles
from sgurinit.errors import InputError

JOINT_TABLE = "joint"
"""Name of the joint space among the tables."""

DTYPES: Mapping[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": BFLOAT16,
}
"""Types that users can be stored in."""

_LAYOUTS = ("npy", "parquet")
_HASH_BYTES = 1 << 24


@dataclass(frozen=True, eq=False)
class StreamRequest:
    """What to compute from which files, and how to write it.

    Parameters
    ----------
    edges : EdgeFiles
        Training interactions on disk.
    features : mapping of str to ItemFeatures
        Item features, best memory-mapped.
    item_ids : ndarray or None
        Ids of the items where the interactions hold external ids, None where they hold positions.
    parameters : Parameters
        Parameters of the method.
    tables : tuple of str
        Modalities, and ``"joint"`` for the joint space, to compute users for.
    layout : {"npy", "parquet"}
        Files that the users are written to.
    dtype : {"float32", "float16", "bfloat16"}
        Type that the users are stored in.
    """

    edges: EdgeFiles
    features: Mapping[str, ItemFeatures]
    item_ids: IdArray | None
    parameters: Parameters
    tables: tuple[str, ...]
    layout: str
    dtype: str

    @classmethod
    def check(
        cls,
        interactions: str | Path | Sequence[str | Path],
        features: Mapping[str, Any],
        parameters: Parameters,
        *,
        item_ids: Any,
        tables: Sequence[str] | None,
        layout: str,
        dtype: str,
        columns: tuple[str, str],
    ) -> StreamRequest:
        """Check the arguments of `SGURInit.stream`.

        Raises
        ------
        InputError
            An argument is not usable; the message names it.
        """
        parameters.check_joint_written()
        checked = as_features(features)
        n_items = next(iter(checked.values())).n_items
        ids = None if item_ids is None else check_item_ids(item_ids, n_items)
        known = [*checked, *([JOINT_TABLE] if parameters.joint_dim is not None else [])]
        chosen = known if tables is None else _as_names(tables, "tables")
        for name in chosen:
            if name not in known:
                hint = "; set joint_dim" if name == JOINT_TABLE else ""
                raise InputError(f"tables: {name!r} is none of {', '.join(known)}{hint}")
        for value, allowed, what in ((layout, _LAYOUTS, "layout"), (dtype, DTYPES, "dtype")):
            if not isinstance(value, str) or value not in allowed:
                raise InputError(f"{what} must be one of {', '.join(allowed)}, got {value!r}")
        if layout == "parquet" and dtype == "bfloat16":
            raise InputError("dtype: Parquet has no bfloat16; give layout npy, or dtype float16")
        if not chosen:
            raise InputError("tables is empty, expected at least one")
        if parameters.preprocess and set(chosen) == {JOINT_TABLE}:
            raise InputError(
                f"preprocess={parameters.preprocess!r} has no effect: it only changes the tables "
                "of modalities, and `tables` names none; leave `preprocess` out"
            )
        names = _as_names(columns, "columns")
        if len(names) != 2 or names[0] == names[1]:
            raise InputError(f"columns is {columns!r}, expected two names: of users and of items")
        edges = EdgeFiles.find(interactions, (names[0], names[1]))
        return cls(edges, checked, ids, parameters, tuple(chosen), layout, dtype)

    @property
    def n_items(self) -> int:
        """Number of items."""
        return next(iter(self.features.values())).n_items

    def describe(self) -> dict[str, Any]:
        """Return what must be the same for an interrupted stream to resume, for JSON."""
        return {
            "interactions": self.edges.describe(),
            "features": {name: _hash_features(table) for name, table in self.features.items()},
            "item_ids": None if self.item_ids is None else _hash_ids(self.item_ids),
            "parameters": self.parameters.to_config(),
            "tables": list(self.tables),
            "layout": self.layout,
            "dtype": self.dtype,
        }


def _as_names(given: Any, what: str) -> list[str]:
    is_list = isinstance(given, Iterable) and not isinstance(given, str | Mapping)
    names = list(given) if is_list else []
    if not is_list or not all(isinstance(name, str) for name in names):
        raise InputError(f"{what} is {given!r}, expected a list of names")
    return names


def _hash_features(table: ItemFeatures) -> str:
    digest = hashlib.sha256(f"{table.values.shape} {table.values.dtype.name}".encode())
    digest.update(np.packbits(table.mask()).tobytes())
    step = max(1, _HASH_BYTES // (table.values.itemsize * table.width))
    for first in range(0, table.n_items, step):
        digest.update(np.ascontiguousarray(table.values[first : first + step]).tobytes())
    return digest.hexdigest()


def _hash_ids(ids: IdArray) -> str:
    return hashlib.sha256(json.dumps(ids.tolist()).encode()).hexdigest()
