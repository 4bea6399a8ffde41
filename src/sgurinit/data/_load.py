"""Load a data set by folder or by name."""

from __future__ import annotations

from pathlib import Path

from sgurinit.arguments import check_path
from sgurinit.data._planted import planted
from sgurinit.data.dataset import Dataset
from sgurinit.data.layouts.registry import read_dataset


def load_dataset(path: str | Path) -> Dataset:
    """Load a data set from a folder, or a generated or shipped one by its name.

    Parameters
    ----------
    path : str or Path
        A folder in any known layout, which is recognized by its files. The string ``"planted"``
        stands for generated data of the default size, and ``"xwines"`` for the real data that the
        package ships. To load a folder of one of these names, write ``"./planted"``.

    Returns
    -------
    Dataset
        The data set, with every value checked.

    Raises
    ------
    InputError
        If `path` is not a path, the folder is missing, its layout is not recognized, or a file in
        it is faulty. The message names the file, and the row or field.

    See Also
    --------
    summarize : Facts about a data set.
    write_native : Write a data set to a folder.
    sgurinit.data.prepare.prepare : Make a data set from a raw log.

    Examples
    --------
    >>> from sgurinit import load_dataset
    >>> load_dataset("xwines")
    Dataset('xwines', 8,524 users, 769 items)
      interactions: train 63,067, valid 9,635, test 8,912
      features: text 384-d
    """
    check_path(path, "path")
    if path == "planted":
        return planted()
    return read_dataset(path)
