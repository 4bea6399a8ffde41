"""A disk cache for graphs that take long to build."""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
import tempfile
import zipfile
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import numpy as np
import scipy.sparse as sp
import torch

from sgurinit.core import ItemFeatures
from sgurinit.runtime import get_cache_folder

logger = logging.getLogger("sgurinit")

Arguments = ParamSpec("Arguments")
_BLOCK_ROWS = 4096


def cached_graph(
    version: int,
) -> Callable[[Callable[Arguments, sp.csr_array]], Callable[Arguments, sp.csr_array]]:
    """Decorate a function that builds a graph, so that its results are kept on disk.

    The result must only depend on the arguments: features, sparse matrices, arrays, numbers and
    text. The key consists of the function's name, `version`, the release of torch and the content
    of every argument, so a different k, modality or feature value gives a different graph. Missing
    and broken files are rebuilt. If the folder is not writable, nothing is cached.

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
            path = get_cache_folder() / "graphs" / f"{build.__name__}-{digest.hexdigest()[:32]}.npz"
            graph = _read(path)
            if graph is None:
                graph = build(*args, **kwargs)
                _write(path, graph)
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


def _read(path: Path) -> sp.csr_array | None:
    try:
        return sp.csr_array(sp.load_npz(path))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write(path: Path, graph: sp.csr_array) -> None:
    """Write a graph atomically."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=".partial-", suffix=".npz", delete=False
        ) as partial:
            try:
                sp.save_npz(partial, graph, compressed=False)
                partial.close()
                os.replace(partial.name, path)  # noqa: PTH105 - replaces an older file in one step
            except BaseException:
                Path(partial.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        logger.warning("%s: no graphs can be kept here (%s)", path.parent, error)
