"""Features are saved with a list of the items that have none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgurinit.data.dataset import MODALITY_NAME
from sgurinit.data.layouts.native import read_modalities, register_modality
from sgurinit.errors import InputError
from sgurinit.files import (
    create_array,
    explain_write_errors,
    replace_file,
    write_json,
    write_table,
)
from sgurinit.locks import claim_folder

_ROWS = 4096


@dataclass(frozen=True)
class EncodedFeatures:
    """Counts of the features that `encode`, `encode_attributes` or `join_vectors` saved.

    See Also
    --------
    encode : Make features with an encoder.
    encode_attributes : Make features of genres, brands and other values.
    join_vectors : Make features of existing vectors.
    """

    modality: str
    """Name of the modality."""
    encoder: str
    """Name of the encoder or of the file with the vectors, or the columns with the attributes."""
    width: int
    """Number of features per item, d."""
    items: int
    """Number of items with a vector."""
    missing: dict[str, int]
    """Number of items without a vector, by reason. ``features/<modality>.missing.csv`` lists
    them."""
    unknown: int = 0
    """Number of vectors that were left out because their item is not in the data set."""
    values: int | None = None
    """Number of attribute values that two or more items have. None for other features."""
    dropped_values: int | None = None
    """Number of attribute values that were left out, since only one item has them."""
    explained: float | None = None
    """Share of the squared weights of the attribute values that the features retain, in (0, 1]."""


def check_modality(folder: Path, modality: str, overwrite: bool) -> None:
    """Check that features of this name can be saved.

    Raises
    ------
    InputError
        If the name is not fit for a file, or is in use and `overwrite` is false.
    """
    if not re.fullmatch(MODALITY_NAME, modality):
        raise InputError(
            f"modality is {modality!r}: use letters, digits, '_', '-' and '.', beginning with a "
            "letter or a digit"
        )
    if modality in read_modalities(folder) and not overwrite:
        raise InputError(
            f"{folder}: the modality {modality!r} exists already; give another `modality`, or "
            "`overwrite`"
        )


def save_features(
    folder: Path,
    modality: str,
    encoder: str,
    *,
    rows: NDArray[Any],
    items: pl.Series,
    reasons: Mapping[int, str],
    **details: Any,
) -> EncodedFeatures:
    """Save the features of all items, the counts, and the list of missing items.

    The modality is registered last, so readers never see unfinished features.

    Parameters
    ----------
    folder : Path
        Folder of a data set in the native layout.
    modality, encoder : str
        Name of the modality, and of what made the vectors.
    rows : ndarray of float, shape (n, d)
        Vectors of the items that have one, in order of position.
    items : Series
        Ids of all items.
    reasons : mapping of int to str
        Why an item has no vector, by position.
    **details
        The other fields of `EncodedFeatures`.

    Returns
    -------
    EncodedFeatures
        The counts, which ``features/<modality>.json`` holds too.
    """
    whole = folder / "features" / f"{modality}.npy"
    present = np.delete(np.arange(len(items)), sorted(reasons))

    def write(partial: Path) -> None:
        shape = len(items), rows.shape[1]
        out = create_array(partial, rows.dtype.newbyteorder("="), shape)
        for first in range(0, len(items), _ROWS):
            out[first : first + _ROWS] = np.nan
        for first in range(0, len(present), _ROWS):
            out[present[first : first + _ROWS]] = rows[first : first + _ROWS]
        out.flush()

    with explain_write_errors(whole), claim_folder(whole.parent, wait=True):
        replace_file(whole, write)
        counts = dict(Counter(re.sub(r" \(.*\)$", "", reason) for reason in reasons.values()))
        done = EncodedFeatures(
            modality, encoder, int(rows.shape[1]), len(present), counts, **details
        )
        missing_list = whole.with_suffix(".missing.csv")
        absent = sorted(reasons)
        if absent:
            column = pl.Series("reason", [reasons[n] for n in absent])
            write_table(
                missing_list, items.gather(absent).alias("item").to_frame().with_columns(column)
            )
        else:
            missing_list.unlink(missing_ok=True)
        write_json(whole.with_suffix(".json"), asdict(done) | {"sgurinit": version("sgurinit")})
        register_modality(folder, modality)
    return done
