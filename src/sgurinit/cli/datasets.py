"""Commands for public data sets."""

# ruff: noqa: PLC0415

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sgurinit.cli.app import add_group, console, print_json, print_line, set_stop_message
from sgurinit.cli.options import format_examples
from sgurinit.errors import InputError

datasets = add_group("datasets", "List and download public data sets.")


@datasets.command("list", epilog=format_examples("sgurinit datasets list amazon-2018"))
def list_(
    word: Annotated[
        str, typer.Argument(metavar="WORD", help="Show only names that contain this word.")
    ] = "",
) -> None:
    """List the public data sets that can be downloaded by name."""
    from sgurinit.data.catalog import CATALOG

    matching = [published for name, published in CATALOG.items() if word.lower() in name]
    if not matching:
        raise InputError(f"{word}: no name contains it; sgurinit datasets list shows all names")
    for published in matching:
        print_line(console, f"{published.name:<39} {published.license}")
    print_json({"datasets": [asdict(published) for published in matching]})


@datasets.command(epilog=format_examples("sgurinit datasets get ml-100k"))
def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name, as `datasets list` shows it.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the files. Default: a folder in the cache.")
    ] = None,
) -> None:
    """Download a public data set, unless it is already there."""
    from difflib import get_close_matches

    from sgurinit.data.catalog import CATALOG
    from sgurinit.data.download import download
    from sgurinit.report.terminal.progress import StageProgress

    published = CATALOG.get(name)
    if published is None:
        near = ", ".join(get_close_matches(name, CATALOG, 3)) or "see sgurinit datasets list"
        raise InputError(f"{name}: no data set of this name; {near}")
    print_line(console, f"license: {published.license}; {published.homepage}")
    set_stop_message("the partial download is kept; run the same command again to resume")
    with StageProgress(console) as progress:
        folder = download(published, out, progress)
    print_line(console, f"saved to {folder}")
    command = published.command.format(folder=folder)
    print_line(console, f"to read it: {command}")
    print_json({"folder": folder, "license": published.license, "command": command})
