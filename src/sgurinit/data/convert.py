"""One layout to another, with a word for everything that the other cannot hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sgurinit.data._planted import planted
from sgurinit.data.layouts.base import WritableLayout
from sgurinit.data.layouts.contents import Contents
from sgurinit.data.layouts.registry import LAYOUTS, recognise
from sgurinit.data.shipped import folder_of
from sgurinit.errors import InputError
from sgurinit.files import new_folder


@dataclass(frozen=True)
class Converted:
    """What came of a conversion."""

    source: str
    """Layout that was read, and what it was recognised by."""
    losses: tuple[str, ...]
    """What the folder held and the new one does not, a line each."""
    advice: str
    """How the framework is told to read it, where that needs a word."""


def writable() -> dict[str, WritableLayout]:
    """Return the layouts that can be written, by name."""
    return {layout.name: layout for layout in LAYOUTS if isinstance(layout, WritableLayout)}


def convert(source: str | Path, out: str | Path, to: str) -> Converted:
    """Write a data set in another layout: all of it, or nothing.

    Parameters
    ----------
    source : str or Path
        Folder in any known layout, ``"planted"`` or ``"xwines"``.
    out : str or Path
        Folder to make.
    to : str
        Name of a layout.

    Returns
    -------
    Converted

    Raises
    ------
    InputError
        If the source is at fault, the layout is unknown or cannot be written, or `out` exists.
    """
    target = writable().get(to)
    if target is None:
        raise InputError(f"to is {to!r}, which cannot be written; layouts: {', '.join(writable())}")
    name, contents = _read(source)
    target.holds.check(contents)
    with new_folder(Path(out)) as folder:
        target.write(contents, folder)
    left_out = [f"not read: {what}" for what in contents.left_out]
    lost = [f"{to} cannot hold: {line}" for line in target.holds.losses(contents).values()]
    return Converted(name, (*left_out, *lost), target.advice(contents))


def _read(source: str | Path) -> tuple[str, Contents]:
    """Read and check all that a folder holds; and what it was recognised as."""
    if str(source) == "planted":
        return "planted, generated data", Contents.of(planted())
    try:
        folder = folder_of(source).resolve()
        found = recognise(folder)
        contents = found.layout.contents(folder)
    except (OSError, RuntimeError) as error:  # no permission, a name too long, a loop of links
        raise InputError(f"{source}: cannot be read ({error})") from error
    try:
        contents.dataset(found.layout.name)  # its checks: splits share no pair, ids are whole
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    return f"{found.layout.name} ({found.saw})", contents
