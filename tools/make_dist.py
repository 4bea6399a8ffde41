"""The distributions, with a README that also reads well away from the repository.

python tools/make_dist.py dist    # a source distribution, and a wheel made of it

A package index shows the README by itself, so there its relative links and images lead nowhere.
Here they become links into the repository, at the tag of the version. Options after the folder go
to ``python -m build``.
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

# Targets of Markdown and of HTML, but none with a scheme and none within the page.
_LINK = re.compile(r'(\]\(|(?:src|href)=")(?![a-z]+:|#)([^)"\s]+)')
_IMAGES = {".jpg", ".png", ".svg"}


def with_full_links(text: str, source: str, tag: str) -> str:
    """Text whose relative links lead into the repository at `source`, at `tag`."""

    def full(match: re.Match[str]) -> str:
        opening, target = match.groups()
        kind = "raw" if Path(target).suffix in _IMAGES else "blob"
        return f"{opening}{source}/{kind}/{tag}/{target}"

    return _LINK.sub(full, text)


def build(project: Path, out: Path, *options: str) -> None:
    """Run ``python -m build`` on `project`."""
    command = [sys.executable, "-m", "build", "--outdir", str(out), *options, str(project)]
    subprocess.run(command, check=True)  # noqa: S603 - our own words


def main(out: Path, *options: str) -> None:
    """Write both distributions into `out`."""
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
        readme.write_text(with_full_links(text, source, tag), encoding="utf-8")
        build(unpacked, out.resolve(), *options)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
