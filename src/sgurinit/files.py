"""Reading and writing files: atomic writes, and clear errors for broken files."""

from __future__ import annotations

import json
import logging
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors import SafetensorError
from safetensors.numpy import save_file

from sgurinit._parquet_pages import check_pages
from sgurinit.errors import InputError
from sgurinit.locks import claim_file, claim_hidden, clear_folder

logger = logging.getLogger("sgurinit")

READ_ERRORS = (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What polars raises for a file that it cannot read."""

_BLOCK_BYTES = 1 << 24
_CHECKSUM_BYTES = 4

# Without it, polars ends with a panic at times with a zone such as +05:30.
os.environ.setdefault("POLARS_IGNORE_TIMEZONE_PARSE_ERROR", "1")


def write_json(path: Path, data: Any) -> None:
    """Write plain data as indented JSON, atomically. Numbers must be finite."""
    text = json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    replace_file(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_table(path: Path, table: pl.DataFrame) -> None:
    """Write a table atomically, as CSV or Parquet by suffix, with all digits of every number."""
    write = table.write_csv if path.suffix == ".csv" else table.write_parquet
    replace_file(path, write)


def write_parts(path: Path, parts: Iterable[str]) -> None:
    """Write UTF-8 text atomically, part by part, so that memory never holds all of it."""

    def write(partial: Path) -> None:
        with partial.open("w", encoding="utf-8") as file:
            file.writelines(parts)

    replace_file(path, write)


def write_arrays(path: Path, *arrays: np.ndarray[Any, Any]) -> None:
    """Write arrays one after another and a checksum, atomically, for `read_arrays`."""

    def write(partial: Path) -> None:
        with partial.open("w+b") as file:
            for array in arrays:
                np.save(file, array)
            file.flush()
            checksum = compute_checksum(partial, file.tell())
            assert checksum is not None  # noqa: S101 - all of it was just written
            file.write(checksum.to_bytes(_CHECKSUM_BYTES, "little"))

    replace_file(path, write)


def read_arrays(path: Path, count: int) -> list[np.ndarray[Any, Any]]:
    """Read the arrays that `write_arrays` wrote.

    Raises
    ------
    InputError
        The file is missing or damaged.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END) - _CHECKSUM_BYTES
            file.seek(max(0, size))
            if size <= 0 or compute_checksum(path, size) != int.from_bytes(file.read(), "little"):
                raise InputError(f"{path}: wrong checksum")
            file.seek(0)
            return [np.load(file) for _ in range(count)]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error})") from error


def compute_checksum(path: Path, size: int) -> int | None:
    """Compute the CRC-32 of the first bytes of a file; None if it has fewer."""
    checksum = 0
    with path.open("rb") as file:
        while size > 0:
            block = file.read(min(size, _BLOCK_BYTES))
            if not block:
                return None
            checksum, size = zlib.crc32(block, checksum), size - len(block)
    return checksum


