"""Convert between layouts, and report what the target cannot hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sgurinit.data._planted import planted
from sgurinit.data.layouts.base import WritableLayout
from sgurinit.data.layouts.contents import Contents
from sgurinit.data.layouts.registry import LAYOUTS, recognize_layout
from sgurinit.data.shipped import dataset_folder
from sgurinit.errors import InputError
from sgurinit.files import new_folder


@dataclass(frozen=True)
class Conversion:
    """Report of a conversion.

    See Also
    --------
    convert : Write a data set in another layout.
    """

    source: str
    """Layout that was read, and the files by which it was recognized."""
    losses: tuple[str, ...]
    """What the source holds and the new folder does not, one line each."""
    advice: str
    """The framework's configuration to load the new folder, empty if none is needed."""


def writable_layouts() -> dict[str, WritableLayout]:
    """Return the layouts that can be written, by name."""
    return {layout.name: layout for layout in LAYOUTS if isinstance(layout, WritableLayout)}


def convert(source: str | Path, out: str | Path, to: str) -> Conversion:
    """Write a data set in another layout.

    The folder is written atomically. Ratings, times, titles and ids are kept where the layout can
    hold them.

    Parameters
    ----------
    source : str or Path
        A folder in any known layout, ``"planted"`` or ``"xwines"``.
    out : str or Path
        Folder to create.
    to : str
        Layout to write: native, recbole, mmrec, mrlib, elliot, cornac, freerec, csv, tsv or
        parquet.

    Returns
    -------
    Conversion
        What was read, what was lost, and how the framework loads the folder.

    Raises
    ------
    InputError
        If the source is faulty, the layout is unknown or cannot be written, or `out` exists and is
        not empty.

    See Also
    --------
    load_dataset : Load a data set from a folder.
    write_native : Write a data set in memory to a folder.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from sgurinit.data.convert import convert
    >>> with TemporaryDirectory() as folder:
    ...     done = convert("xwines", Path(folder, "wines"), to="recbole")
    >>> done.losses
    ('recbole cannot hold: text is converted from float16 to float32',)
    >>> print(done.advice.splitlines()[0])
    dataset: xwines  # in a folder of this name
    """
    target = writable_layouts().get(to)
    if target is None:
        raise InputError(
            f"to is {to!r}, which cannot be written; layouts: {', '.join(writable_layouts())}"
        )
    name, contents = _read(source)
    target.capabilities.check(contents)
    with new_folder(Path(out)) as folder:
        target.write(contents, folder)
    left_out = [f"not read: {what}" for what in contents.left_out]
    lost = [f"{to} cannot hold: {line}" for line in target.capabilities.losses(contents).values()]
    return Conversion(name, (*left_out, *lost), target.advice(contents))


def _read(source: str | Path) -> tuple[str, Contents]:
    """Read and check everything that a folder holds. Return its layout too."""
    if str(source) == "planted":
        return "planted, generated data", Contents.from_dataset(planted())
    try:
        folder = dataset_folder(source).resolve()
        found = recognize_layout(folder)
        contents = found.layout.contents(folder)
    except (OSError, RuntimeError) as error:  # no permission, a name too long, a loop of links
        raise InputError(f"{source}: cannot be read ({error})") from error
    try:
        contents.to_dataset(found.layout.name)  # for its checks, such as pairs in two splits
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    return f"{found.layout.name} ({found.evidence})", contents
