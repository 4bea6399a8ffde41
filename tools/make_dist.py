"""Build the distributions, with a README whose links also work outside of the repository.

    python tools/make_dist.py dist    # a source distribution, and a wheel made from it

A package index shows the README without the repository, so relative links and images are broken
there. This script replaces them by links into the repository, at the tag of the version. Options
after the folder are passed to ``python -m build``.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]

# Link targets in Markdown and HTML, except those with a scheme and those within the page.
_LINK = re.compile(r'(\]\(|(?:src|href)=")(?![a-z]+:|#)([^)"\s]+)')
_IMAGES = {".jpg", ".png", ".svg"}


def expand_links(text: str, source: str, tag: str) -> str:
    """Replace relative links by links into the repository at `source`, at `tag`."""

    def expand(match: re.Match[str]) -> str:
        opening, target = match.groups()
        kind = "raw" if Path(target).suffix in _IMAGES else "blob"
        return f"{opening}{source}/{kind}/{tag}/{target}"

    return _LINK.sub(expand, text)


def build(project: Path, out: Path, *options: str) -> None:
    """Run ``python -m build`` on `project`."""
    command = [sys.executable, "-m", "build", "--outdir", str(out), *options, str(project)]
    subprocess.run(command, check=True)  # noqa: S603 - arguments of this script


def main(out: Path, *options: str) -> None:
    """Build both distributions into the folder `out`."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    with TemporaryDirectory() as folder:
        place = Path(folder)
        build(ROOT, place, "--sdist", *options)
        (archive,) = place.glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(place, filter="data")
        unpacked = place / archive.name.removesuffix(".tar.gz")
        readme = unpacked / project["readme"]
        text = readme.read_text(encoding="utf-8")
        source, tag = project["urls"]["Source"], f"v{project['version']}"
        readme.write_text(expand_links(text, source, tag), encoding="utf-8")
        build(unpacked, out.resolve(), *options)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
