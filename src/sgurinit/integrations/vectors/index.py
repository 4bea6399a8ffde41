"""Indexes over item vectors, by library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgurinit.core.inputs.arrays import Float32Array, FloatArray
from sgurinit.errors import InputError
from sgurinit.integrations._require import require


@dataclass(frozen=True)
class IndexLibrary:
    """How a library builds, searches, writes and reads an index for the largest dot products.

    Attributes
    ----------
    build : callable
        From rows ``(n, d)`` to an index.
    search : callable
        From an index, a row ``(d,)`` and k to the positions and dot products of the k rows whose
        dot products with it are largest.
    write : callable
        From an index to a file, given its path.
    read : callable
        From the path of a file and the rows to an index.
    """

    build: Callable[[Float32Array], Any]
    search: Callable[[Any, Float32Array, int], tuple[Any, Any]]
    write: Callable[[Any, str], None]
    read: Callable[[str, Float32Array], Any]


def index_library(name: str) -> IndexLibrary:
    """Return an index library by its name.

    Raises
    ------
    InputError
        The name is unknown.
    ImportError
        The library is not installed.
    """
    if not isinstance(name, str) or name not in INDEX_LIBRARIES:
        raise InputError(f"index is {name!r}, expected one of {', '.join(INDEX_LIBRARIES)}")
    return INDEX_LIBRARIES[name]()


def scale_rows(rows: FloatArray, metric: str) -> Float32Array:
    """Prepare rows, so that their dot products are the scores of a metric.

    For ``"cosine"`` they get norm 1, and zero rows stay zero. For ``"dot"`` they stay as they are.
    """
    if metric == "cosine":
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = rows / np.where(norms > 0, norms, 1)
    return np.ascontiguousarray(rows, dtype=np.float32)


def _faiss() -> IndexLibrary:
    faiss = require("faiss", "faiss")

    def build(rows: Float32Array) -> Any:
        index = faiss.IndexFlatIP(rows.shape[1])
        index.add(rows)
        return index

    def search(index: Any, row: Float32Array, k: int) -> tuple[Any, Any]:
        products, positions = index.search(row[None], k)
        return positions[0], products[0]

    # The exact index is the rows, so its file is for other programs and is not trusted here.
    return IndexLibrary(build, search, faiss.write_index, lambda _, rows: build(rows))


def _usearch() -> IndexLibrary:
    usearch = require("usearch.index", "usearch")

    def build(rows: Float32Array) -> Any:
        index = usearch.Index(ndim=rows.shape[1], metric="ip", dtype="f32")
        keys = np.arange(len(rows))
        first = slice(0, _ROWS_BY_ONE_THREAD)
        index.add(keys[first], rows[first], threads=1)
        if len(rows) > _ROWS_BY_ONE_THREAD:
            index.add(keys[_ROWS_BY_ONE_THREAD:], rows[_ROWS_BY_ONE_THREAD:])
        return index

    def search(index: Any, row: Float32Array, k: int) -> tuple[Any, Any]:
        matches = index.search(row, k)
        return matches.keys, 1 - matches.distances

    return IndexLibrary(
        build,
        search,
        lambda index, path: index.save(path),
        lambda path, _: usearch.Index.restore(path),
    )


_ROWS_BY_ONE_THREAD = 10_000
"""The first rows of an approximate index are added by one thread.

Threads that begin an empty graph together leave rows that no search reaches: with 8 threads and 769
rows, 0 to 21 % of the ten nearest rows were missed, with one thread 0 %.
"""

STORE_METRICS = ("dot", "cosine")
"""Metrics that a store can rank by."""

INDEX_LIBRARIES = {"faiss": _faiss, "usearch": _usearch}
"""Supported index libraries by name."""
