"""Data in: interactions, splits, item features and ids, read from disk or generated."""

from __future__ import annotations

from pathlib import Path

from sgurinit.data._planted import PlantedData, plant, planted
from sgurinit.data._titles import item_titles
from sgurinit.data.dataset import SPLITS, Dataset, Interactions
from sgurinit.data.hold_out import hold_out_items
from sgurinit.data.layouts.native import write_native
from sgurinit.data.layouts.registry import Recognised, read, recognise
from sgurinit.data.shipped import xwines
from sgurinit.data.summary import DatasetSummary, ModalitySummary, summary

__all__ = [
    "SPLITS",
    "Dataset",
    "DatasetSummary",
    "Interactions",
    "ModalitySummary",
    "PlantedData",
    "Recognised",
    "hold_out_items",
    "item_titles",
    "load_dataset",
    "plant",
    "planted",
    "recognise",
    "summary",
    "write_native",
    "xwines",
]


def load_dataset(path: str | Path) -> Dataset:
    """Load a data set from a folder, or a generated or shipped one by its name.

    Parameters
    ----------
    path : str or Path
        A folder in any known layout, recognised by looking; or the string ``"planted"`` for
        generated data of the default size (`planted`), ``"xwines"`` for the real data that come
        with the package (`xwines`). A folder of such a name is ``"./planted"``.

    Returns
    -------
    Dataset

    Raises
    ------
    InputError
        If the folder is missing, its layout is not recognised, or a file in it is at fault.
    """
    if path == "planted":
        return planted()
    return read(path)
