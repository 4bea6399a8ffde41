"""Reading and writing files: atomic writes, and clear errors for broken files."""

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
    """Write plain data as indented JSON, atomically. Numbers must be finite."""
    text = json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    _replace(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_table(path: Path, table: pl.DataFrame) -> None:
    """Write a table atomically, as CSV or Parquet by suffix, with all digits of every number."""
    write = table.write_csv if path.suffix == ".csv" else table.write_parquet
    _replace(path, write)


def write_parts(path: Path, parts: Iterable[str]) -> None:
    """Write UTF-8 text atomically, part by part, so that memory never holds all of it."""

    def write(partial: Path) -> None:
        with partial.open("w", encoding="utf-8") as file:
            file.writelines(parts)

    _replace(path, write)


def write_arrays(path: Path, *arrays: np.ndarray[Any, Any]) -> None:
    """Write arrays one after another, atomically; as many calls of ``np.load`` read them."""

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            for array in arrays:
                np.save(file, array)

    _replace(path, write)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Context manager: create a folder atomically.

    It returns a hidden folder to write into, which is renamed to `path` at the end. After an
    exception it is removed.

    Raises
    ------
    InputError
        `path` exists already, or it cannot be written.
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
    """Refuse a new folder whose path exists and is not an empty folder, before long work."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(f"{path}: exists already; give a new folder, or remove it first")


def read_table(path: Path, columns: Sequence[str] | None = None, **where: Any) -> pl.DataFrame:
    """Read a CSV table, or some columns and rows of it.

    Parameters
    ----------
    path : Path
        The file.
    columns : sequence of str, optional
        Columns to read; all by default.
    **where
        Values by column name; only rows with these values are read.

    Raises
    ------
    InputError
        The file is missing, or is not such a table.
    """
    try:
        table = pl.scan_csv(path).filter(**where) if where else pl.scan_csv(path)
        return (table if columns is None else table.select(columns)).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"{path}: expected a table of a finished comparison ({' '.join(str(error).split())}); "
            "run the command that wrote the folder again"
        ) from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    InputError
        The file is missing or not a JSON object.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected a JSON file that can be read ({error})") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(data).__name__}")
    return data


def claim(path: Path, settings: Mapping[str, Any]) -> None:
    """Claim a folder for some settings: write them to `path`, or check those already there.

    Raises
    ------
    InputError
        `path` holds other settings; the message names the first field that differs.
    """
    if not path.is_file():
        write_json(path, settings)
        return
    found = _flatten(read_json(path))
    expected = _flatten(json.loads(json.dumps(settings)))
    for field in [*expected, *found]:
        if found.get(field) != expected.get(field):
            raise InputError(
                f"{path}: {field} is {_show(found, field)} there and {_show(expected, field)} "
                "now; choose another folder, or the settings that it was created with"
            )


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        write(partial)
        os.replace(partial, path)  # noqa: PTH105 - replaces an older file in one step
    finally:
        partial.unlink(missing_ok=True)


def _flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested objects to ``{"train.max_epochs": 5}``; an empty object is a value."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _show(flat: Mapping[str, Any], field: str) -> str:
    return json.dumps(flat[field]) if field in flat else "absent"
