"""Run an encoder over all items and save the features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sgurinit.data.encode._items import read_items
from sgurinit.data.encode.blocks import Encoder, encode_blocks
from sgurinit.data.encode.features import EncodedFeatures, check_modality, save_features
from sgurinit.errors import InputError
from sgurinit.files import explain_write_errors
from sgurinit.locks import claim_hidden, clear_folder
from sgurinit.progress import ProgressCallback, no_progress


def encode(
    path: str | Path,
    modality: str,
    values: Sequence[Any],
    encoder: Encoder[Any],
    *,
    overwrite: bool = False,
    progress: ProgressCallback = no_progress,
) -> EncodedFeatures:
    """Add features to a data set in the native layout.

    Every finished block of vectors is saved. A call with the same values and encoder resumes an
    interrupted one. Items without a value, and those whose value cannot be encoded, get no vector:
    their row in the file is NaN, and ``features/<modality>.missing.csv`` lists them with the
    reason.

    Parameters
    ----------
    path : str or Path
        Folder of a data set in the native layout.
    modality : str
        Name of the new modality, fit for a file name.
    values : sequence
        One value per item, in order of position: what the encoder takes, or None. See
        `join_text_columns` and `find_images`.
    encoder : Encoder
        Turns values into vectors, such as ``sgurinit.data.encode.text_encoder.TextEncoder()``.
    overwrite : bool, default False
        Whether to replace features of the same name. Without it they are an error.
    progress : callable, optional
        Called with ``(stage, done, total)``. A total of 0 means unknown.

    Returns
    -------
    EncodedFeatures
        Counts of the items with and without a vector.

    Raises
    ------
    InputError
        If `path` does not hold a data set in the native layout, the modality exists already, the
        number of values is not the number of items, no value can be encoded, the encoder fails, the
        disk is full, or another process encodes the same modality.

    See Also
    --------
    join_vectors : Add existing vectors instead.
    join_text_columns : Values for a text encoder.
    find_images : Values for an image encoder.

    Examples
    --------
    An encoder is any callable with a name that returns vectors and failures:

    >>> import numpy as np
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from sgurinit.data import load_dataset, planted, write_native
    >>> from sgurinit.data.encode import encode
    >>> class TextLength:
    ...     name = "length"
    ...     def __call__(self, values):
    ...         return np.array([[len(value)] for value in values], dtype=float), {}
    >>> with TemporaryDirectory() as folder:
    ...     data = write_native(planted(200, 100), Path(folder, "data"))
    ...     done = encode(data, "length", ["some text"] * 99 + [None], TextLength())
    ...     features = load_dataset(data).features
    >>> done.items, done.missing
    (99, {'no value': 1})
    >>> features["length"]
    ItemFeatures(100 x 1 float32, 1 without a row)
    """
    folder = Path(path)
    items = read_items(folder)
    check_modality(folder, modality, overwrite)
    if len(values) != len(items):
        raise InputError(
            f"values has {len(values)} entries but the data set has {len(items)} items; give one "
            "value per item"
        )
    work = folder / "features" / f".{modality}.partial"
    with claim_hidden(work, folder / "features" / f"{modality}.npy"), explain_write_errors(work):
        vectors, state = encode_blocks(values, encoder, work, progress)
        reasons = {n: "no value" for n, value in enumerate(values) if value is None}
        reasons |= {int(n): reason for n, reason in state.failed.items()}
        if len(reasons) == len(items):
            clear_folder(work)
            raise InputError(
                f"{folder}: none of the {len(items)} items could be encoded; reason for the first: "
                f"{reasons[0]}"
            )
        rows = np.memmap(vectors, dtype="<f4", mode="r").reshape(-1, state.width)
        done = save_features(
            folder, modality, encoder.name, rows=rows, items=items["item"], reasons=reasons
        )
        clear_folder(work)
    return done
