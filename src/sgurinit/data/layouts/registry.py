"""Which layout a folder has, found out by looking."""

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
from sgurinit.data.shipped import folder_of
from sgurinit.errors import InputError

LAYOUTS: tuple[Layout, ...] = (
    *(Hkuds(), MMRec(), Native(), MRLib(), RecBole(), Elliot(), Cornac(), FreeRec()),
    *(Plain("csv"), Plain("tsv"), Plain("parquet")),
)

_LISTED = 12


@dataclass(frozen=True)
class Recognised:
    """A layout and what in the folder spoke for it."""

    layout: Layout
    saw: str


def recognise(path: str | Path) -> Recognised:
    """Find the layout of a folder.

    Parameters
    ----------
    path : str or Path
        A folder with a data set, or the name of a shipped one.

    Returns
    -------
    Recognised
        The one layout whose files are there.

    Raises
    ------
    InputError
        If there is no such folder, or no layout or more than one is recognised in it.
    """
    folder = folder_of(path)
    if not folder.exists():
        raise InputError(
            f"{folder}: no such folder; give a folder with a data set, or the name 'planted' or "
            "'xwines'"
        )
    if not folder.is_dir():
        raise InputError(
            f"{folder}: a file; give the folder that holds the data set. Of a raw log `sgurinit "
            "prepare` makes one, and `sgurinit stream` computes starts from it as it is"
        )
    matches = [Recognised(layout, saw) for layout in LAYOUTS if (saw := layout.sees(folder))]
    if len(matches) == 1:
        return matches[0]
    if matches:
        seen = "; ".join(f"{match.layout.name} ({match.saw})" for match in matches)
        raise InputError(f"{folder}: more than one layout: {seen}; give each its own folder")
    sought = "; ".join(f"{layout.name}: {layout.sought}" for layout in LAYOUTS)
    raise InputError(f"{folder}: no known layout; looked for {sought}; found {_listing(folder)}")


def read(path: str | Path) -> Dataset:
    """Read the data set in a folder, whatever its layout.

    Raises
    ------
    InputError
        As `recognise`, and as `Layout.read` for what is wrong inside.
    """
    try:
        folder = folder_of(path).resolve()
        return _read(folder)
    except (OSError, RuntimeError) as error:  # no permission, a name too long, a loop of links
        raise InputError(f"{path}: cannot be read ({error})") from error


def _read(folder: Path) -> Dataset:
    layout = recognise(folder).layout
    try:
        return layout.read(folder)
    except InputError as error:
        if str(folder) in str(error):
            raise
        raise InputError(f"{folder}: {error}") from error


def _listing(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir())
    if not names:
        return "nothing"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
