"""Data sets that come with the package, prepared: no network, no torch."""

from __future__ import annotations

from pathlib import Path

from sgurinit.data.dataset import Dataset
from sgurinit.data.layouts.native import Native

SHIPPED: dict[str, Path] = {"xwines": Path(__file__).parent / "xwines"}
"""Folder of each shipped data set, by its name."""


def folder_of(source: str | Path) -> Path:
    """Find the folder of a data set.

    Parameters
    ----------
    source : str or Path
        The name of a shipped data set, as a string, or any folder.

    Returns
    -------
    Path
    """
    if isinstance(source, str) and source in SHIPPED:
        return SHIPPED[source]
    return Path(source)


def xwines() -> Dataset:
    """Load X-Wines Slim: ratings of wines by people, with a vector of each wine's text.

    Ratings of 4 and more count, 5-core: 8,524 users, 769 wines and 81,614 interactions, of which
    63,067 are for training, 9,635 for validation and 8,912 for test, 8:1:1 of each user's at
    random. Ids of users and wines are those of the source. The one modality, ``text``, holds
    all-MiniLM-L6-v2's vectors of what is known about a wine: name, type, grapes, food, body,
    acidity, region, country and winery. `item_titles` of ``"xwines"`` gives the names.

    Returns
    -------
    Dataset

    Notes
    -----
    Source: https://github.com/rogerioxavier/X-Wines, commit 6082668. Licence: CC0 1.0. The folder
    has both, and how it was made, in `README.md`, `LICENSE` and `CITATION.bib`.

    References
    ----------
    de Azambuja, R.X.; Morais, A.J.; Filipe, V. X-Wines: A Wine Dataset for Recommender Systems and
    Machine Learning. Big Data Cogn. Comput. 2023, 7(1), 20. https://doi.org/10.3390/bdcc7010020

    Examples
    --------
    >>> from sgurinit.data import item_titles
    >>> from sgurinit.data.shipped import xwines
    >>> dataset = xwines()
    >>> dataset.n_users, dataset.n_items
    (8524, 769)
    >>> dataset.features["text"].values.shape
    (769, 384)
    >>> item_titles("xwines")[str(dataset.item_ids[0])]
    'Espumante Moscatel'
    """
    return Native().read(SHIPPED["xwines"])
