"""Files of runs and comparisons: written whole or not at all, read with a clear word if broken."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sgurinit.errors import InputError


def write_json(path: Path, data: Any) -> None:
    """Write plain data as indented JSON. Numbers must be finite."""
    text = json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text."""
    _replace(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_table(path: Path, table: pl.DataFrame) -> None:
    """Write a table as CSV or Parquet by suffix, every number in full."""
    write = table.write_csv if path.suffix == ".csv" else table.write_parquet
    _replace(path, write)


def write_parts(path: Path, parts: Iterable[str]) -> None:
    """Write UTF-8 text that is made part by part, never as a whole in memory."""

    def write(partial: Path) -> None:
        with partial.open("w", encoding="utf-8") as file:
            file.writelines(parts)

    _replace(path, write)


def write_arrays(path: Path, *arrays: np.ndarray[Any, Any]) -> None:
    """Write arrays one behind the other, to be read by as many calls of ``np.load``."""

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            for array in arrays:
                np.save(file, array)

    _replace(path, write)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Make a folder: all of it, or nothing.

    What is written into the hidden folder that is given takes the name `path` at the very end.

    Raises
    ------
    InputError
        If there is something at `path` already, or it cannot be written there.
    """
    refuse_occupied(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            whole = Path(folder) / path.name
            whole.mkdir()
            yield whole
            whole.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error


def refuse_occupied(path: Path) -> None:
    """Refuse a folder that cannot be made because something is there, before long work."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(f"{path}: exists already; give a new folder, or remove it first")


def read_table(path: Path, columns: Sequence[str] | None = None, **where: Any) -> pl.DataFrame:
    """Read a CSV table, or no more of it than is wanted.

    Parameters
    ----------
    path
        The file.
    columns
        Which columns; all where None.
    where
        Rows of which column is equal to what.

    Raises
    ------
    InputError
        The file is missing or no such table.
    """
    try:
        table = pl.scan_csv(path).filter(**where) if where else pl.scan_csv(path)
        return (table if columns is None else table.select(columns)).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"{path}: expected a table of a finished comparison ({' '.join(str(error).split())}); "
            "the command that made the folder writes it again"
        ) from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    InputError
        The file is missing or no JSON object.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected a JSON file that can be read ({error})") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(data).__name__}")
    return data


def claim(path: Path, wanted: Mapping[str, Any]) -> None:
    """Write `wanted` to `path`, or check that the file there says the same.

    Raises
    ------
    InputError
        The folder belongs to something else; the message names the first field that differs.
    """
    if not path.is_file():
        write_json(path, wanted)
        return
    found = _flat(read_json(path))
    expected = _flat(json.loads(json.dumps(wanted)))
    for field in [*expected, *found]:
        if found.get(field) != expected.get(field):
            raise InputError(
                f"{path}: {field} is {_shown(found, field)} there and {_shown(expected, field)} "
                "now; choose another folder or the settings it was started with"
            )


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        write(partial)
        os.replace(partial, path)  # noqa: PTH105 - replaces an older file in one step
    finally:
        partial.unlink(missing_ok=True)


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as ``{"train.max_epochs": 5}``; an empty object is a value."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _shown(flat: Mapping[str, Any], field: str) -> str:
    return json.dumps(flat[field]) if field in flat else "absent"
