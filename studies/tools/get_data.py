"""Fetch the data that studies use, with the commands of ``studies/data.yaml``.

    python studies/tools/get_data.py NAME [NAME ...]

Data that are already there are not fetched again.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]


def sources() -> dict[str, Any]:
    """Return the content of ``studies/data.yaml``."""
    text = (ROOT / "studies" / "data.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def get(name: str, source: dict[str, Any]) -> None:
    """Run the commands of one data set in the root of the repository."""
    if (ROOT / source["folder"]).is_dir():
        print(f"{name}: {source['folder']} is already there")
        return
    for command in source["commands"]:
        print("$", command)
        arguments = [sys.executable, "-m", *shlex.split(command)]
        subprocess.run(arguments, cwd=ROOT, check=True)  # noqa: S603 - commands of the repository
    for path in source.get("remove", ()):
        (ROOT / path).unlink(missing_ok=True)


def main() -> None:
    """Fetch the data sets that are named."""
    known = sources()
    parser = argparse.ArgumentParser(description="Fetch the data that studies use.")
    parser.add_argument("names", nargs="+", choices=sorted(known), metavar="NAME")
    for name in parser.parse_args().names:
        get(name, known[name])


if __name__ == "__main__":
    main()
