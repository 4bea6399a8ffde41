"""Commands that list and get public data sets."""

# ruff: noqa: PLC0415

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sgurinit.cli.app import console, emit, group, if_stopped, say
from sgurinit.cli.options import examples
from sgurinit.errors import InputError

datasets = group("datasets", "Public data sets: what there is, and how to get it.")


@datasets.command("list", epilog=examples("sgurinit datasets list amazon-2018"))
def list_(
    word: Annotated[
        str, typer.Argument(metavar="WORD", help="Show only names that contain it.")
    ] = "",
) -> None:
    """List the public data sets that can be downloaded by name."""
    from sgurinit.data.catalog import CATALOG

    found = [published for name, published in CATALOG.items() if word.lower() in name]
    if not found:
        raise InputError(f"{word}: part of no name; sgurinit datasets list shows all")
    for published in found:
        say(console, f"{published.name:<39} {published.licence}")
    emit({"datasets": [asdict(published) for published in found]})


@datasets.command(epilog=examples("sgurinit datasets get ml-100k"))
def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name, as `datasets list` shows it.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the files. Default: one in the cache.")
    ] = None,
) -> None:
    """Download a public data set, once."""
    from difflib import get_close_matches

    from sgurinit.data.catalog import CATALOG
    from sgurinit.data.download import download
    from sgurinit.report.terminal.progress import StageProgress

    published = CATALOG.get(name)
    if published is None:
        near = ", ".join(get_close_matches(name, CATALOG, 3)) or "see sgurinit datasets list"
        raise InputError(f"{name}: no data set of this name; {near}")
    say(console, f"licence: {published.licence}; {published.home}")
    if_stopped("what was downloaded is kept; run the same command again to resume")
    with StageProgress(console) as progress:
        folder = download(published, out, progress)
    say(console, f"in {folder}")
    command = published.reads.format(folder=folder)
    say(console, f"to read it: {command}")
    emit({"folder": folder, "licence": published.licence, "reads": command})
