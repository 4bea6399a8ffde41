"""Tables of items, with titles and other text, in the formats in which they are published.

Every reader returns a table with the column item, as text, and columns that describe the items.
Unknown values are null.
"""

from __future__ import annotations

import ast
import json
import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

import polars as pl

from sgurinit.data.item_vectors import is_vector_type
from sgurinit.data.layouts.tables import (
    holds_values,
    read_parquet_table,
    read_text_table,
    require_columns,
)
from sgurinit.data.packed import open_gzip
from sgurinit.errors import InputError

logger = logging.getLogger("sgurinit")

_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary",
    "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi",
    "Thriller", "War", "Western",
)  # fmt: skip
_YEAR = r"^(.*?)\s*\((\d{4})\)\s*$"

# Fields of the Amazon product files of 2014 to 2023, by the column they are read into.
_AMAZON = {
    "title": ("title",),
    "brand": ("brand", "store"),
    "categories": ("categories", "category"),
    "features": ("features", "feature"),
    "description": ("description",),
    "image_url": ("imUrl", "imageURLHighRes", "images"),
}


def read_item_table(path: Path, names: Sequence[str]) -> pl.DataFrame:
    """Read a table of items: CSV, TSV, Parquet, RecBole's `.item`, or Amazon's product files.

    Parameters
    ----------
    path : Path
        The file. Text may be gzipped.
    names : sequence of str
        Possible names of the column of item ids. The first that the file has is used.

    Returns
    -------
    DataFrame
        The column item, and columns that describe the items.

    Raises
    ------
    InputError
        If the file cannot be read or has no column of ids.
    """
    if not path.is_file():
        raise InputError(f"{path}: file is missing")
    stem = path.with_suffix("") if path.suffix == ".gz" else path
    if stem.suffix in (".json", ".jsonl", ".ndjson"):
        return _read_amazon_products(path)
    if stem.suffix == ".item":
        return read_recbole_items(path)
    if stem.suffix == ".parquet":
        table = _check_types(path, read_parquet_table(path))
    else:
        separator = "," if stem.suffix == ".csv" else "\t"
        table = read_text_table(path, separator, quoted=True)
    column = next((name for name in names if name in table.columns), None)
    if column is None:
        raise InputError(
            f"{path}: no column of item ids; looked for {', '.join(names)}, the file has "
            f"{', '.join(map(repr, table.columns))}"
        )
    if column != "item" and "item" in table.columns:
        raise InputError(f"{path}: has both {column!r} and 'item'; rename one of the two")
    table = table.rename({column: "item"}).with_columns(pl.col("item").cast(pl.String))
    if table["item"].has_nulls():
        at = table["item"].is_null().arg_true()[0]
        raise InputError(
            f"{path}: row {at + 1}: {column} is missing; fill it in, or remove the row"
        )
    return table


def _check_types(path: Path, table: pl.DataFrame) -> pl.DataFrame:
    for name, dtype in table.schema.items():
        if dtype.is_nested() and not (holds_values(dtype) or is_vector_type(dtype)):
            raise InputError(
                f"{path}: column {name} is {dtype}; text, numbers, or lists of them are expected"
            )
    return table


def read_recbole_items(path: Path) -> pl.DataFrame:
    """Read RecBole's `.item` file. The types in its header are dropped; values stay text."""
    table = read_text_table(path, "\t")
    names = [name.partition(":")[0] for name in table.columns]
    if "item_id" not in names:
        raise InputError(f"{path}: column item_id:token is missing")
    names[names.index("item_id")] = "item"
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path}: column {name!r} is repeated; rename one")
    return table.rename(dict(zip(table.columns, names, strict=True)))


def read_movielens_100k(path: Path) -> pl.DataFrame:
    """Read `u.item`: Latin-1, fields separated by bars, one flag per genre."""

    def parse(fields: list[str]) -> dict[str, str]:
        genres = [name for name, flag in zip(_GENRES, fields[5:], strict=True) if flag == "1"]
        return {"item": fields[0], "title": fields[1], "genres": ", ".join(genres)}

    return _read_movies(path, "|", 24, parse)


