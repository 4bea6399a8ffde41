"""Arrays of other libraries, such as tensors, as NumPy arrays."""

from __future__ import annotations

import sys
from typing import Any

import ml_dtypes
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sgurinit.errors import InputError


def to_array(values: Any, name: str) -> NDArray[Any]:
    """Return an array-like as an ndarray, not copied where possible.

    Parameters
    ----------
    values : array-like or torch.Tensor
        Anything that NumPy reads, and tensors on any device, of any precision, with or without
        gradients.
    name : str
        What it is, for the error message.

    Raises
    ------
    InputError
        The values are sparse, masked, on the meta device, or cannot be read.
    """
    if sp.issparse(values):
        raise InputError(f"{name} is a sparse matrix, expected a dense one: pass its toarray()")
    if is_tensor(values):
        return _from_tensor(values, name)
    try:
        array = np.asanyarray(values)
    except (TypeError, ValueError, RuntimeError, AttributeError, LookupError) as error:
        raise _unreadable(values, name, error) from error
    if isinstance(array, np.ma.MaskedArray):
        if np.ma.is_masked(array):
            row = int(np.nonzero(np.ma.getmaskarray(array))[0][0]) if array.ndim else 0
            raise InputError(
                f"{name} is a masked array with a masked value in row {row}: pass its filled(...), "
                "or leave the row out"
            )
        return np.asarray(array)
    return np.asarray(array) if isinstance(array, np.matrix) else array


def is_tensor(values: object) -> bool:
    """Whether a value is a torch tensor. Without torch there is none, and it is not imported."""
    return "torch" in sys.modules and isinstance(values, sys.modules["torch"].Tensor)


def is_sparse_tensor(value: Any) -> bool:
    """Whether a value is a torch tensor of a sparse layout."""
    return is_tensor(value) and value.layout is not sys.modules["torch"].strided


def _from_tensor(tensor: Any, name: str) -> NDArray[Any]:
    if is_sparse_tensor(tensor):
        raise InputError(f"{name} is a sparse tensor, expected a dense one: pass its to_dense()")
    if tensor.is_meta:
        raise InputError(f"{name} is on the meta device, which holds no values: pass a real tensor")
    try:
        own = tensor.detach().cpu()
        torch = sys.modules["torch"]
        if own.dtype == torch.bfloat16:  # NumPy has none of its own
            bits: NDArray[Any] = own.view(torch.int16).numpy()
            return bits.view(ml_dtypes.bfloat16)
        array: NDArray[Any] = own.numpy()
    except (TypeError, RuntimeError) as error:
        raise _unreadable(tensor, name, error) from error
    return array


def _unreadable(values: object, name: str, error: Exception) -> InputError:
    why = " ".join(str(error).split())[:200]
    return InputError(
        f"{name} is of type {type(values).__name__}, which cannot be read as an array ({why}): "
        "pass a NumPy array"
    )
