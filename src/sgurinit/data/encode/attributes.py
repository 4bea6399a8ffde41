"""Features from what a catalog knows of the items: genres, brands, categories, tags, words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer
from threadpoolctl import threadpool_limits

from sgurinit.data.encode._items import read_items
from sgurinit.data.encode.attribute_columns import read_attribute_values
from sgurinit.data.encode.features import EncodedFeatures, check_modality, save_features
from sgurinit.errors import InputError
from sgurinit.progress import ProgressCallback, no_progress

ATTRIBUTE_WEIGHTS = ("tf-idf", "binary")
"""Weights of the values of an item."""

# Singular values below this share of the largest, and rows below this norm, are rounding errors:
# the solver works on the squares of the singular values.
_ROUNDING = 1e-6


def encode_attributes(
    path: str | Path,
    modality: str,
    attributes: Sequence[str],
    *,
    separator: str | None = None,
    weights: str = "tf-idf",
    width: int = 128,
    overwrite: bool = False,
    progress: ProgressCallback = no_progress,
) -> EncodedFeatures:
    r"""Add features of the values that items share, such as genres, brands and tags.

    Each value is a column of a sparse matrix, and equal values of two attributes are different
    columns. Values that only one item has are left out, since they relate it to no other item. With
    ``"tf-idf"``, an item's value has the weight

    .. math:: \ln \frac{1 + n}{1 + n_v} + 1,

    where n is the number of items with a shared value and :math:`n_v` that of items with this
    value; with ``"binary"`` it is 1. Rows are scaled to unit length. If there are more than `width`
    values, the rows are projected on the first right singular vectors of the matrix (latent
    semantic analysis), which preserve their inner products best. Otherwise they are not reduced.

    The features depend neither on the order of the items and columns nor on the number of threads.

    Parameters
    ----------
    path : str or Path
        Folder of a data set in the native layout.
    modality : str
        Name of the new modality, fit for a file name.
    attributes : sequence of str
        Names of columns of `items.parquet`, at least one. A column holds lists of text or of whole
        numbers, texts, or whole numbers. Lists may also be written as text, such as
        ``['Merlot', 'Syrah']``.
    separator : str, optional
        What separates the values in a text, such as ``"|"``. A space makes the words of a title
        values. Default: the whole text is one value. Columns of lists refuse it.
    weights : {"tf-idf", "binary"}, default "tf-idf"
        Whether rare values weigh more than common ones, or all the same.
    width : int >= 1, default 128
        Largest number of features per item.
    overwrite : bool, default False
        Whether to replace features of the same name. Without it they are an error.
    progress : callable, optional
        Called with ``(stage, done, total)``. A total of 0 means unknown.

    Returns
    -------
    EncodedFeatures
        Counts of the items with and without a vector, and of the values. Items have no vector if
        they have no value, none that another item has, or none in the singular vectors that are
        kept.

    Raises
    ------
    InputError
        If `path` does not hold a data set in the native layout, the modality exists already, a
        column is missing or of another type, a setting is out of range, `separator` does not fit a
        column, or no two items share a value.

    See Also
    --------
    encode : Make features of text or images with an encoder.
    join_vectors : Add existing vectors instead.

    References
    ----------
    S. Deerwester, S. T. Dumais, G. W. Furnas, T. K. Landauer and R. Harshman, "Indexing by latent
    semantic analysis", JASIS 41(6):391-407, 1990.

    Examples
    --------
    >>> import polars as pl
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from sgurinit.data import load_dataset, planted, write_native
    >>> from sgurinit.data.encode import encode_attributes
    >>> with TemporaryDirectory() as folder:
    ...     data = write_native(planted(200, 100), Path(folder, "data"))
    ...     items = pl.read_parquet(data / "items.parquet")
    ...     genres = ["drama|war", "comedy", "drama", None] * 25
    ...     items.with_columns(genres=pl.Series(genres)).write_parquet(data / "items.parquet")
    ...     done = encode_attributes(data, "genre", ["genres"], separator="|")
    ...     features = load_dataset(data).features
    >>> done.items, done.values, done.missing
    (75, 3, {'no value': 25})
    >>> features["genre"].values[1:3].tolist()  # the columns are comedy, drama and war
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    folder = Path(path)
    items = read_items(folder)
    check_modality(folder, modality, overwrite)
    if weights not in ATTRIBUTE_WEIGHTS:
        raise InputError(f"weights is {weights!r}: expected {' or '.join(ATTRIBUTE_WEIGHTS)}")
    if width < 1:
        raise InputError(f"width is {width}: expected 1 or more features per item")
    progress("reading values", 0, 0)
    positions = items["item"].arg_sort().to_numpy()  # by id, so that the order does not matter
    values = read_attribute_values(folder, items[positions], attributes, separator)
    matrix, n_dropped = _shared_values(values, len(items))
    shares = np.diff(matrix.indptr) > 0
    if not shares.any():
        raise InputError(
            f"{folder / 'items.parquet'}: no two items share a value of {', '.join(attributes)}; "
            "name other columns, or give `separator` if a text holds several values"
        )
    progress("computing features", 0, 0)
    transformer = TfidfTransformer(use_idf=weights == "tf-idf")
    rows, explained = _reduce(transformer.fit_transform(matrix[shares]), width)
    reasons = dict.fromkeys(positions.tolist(), "no value")
    reasons |= dict.fromkeys(positions[values["row"]].tolist(), "no value that another item has")
    spanned = np.linalg.norm(rows, axis=1) > _ROUNDING
    places, rows = positions[shares], rows[spanned]
    reasons |= dict.fromkeys(places.tolist(), f"no value in the {rows.shape[1]} features")
    places = places[spanned]
    for place in places.tolist():
        del reasons[place]
    return save_features(
        folder,
        modality,
        f"{weights} of {', '.join(attributes)}",
        rows=rows[np.argsort(places)].astype(np.float32),
        items=items["item"],
        reasons=reasons,
        values=matrix.shape[1],
        dropped_values=n_dropped,
        explained=explained,
    )


def _shared_values(values: pl.DataFrame, n_items: int) -> tuple[csr_matrix, int]:
    """Return ones where an item has a value that another has too, and the number of others."""
    key = ["column", "value"]
    counts = values.group_by(key).len().sort(key)
    shared = counts.filter(pl.col("len") > 1).with_row_index("at")
    cells = values.join(shared, on=key)
    where = (cells["row"].to_numpy(), cells["at"].to_numpy())
    matrix = csr_matrix((np.ones(len(cells)), where), shape=(n_items, len(shared)))
    return matrix, len(counts) - len(shared)


def _reduce(rows: csr_matrix, width: int) -> tuple[NDArray[Any], float]:
    """Return dense rows of at most `width` columns, and the share of the squares they retain."""
    n_rows, n_values = rows.shape
    if n_values <= width:
        return rows.toarray(), 1.0
    # The random solver is exact for all singular vectors, the other one can find all but one.
    solver = TruncatedSVD(
        min(width, n_rows), algorithm="arpack" if width < n_rows else "randomized", random_state=0
    )
    with threadpool_limits(limits=1):  # the order of sums is then the same on any machine
        reduced = solver.fit_transform(rows)
    strengths = solver.singular_values_
    kept = strengths > _ROUNDING * strengths[0]
    return reduced[:, kept], float((strengths[kept] ** 2).sum() / n_rows)