def read_movielens_1m(path: Path) -> pl.DataFrame:
    """Read `movies.dat`: Latin-1, fields separated by double colons."""

    def parse(fields: list[str]) -> dict[str, str]:
        return {"item": fields[0], "title": fields[1], "genres": fields[2].replace("|", ", ")}

    return _read_movies(path, "::", 3, parse)


def read_movielens(path: Path) -> pl.DataFrame:
    """Read `movies.csv` of the later MovieLens sets."""
    table = read_item_table(path, ["movieId"])
    require_columns(path, table, ["title", "genres"])
    return _split_years(
        table.with_columns(pl.col("genres").str.replace_all("|", ", ", literal=True))
    )


def _read_movies(
    path: Path, separator: str, count: int, parse: Callable[[list[str]], dict[str, str]]
) -> pl.DataFrame:
    rows = []
    text = path.read_text(encoding="latin-1").removesuffix("\n")
    for number, line in enumerate(text.split("\n"), 1):
        fields = line.split(separator)
        if len(fields) != count:
            raise InputError(
                f"{path}: line {number}: {len(fields)} fields; {count} are expected, separated at "
                f"{separator!r}"
            )
        rows.append(parse(fields))
    return _split_years(pl.DataFrame(rows))


def _split_years(table: pl.DataFrame) -> pl.DataFrame:
    """Split ``Toy Story (1995)`` into title and year."""
    title = pl.col("title")
    return table.with_columns(
        title=title.str.extract(_YEAR, 1).fill_null(title.str.strip_chars()),
        year=title.str.extract(_YEAR, 2),
    )


def _read_amazon_products(path: Path) -> pl.DataFrame:
    rows: dict[str, dict[str, str | None]] = {}
    changed: set[str] = set()
    for number, record in _read_records(path):
        item = record.get("parent_asin") or record.get("asin") or record.get("item")
        if not isinstance(item, str):
            raise InputError(
                f"{path}: line {number}: asin and parent_asin are missing; one is expected"
            )
        row: dict[str, str | None] = {"item": item}
        for column, fields in _AMAZON.items():
            row[column] = _to_text(next((record[f] for f in fields if record.get(f)), None))
        if rows.setdefault(item, row) != row:
            rows[item] = row
            changed.add(item)
    if not rows:
        raise InputError(f"{path}: the file is empty")
    if changed:
        logger.warning(
            "%s: %s of %s items are described more than once, such as %s; the last is used",
            path, f"{len(changed):,}", f"{len(rows):,}", repr(next(iter(changed))),
        )  # fmt: skip
    return pl.DataFrame(list(rows.values()), schema=dict.fromkeys(["item", *_AMAZON], pl.String))


def _read_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the lines of a file as records: JSON, or Python literals in the files of 2014."""
    number = 0
    try:
        with _open_text(path) as file:
            for number, line in enumerate(file, 1):
                record = json.loads(line) if line.startswith('{"') else ast.literal_eval(line)
                if not isinstance(record, dict):
                    raise ValueError(f"found {type(record).__name__}")
                yield number, record
    except InputError:
        raise
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; convert it, such as with iconv") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); get the file again") from error
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise InputError(f"{path}: line {number} is not a JSON object ({_brief(error)})") from error


def _open_text(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return TextIOWrapper(open_gzip(path), encoding="utf-8")
    return path.open(encoding="utf-8")


def _to_text(value: Any) -> str | None:
    """Return nested values as one text. For images, return the address of the first."""
    if isinstance(value, dict):
        value = value.get("hi_res") or value.get("large") or value.get("thumb")
    if isinstance(value, list):
        if value and isinstance(value[0], dict):
            return _to_text(value[0])
        parts = [part for part in map(_to_text, value) if part]
        if parts and all(part.startswith("http") for part in parts):
            return parts[0]
        return ", ".join(dict.fromkeys(parts)) or None
    return str(value).strip() or None if value is not None else None


def _brief(error: BaseException) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0]
