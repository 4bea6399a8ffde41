"""A disk cache for graphs that take long to build."""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
import tempfile
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import numpy as np
import scipy.sparse as sp
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sgurinit.core import ItemFeatures
from sgurinit.core.inputs.fingerprint import hash_arrays
from sgurinit.core.inputs.sparse_format import check_format
from sgurinit.runtime import get_cache_folder

logger = logging.getLogger("sgurinit")

Arguments = ParamSpec("Arguments")
_BLOCK_ROWS = 4096
_PARTS = ("data", "indices", "indptr")


def cached_graph(
    version: int,
) -> Callable[[Callable[Arguments, sp.csr_array]], Callable[Arguments, sp.csr_array]]:
    """Decorate a function that builds a graph, so that its results are kept on disk.

    The result must only depend on the arguments: features, sparse matrices, arrays, numbers and
    text. It holds float32 or float64, and has a row and a column for every row of the first
    argument. The key consists of the function's name, `version`, the release of torch and the
    content of every argument, so a different k, modality or feature value gives a different graph.
    Missing and damaged files, and files of another key or size, are rebuilt. If the folder is not
    writable, nothing is cached.

    Parameters
    ----------
    version : int
        Raise it whenever a change of the function's code changes its result.
    """

    def decorate(
        build: Callable[Arguments, sp.csr_array],
    ) -> Callable[Arguments, sp.csr_array]:
        signature = inspect.signature(build)

        @wraps(build)
        def cached(*args: Arguments.args, **kwargs: Arguments.kwargs) -> sp.csr_array:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            digest = hashlib.sha256(f"{build.__name__} {version} {torch.__version__}".encode())
            for name, value in bound.arguments.items():
                _feed(digest, name, value)
            key = f"{build.__name__}-{digest.hexdigest()}"
            path = get_cache_folder() / "graphs" / f"{key}.safetensors"
            graph = _read(path, key, _count_rows(next(iter(bound.arguments.values()))))
            if graph is None:
                graph = build(*args, **kwargs)
                _write(path, key, graph)
            return graph

        return cached

    return decorate


def _feed(digest: Any, name: str, value: object) -> None:
    """Add one argument's type, shape and content to `digest`."""
    if isinstance(value, ItemFeatures):
        _feed(digest, f"{name}.present", value.mask())
        _feed(digest, f"{name}.rows", value.rows())  # values of absent rows are never read
    elif sp.issparse(value):
        matrix: Any = sp.csr_array(value)  # type: ignore[call-overload]
        digest.update(f"{name} sparse {matrix.shape}".encode())
        for part in ("indptr", "indices", "data"):
            _feed(digest, f"{name}.{part}", getattr(matrix, part))
    elif isinstance(value, np.ndarray):
        digest.update(f"{name} {value.dtype.str} {value.shape}".encode())
        for first in range(0, len(value), _BLOCK_ROWS):
            digest.update(np.ascontiguousarray(value[first : first + _BLOCK_ROWS]).tobytes())
    elif isinstance(value, int | float | str | None):
        digest.update(f"{name} {value!r};".encode())
    else:
        raise TypeError(f"{name} is of type {type(value).__name__}, which cannot be a cache key")


def _count_rows(value: Any) -> int:
    return int(value.n_items if isinstance(value, ItemFeatures) else value.shape[0])


def _read(path: Path, key: str, size: int) -> sp.csr_array | None:
    """Read the graph of a key; None where the file is missing, damaged or of another key.

    The library's reader checks sizes before it takes memory, and the graph has the size that is
    expected, not one that the file claims. Indices out of range would be read from foreign memory
    later.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            parts = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata.pop("checksum") != hash_arrays(parts, metadata) or metadata["key"] != key:
            return None
        if parts["data"].dtype not in (np.float32, np.float64):
            return None
        graph = sp.csr_array((parts["data"], parts["indices"], parts["indptr"]), shape=(size, size))
        check_format(graph)
    except (
        OSError,
        SafetensorError,
        ValueError,
        TypeError,
        LookupError,
        ArithmeticError,
        RecursionError,
    ):
        return None
    return graph


def _write(path: Path, key: str, graph: sp.csr_array) -> None:
    """Write a graph atomically."""
    parts = {name: np.ascontiguousarray(getattr(graph, name)) for name in _PARTS}
    metadata = {"key": key}
    metadata["checksum"] = hash_arrays(parts, metadata)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=".partial-", suffix=path.suffix, delete=False
        ) as partial:
            try:
                partial.close()
                save_file(parts, partial.name, metadata=metadata)
                os.replace(partial.name, path)  # noqa: PTH105 - replaces an older file in one step
            except BaseException:
                Path(partial.name).unlink(missing_ok=True)
                raise
    except (OSError, SafetensorError) as error:
        logger.warning("%s: no graphs can be kept here (%s)", path.parent, error)
