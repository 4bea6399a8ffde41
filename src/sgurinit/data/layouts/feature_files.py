"""Feature files: one NumPy or torch file per modality, with one row per item."""

from __future__ import annotations

import tokenize
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgurinit.core.inputs.features import (
    FLOATS,
    ItemFeatures,
    is_feature_dtype,
    restore_bfloat16,
    widen_bfloat16,
)
from sgurinit.errors import InputError

_BLOCK_BYTES = 1 << 24
_SUFFIX = "_feat.npy"
_TENSOR = "_feat.pt"


def find_feature_files(folder: Path) -> dict[str, Path]:
    """Return the files ``<modality>_feat.npy`` and ``<modality>_feat.pt`` of a folder, by modality.

    Raises
    ------
    InputError
        If there is no such file, or a modality has both.
    """
    found: dict[str, Path] = {}
    for suffix in (_SUFFIX, _TENSOR):
        for path in sorted(folder.glob(f"*{suffix}")):
            modality = path.name.removesuffix(suffix)
            if modality in found:
                raise InputError(f"{path}: {found[modality].name} is also there; keep one of them")
            found[modality] = path
    if not found:
        raise InputError(
            f"{folder}: no <modality>{_SUFFIX} or {_TENSOR} file; at least one is needed"
        )
    return found


def read_features(
    files: Mapping[str, Path], n_items: int, *, absent_rows: bool = False
) -> dict[str, ItemFeatures]:
    """Read and check feature files.

    Parameters
    ----------
    files : mapping of str to Path
        Modality to ``.npy`` or ``.pt`` file.
    n_items : int
        Number of rows that each file must have.
    absent_rows : bool, default False
        Whether a row of NaN means that the item has no features. Without it, any NaN is an error.

    Returns
    -------
    dict of str to ItemFeatures
        Features of ``.npy`` files are memory-mapped, so they take memory only while in use.

    Raises
    ------
    InputError
        Naming the faulty file, and the row and column.
    """
    features = {}
    for modality, path in files.items():
        values = read_array(path)
        if values.shape[0] != n_items:
            raise InputError(
                f"{path}: {values.shape[0]} rows but the data has {n_items} items; one row per "
                "item is expected"
            )
        present = _present_rows(path, values, absent_rows)
        try:
            features[modality] = ItemFeatures(values, None if present.all() else present)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    return features


def read_array(path: Path) -> NDArray[Any]:
    """Read a file of floats, shape (n_rows, d), without unpickling anything.

    A ``.npy`` file is memory-mapped. From a ``.pt`` file, torch reads one tensor and nothing else.

    Raises
    ------
    InputError
        If the file is missing, incomplete or of another format, or does not hold a 2-D array of
        float16, bfloat16, float32 or float64.
    """
    values = restore_bfloat16(_read_tensor(path) if path.suffix == ".pt" else load_npy(path))
    if values.ndim != 2 or not is_feature_dtype(values.dtype):
        raise InputError(
            f"{path}: {values.dtype} of shape {values.shape}; a 2-D array (items, width) of "
            f"{FLOATS} is expected"
        )
    return values


def load_npy(path: Path) -> NDArray[Any]:
    """Map the array of a ``.npy`` file into memory, after its size is compared with the file's.

    Raises
    ------
    InputError
        If the file is missing, incomplete or of another format, or would have to be unpickled.
    """
    if not path.is_file() and not path.is_dir():  # also a pipe, which would be waited for
        raise InputError(f"{path}: file is missing")
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    except (ValueError, EOFError, TypeError, SyntaxError, OverflowError, tokenize.TokenError) as e:
        detail = " ".join(str(e).split())
        raise InputError(
            f"{path}: not a complete NumPy array file ({detail}); get or write the file again"
        ) from e
    if not isinstance(values, np.ndarray):
        values.close()
        raise InputError(f"{path}: this is an archive of arrays; a single .npy array is expected")
    return values


def _read_tensor(path: Path) -> NDArray[Any]:
    """Read a tensor. bfloat16, which NumPy does not have, becomes float32."""
    import torch  # noqa: PLC0415 - only needed for .pt files

    if not path.is_file():
        raise InputError(f"{path}: file is missing")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can raise anything in an unpickler
        raise InputError(
            f"{path}: not a complete file of one tensor ({' '.join(str(error).split())[:120]}); "
            "only a tensor written by torch.save is read"
        ) from None
    if not isinstance(found, torch.Tensor) or found.layout != torch.strided:
        raise InputError(f"{path}: holds {type(found).__name__}; one dense tensor is expected")
    values: NDArray[Any] = (found.float() if found.dtype == torch.bfloat16 else found).numpy()
    return values


def _present_rows(path: Path, values: NDArray[Any], absent_rows: bool) -> NDArray[np.bool_]:
    n_rows, width = values.shape
    present = np.ones(n_rows, dtype=bool)
    step = max(1, _BLOCK_BYTES // max(1, width * values.dtype.itemsize))
    for start in range(0, n_rows, step):
        block = values[start : start + step]
        wrong = ~np.isfinite(block)
        if absent_rows:
            absent = np.isnan(block).all(axis=1)
            present[start : start + step] = ~absent
            wrong[absent] = False
        if wrong.any():
            row, column = (int(n) for n in np.argwhere(wrong)[0])
            raise InputError(
                f"{path}: row {start + row}, column {column} is {block[row, column]}; features "
                "must be finite numbers"
                + (
                    " (only a whole row of NaN is allowed, for an item without features)"
                    if absent_rows
                    else ""
                )
            )
    return present


def write_feature_files(folder: Path, features: Mapping[str, ItemFeatures]) -> None:
    """Write ``<modality>_feat.npy`` files. An item without features gets a row of zeros."""
    for modality, feature in features.items():
        values = widen_bfloat16(feature.values)
        values = np.where(feature.mask()[:, None], values, values.dtype.type(0))
        np.save(folder / f"{modality}{_SUFFIX}", values)
