"""Fingerprint of the data that a start was computed from, and checksums of what is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgurinit.core.inputs.features import ItemFeatures
from sgurinit.core.inputs.interactions import ParsedInteractions

_BLOCK_ROWS = 4096


def compute_fingerprint(
    interactions: ParsedInteractions, features: Mapping[str, ItemFeatures]
) -> str:
    """Hash interactions, ids and features.

    Parameters
    ----------
    interactions : ParsedInteractions
        Training interactions.
    features : mapping of str to ItemFeatures
        Features. The values of rows that are not present are ignored.

    Returns
    -------
    str
        SHA-256 in hexadecimal. It does not depend on the memory layout.
    """
    digest = hashlib.sha256()
    matrix = interactions.matrix
    digest.update(f"interactions {matrix.shape}".encode())
    digest.update(matrix.indptr.astype("<i8").tobytes())
    digest.update(matrix.indices.astype("<i8").tobytes())
    for name, ids in (("users", interactions.user_ids), ("items", interactions.item_ids)):
        if ids is not None:
            digest.update(f"{name} {ids.tolist()}".encode())
    for name in sorted(features):
        table = features[name]
        digest.update(f"features {name} {table.values.shape} {table.values.dtype.name}".encode())
        digest.update(np.packbits(table.mask()).tobytes())
        rows = table.rows()
        for first in range(0, len(rows), _BLOCK_ROWS):
            digest.update(np.ascontiguousarray(rows[first : first + _BLOCK_ROWS]).tobytes())
    return digest.hexdigest()


def hash_arrays(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> str:
    """Hash arrays and what is kept with them, so that damage to a file is noticed.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        The arrays by name, in any order and memory layout.
    metadata : mapping of str to str
        The text kept with them.

    Returns
    -------
    str
        SHA-256 in hexadecimal.
    """
    digest = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, array.dtype.name, *array.shape]).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
