"""The data sets in this folder, by name."""

from __future__ import annotations

from pathlib import Path

from sgurinit.data.dataset import Dataset
from sgurinit.data.layouts.native import Native

SHIPPED: dict[str, Path] = {"xwines": Path(__file__).parent / "xwines"}
"""Folder of each shipped data set, by its name."""


def dataset_folder(source: str | Path) -> Path:
    """Return the folder of a data set.

    Parameters
    ----------
    source : str or Path
        The name of a shipped data set, as a string, or any folder.

    Returns
    -------
    Path
        The folder of the shipped data set, or `source` itself. It is not checked.

    See Also
    --------
    sgurinit.data.load_dataset : Read a data set.

    Examples
    --------
    >>> from sgurinit.data.shipped import dataset_folder
    >>> dataset_folder("xwines").is_dir()
    True
    """
    if isinstance(source, str) and source in SHIPPED:
        return SHIPPED[source]
    return Path(source)


def xwines() -> Dataset:
    """Load X-Wines Slim: ratings of wines, with a text vector for each wine.

    Ratings of at least 4 are kept, and the 5-core of these. Each user's interactions are split
    8:1:1 at random. User and item ids are those of the source. The only modality, ``text``, holds
    vectors of all-MiniLM-L6-v2 for each wine's name, type, grapes, food, body, acidity, region,
    country and winery. ``item_titles("xwines")`` returns the wines' names.

    ========== ============ ===== =====
    split      interactions users wines
    ========== ============ ===== =====
    all        81,614       8,524 769
    train      63,067       8,524 769
    valid      9,635        8,524 682
    test       8,912        8,524 671
    ========== ============ ===== =====

    Returns
    -------
    Dataset
        The data set, also available as ``load_dataset("xwines")``.

    See Also
    --------
    planted : Generated data with a known answer.
    item_titles : Titles of a data set's items.

    Notes
    -----
    Source: https://github.com/rogerioxavier/X-Wines, commit 6082668. License: CC0 1.0. The shipped
    folder holds `LICENSE`, `CITATION.bib` and a `README.md` that says how the data set was made.

    References
    ----------
    de Azambuja, R.X.; Morais, A.J.; Filipe, V. X-Wines: A Wine Dataset for Recommender Systems and
    Machine Learning. Big Data Cogn. Comput. 2023, 7(1), 20. https://doi.org/10.3390/bdcc7010020

    Examples
    --------
    >>> from sgurinit.data import item_titles, xwines
    >>> dataset = xwines()
    >>> dataset.n_users, dataset.n_items
    (8524, 769)
    >>> dataset.features["text"].values.shape
    (769, 384)
    >>> item_titles("xwines")[str(dataset.item_ids[0])]
    'Espumante Moscatel'
    """
    return Native().read(SHIPPED["xwines"])
