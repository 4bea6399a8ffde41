"""Recognize the layout of a folder, and read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sgurinit.data.dataset import Dataset
from sgurinit.data.layouts.base import Layout
from sgurinit.data.layouts.cornac import Cornac
from sgurinit.data.layouts.elliot import Elliot
from sgurinit.data.layouts.freerec import FreeRec
from sgurinit.data.layouts.hkuds import Hkuds
from sgurinit.data.layouts.mmrec import MMRec
from sgurinit.data.layouts.mrlib import MRLib
from sgurinit.data.layouts.native import Native
from sgurinit.data.layouts.plain import Plain
from sgurinit.data.layouts.recbole import RecBole
from sgurinit.data.shipped import dataset_folder
from sgurinit.errors import InputError

LAYOUTS: tuple[Layout, ...] = (
    *(Hkuds(), MMRec(), Native(), MRLib(), RecBole(), Elliot(), Cornac(), FreeRec()),
    *(Plain("csv"), Plain("tsv"), Plain("parquet")),
)
"""All known layouts."""

_LISTED = 12  # most file names in a message


@dataclass(frozen=True)
class RecognizedLayout:
    """A layout, and the files by which it was recognized.

    See Also
    --------
    recognize_layout : Recognize the layout of a folder.
    """

    layout: Layout
    """The layout."""
    evidence: str
    """Names of the files by which it was recognized."""


def recognize_layout(path: str | Path) -> RecognizedLayout:
    """Recognize the layout of a folder.

    Parameters
    ----------
    path : str or Path
        A folder with a data set, or the name of a shipped one.

    Returns
    -------
    RecognizedLayout
        The only layout whose files are in the folder.

    Raises
    ------
    InputError
        If there is no such folder, or it is recognized as no layout or as more than one.

    See Also
    --------
    load_dataset : Load the data set in a folder.

    Examples
    --------
    >>> from sgurinit.data import recognize_layout
    >>> found = recognize_layout("xwines")
    >>> found.layout.name, found.evidence
    ('native', 'dataset.json, interactions.parquet')
    """
    folder = dataset_folder(path)
    if not folder.exists():
        raise InputError(
            f"{folder}: no such folder; give a folder with a data set, or the name 'planted' or "
            "'xwines'"
        )
    if not folder.is_dir():
        raise InputError(
            f"{folder}: this is a file; give the folder of a data set. From a raw log, `sgurinit "
            "prepare` makes a data set, and `sgurinit stream` computes starts directly"
        )
    matches = [
        RecognizedLayout(layout, evidence)
        for layout in LAYOUTS
        if (evidence := layout.find_evidence(folder))
    ]
    if len(matches) == 1:
        return matches[0]
    if matches:
        found = "; ".join(f"{match.layout.name} ({match.evidence})" for match in matches)
        raise InputError(f"{folder}: more than one layout: {found}; give each its own folder")
    expected = "; ".join(f"{layout.name}: {layout.expected_files}" for layout in LAYOUTS)
    raise InputError(
        f"{folder}: no known layout; looked for {expected}; found {_list_files(folder)}"
    )


def read_dataset(path: str | Path) -> Dataset:
    """Read the data set in a folder of any layout.

    Raises
    ------
    InputError
        As `recognize_layout`, and as `Layout.read` for faulty files.
    """
    try:
        folder = dataset_folder(path).resolve()
        return _read_folder(folder)
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # a name too long or with NUL, a loop
        raise InputError(f"{path}: cannot be read ({error})") from error


def _read_folder(folder: Path) -> Dataset:
    layout = recognize_layout(folder).layout
    try:
        return layout.read(folder)
    except InputError as error:
        if str(folder) in str(error):
            raise
        raise InputError(f"{folder}: {error}") from error


def _list_files(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir())
    if not names:
        return "nothing"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