def write_tensors(
    path: Path,
    tensors: Mapping[str, np.ndarray[Any, Any]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a safetensors file atomically. Equal content gives equal bytes."""

    def write(partial: Path) -> None:
        contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
        save_file(contiguous, partial, metadata=None if metadata is None else dict(metadata))
        sort_metadata(partial)

    replace_file(path, write)


def sort_metadata(path: Path) -> None:
    """Sort the metadata of a safetensors file, which the library writes in a random order."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        if "__metadata__" not in header:
            return
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        file.seek(8)
        file.write(text.ljust(size))


def create_array(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """Create a memory-mapped ``.npy`` file of zeros whose space on the disk is reserved.

    A file with holes would silently end the process where the disk is full.
    """
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file atomically: under a hidden name beside it, then in its place.

    Parameters
    ----------
    path : Path
        The file. Of two processes that write it at once, one waits for the other.
    write : callable
        Writes the content to the path that it is called with.

    Raises
    ------
    InputError
        The file cannot be written. An older file is kept.
    """
    partial = path.absolute().with_name(f".{path.name}.partial")
    with explain_write_errors(path), claim_file(path):
        try:
            partial.unlink(missing_ok=True)  # of a process that was killed
            partial.touch()
            mode = partial.stat().st_mode
            write(partial)
            partial.chmod(mode)  # some libraries make files that only their owner can read
            os.replace(partial, path)  # noqa: PTH105 - replaces an older file in one step
        finally:
            with suppress(OSError):  # the first error is the one to report
                partial.unlink(missing_ok=True)


@contextmanager
def explain_write_errors(path: Path, advice: str = "") -> Iterator[None]:
    """Context manager: raise what the system says against writing `path` as an `InputError`."""
    try:
        yield
    except (OSError, SafetensorError, pl.exceptions.PolarsError) as error:
        reason = find_system_error(error)
        if reason is None:
            raise
        raise InputError(f"{path}: cannot be written ({reason}){advice}") from error


def find_system_error(error: Exception) -> str | None:
    """Return what the system said, such as "No space left on device"; None for other errors."""
    found = re.search(r"\(os error (\d+)\)", str(error))  # as libraries in Rust report it
    if found:
        return os.strerror(int(found[1]))
    return (error.strerror or str(error)) if isinstance(error, OSError) else None


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Context manager: create a folder atomically.

    It returns a hidden folder to write into, which is renamed to `path` at the end. After an
    exception it is removed. What a killed process left is removed by the next.

    Raises
    ------
    InputError
        `path` exists already, it cannot be written, or another process writes it.
    """
    with claim_unfinished(path) as whole, explain_write_errors(path):
        work = whole.parent
        if clear_folder(work):
            logger.warning("%s: removed what an interrupted command left in %s", path, work)
        try:
            whole.mkdir()
            yield whole
            whole.replace(path)
        finally:
            with suppress(OSError):  # the first error is the one to report
                clear_folder(work)


@contextmanager
def claim_unfinished(path: Path) -> Iterator[Path]:
    """Context manager: reserve a new folder, and return the hidden place to make it in.

    The place is the only entry of a hidden folder that counts: once it is moved to `path`, the
    rest is litter. The hidden folder stays unless it is empty.

    Raises
    ------
    InputError
        `path` exists already, it cannot be written, or another process writes it.
    """
    refuse_occupied(path)
    whole = find_unfinished(path)
    with claim_hidden(whole.parent, path):
        refuse_occupied(path)  # another process may just have finished it
        yield whole


def find_unfinished(path: Path) -> Path:
    """Return the hidden place of a new folder until it is finished."""
    whole = Path(os.path.abspath(path))  # noqa: PTH100 - ".." too gets a name
    if not whole.name or "\0" in whole.name:
        raise InputError(f"{path}: cannot be the name of a new folder; give another")
    as_plain_path(whole)
    return whole.with_name(f".{whole.name}.partial") / whole.name


def refuse_occupied(path: Path) -> None:
    """Refuse a new folder whose path exists and is not an empty folder, before long work."""
    with explain_write_errors(path):
        if path.is_symlink():
            raise InputError(f"{path}: is a link; give a new folder, or what the link stands for")
        is_free = not path.exists() or (path.is_dir() and not any(path.iterdir()))
    if not is_free:
        whole = find_unfinished(path)
        if whole.parent.is_dir() and not whole.exists():  # killed after it had moved the result
            with suppress(InputError, OSError), claim_hidden(whole.parent, path):
                clear_folder(whole.parent)
        raise InputError(f"{path}: exists already; give a new folder, or remove it first")


def scan_parquet(path: Path) -> pl.LazyFrame:
    """Query a Parquet file. Characters such as ``[`` and ``*`` in its name mean themselves.

    Raises
    ------
    InputError
        A page is damaged in a way that would end the process, or the file claims too many rows.
    """
    check_pages(path)
    return pl.scan_parquet(as_plain_path(path), glob=False)


def as_plain_path(path: Path) -> str:
    """Return a path as polars reads it literally: absolute, for it takes ``~`` for a home folder.

    Raises
    ------
    InputError
        The path is not UTF-8 text.
    """
    text = str(path.absolute())
    if text != text.encode(errors="ignore").decode():
        raise InputError(f"{path}: the path is not UTF-8 text, as files need here; rename a folder")
    return text


def read_table(
    path: Path,
    columns: Sequence[str] | None = None,
    types: Mapping[str, pl.DataType | type[pl.DataType]] | None = None,
    **where: Any,
) -> pl.DataFrame:
    """Read a CSV table, or some columns and rows of it.

    Parameters
    ----------
    path : Path
        The file.
    columns : sequence of str, optional
        Columns to read; all by default.
    types : mapping of str to data type, optional
        Types of columns, by name, such as text that may look like numbers. By default, and for
        others, the type that their values look like.
    **where
        Values by column name; only rows with these values are read.

    Raises
    ------
    InputError
        The file is missing, or is not such a table.
    """
    try:
        table = pl.scan_csv(as_plain_path(path), glob=False, schema_overrides=types)
        table = table.filter(**where) if where else table
        return (table if columns is None else table.select(columns)).collect()
    except READ_ERRORS as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{path}: expected a table of a finished comparison ({reason:.200}); "
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
    except (OSError, ValueError, RecursionError) as error:
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
