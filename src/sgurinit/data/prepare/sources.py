"""Raw logs, recognised by looking: where user, item, value and time are, and which items there are.

Nothing of a log is read here but its first line; `Source.scan` is a lazy query.
"""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from sgurinit.data.prepare import catalogues
from sgurinit.errors import InputError

ROLES = ("user", "item", "value", "time")

NAMES = {
    "user": (
        *("user", "user_id", "userId", "userID", "uid", "reviewerID", "USER"),
        *("customer_id", "customer", "visitor_id", "session_id"),
    ),
    "item": (
        "item",
        "item_id",
        "itemId",
        "itemID",
        "iid",
        "movieId",
        "parent_asin",
        "asin",
        "ITEM",
        "product_id",
        "article_id",
        "sku",
    ),
    "value": ("value", "rating", "ratings", "score", "overall", "RATING"),
    "time": ("time", "timestamp", "Timestamp", "unixReviewTime", "ts", "TIMESTAMP"),
}
"""Columns that are taken for a role where none is named, the first that is there."""

_HEADERLESS = ("user", "item", "value", "time")
_JSON = (".json", ".jsonl", ".ndjson")
_SEPARATORS = {".csv": ",", ".tsv": "\t", ".data": "\t", ".inter": "\t"}
_FIRST_BYTES = 1 << 20

Catalogue = Callable[[], pl.DataFrame]


@dataclass(frozen=True)
class Source:
    """A raw log.

    Parameters
    ----------
    kind : str
        What it was recognised as.
    path : Path
        The file with the interactions.
    columns : mapping of str to str
        Column of the file for each of user, item, and value and time where they are.
    separator : str, optional
        What separates the fields of a text table.
    header : tuple of str, optional
        Names of the columns of a file without a header.
    time_unit : str
        Unit of its times, where none is named.
    items : callable, optional
        Gives the table of the items: column item, and what is known about each.
    """

    kind: str
    path: Path
    columns: Mapping[str, str]
    separator: str | None = None
    header: tuple[str, ...] | None = None
    time_unit: str = "s"
    items: Catalogue | None = field(default=None, compare=False)

    def scan(self) -> pl.LazyFrame:
        """Query the columns user, item, value, time; text stays text."""
        frame = _scan(self.path, self.separator, self.header, self.columns.values())
        return frame.select(pl.col(column).alias(role) for role, column in self.columns.items())

    def line(self, row: int) -> str:
        """Name a row the way an editor counts it."""
        if self.path.suffix == ".parquet":
            return f"row {row}"
        return f"line {row + 1 + (self.separator is not None and self.header is None)}"


def find_source(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    header: Iterable[str] | None = None,
    separator: str | None = None,
    items: Path | None = None,
) -> Source:
    """Recognise a raw log.

    Parameters
    ----------
    path : Path
        A file of interactions, or a folder of MovieLens or of RecBole atomic files.
    columns : mapping of str to str, optional
        Column for user, item, value or time, where it has a name of its own.
    header : iterable of str, optional
        Names of the columns of a text table that has no header.
    separator : str, optional
        What separates the fields, where the suffix says otherwise or nothing.
    items : Path, optional
        A file that tells about the items.

    Raises
    ------
    InputError
        If the file is missing or cannot be read, or a column is missing.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file; give a log, or a folder of MovieLens or RecBole")
    source = _in_folder(path) if path.is_dir() else _file(path, columns, header, separator)
    if items is not None:
        names = (*filter(None, [(columns or {}).get("item")]), *NAMES["item"])
        source = replace(source, items=lambda: catalogues.read_catalogue(items, names))
    return source


def _in_folder(folder: Path) -> Source:
    """The log of a folder that is published as such."""
    movies = {
        "u.data": ("\t", None, ("u.item", catalogues.movielens_100k)),
        "ratings.dat": (":", ("user", "", "item", "", "value", "", "time"),
                        ("movies.dat", catalogues.movielens_1m)),
        "ratings.csv": (",", None, ("movies.csv", catalogues.movielens)),
    }  # fmt: skip
    for name, (separator, header, (catalogue, read)) in movies.items():
        path, items = folder / name, folder / catalogue
        if not path.is_file():
            continue
        if name == "ratings.csv":
            source = _file(path, None, None, separator)
        else:
            names = header or _HEADERLESS
            named = tuple(n or f"empty {i}" for i, n in enumerate(names))
            source = Source("", path, dict(zip(ROLES, ROLES, strict=True)), separator, named)
        told = (lambda: read(items)) if items.is_file() else None  # noqa: B023 - returned here
        return replace(source, kind=f"MovieLens ({name})", items=told)
    logs = sorted(folder.glob("*.inter"))
    if len(logs) == 1:
        return _file(logs[0], None, None, "\t")
    raise InputError(
        f"{folder}: no log in it is known: looked for u.data, ratings.dat, ratings.csv (MovieLens) "
        "and one <name>.inter (RecBole); give the file of the log itself"
    )


def _file(
    path: Path,
    columns: Mapping[str, str] | None,
    header: Iterable[str] | None,
    separator: str | None,
) -> Source:
    suffix = _suffix(path)
    if suffix in _JSON:
        separator = None
        found = tuple(_first_record(path))
    elif suffix == ".parquet":
        separator = None
        found = tuple(_schema(path))
    else:
        separator = separator or _SEPARATORS.get(suffix) or _guess(path)
        names = tuple(header) if header is not None else None
        found = names or tuple(f.strip('"') for f in _first_line(path).split(separator))
        header = names
    source = Source(
        "", path, _roles(path, found, columns or {}, separator), separator,
        tuple(header) if header is not None else None,
    )  # fmt: skip
    if suffix == ".inter":
        beside = path.with_suffix(".item")
        told = (lambda: catalogues.atomic(beside)) if beside.is_file() else None
        return replace(source, kind="RecBole atomic file", items=told)
    if {"parent_asin", "user_id"} <= set(found):
        return replace(source, kind="Amazon reviews 2023", time_unit="ms")
    if {"reviewerID", "asin"} <= set(found):
        return replace(source, kind="Amazon reviews 2014 or 2018")
    return replace(source, kind="log with named columns")


def _roles(
    path: Path, found: tuple[str, ...], named: Mapping[str, str], separator: str | None
) -> dict[str, str]:
    bare = {name.partition(":")[0]: name for name in found}  # a typed header, such as user_id:token
    roles = {}
    for role in ROLES:
        if role in named:
            if named[role] not in found and named[role] not in bare:
                raise _no_column(path, role, named[role], found, separator)
            roles[role] = bare.get(named[role], named[role])
            continue
        known = [bare[name] for name in NAMES[role] if name in bare]
        if known:
            roles[role] = known[0]
        elif role in ("user", "item"):
            raise _no_column(path, role, None, found, separator)
    return roles


def _no_column(
    path: Path, role: str, name: str | None, found: tuple[str, ...], separator: str | None
) -> InputError:
    wanted = f"column {name!r}" if name else f"no column is known as the {role}, it"
    shown = ", ".join(map(repr, found[:12]))
    hint = f"name it with --{role}"
    if separator is not None:
        hint = (
            f"fields were separated at {separator!r}: give --separator if that is wrong, --columns "
            f"if the file has no header, or {hint}"
        )
    return InputError(f"{path}: {wanted} is missing; the file has {shown}; {hint}")


def _scan(
    path: Path,
    separator: str | None,
    header: tuple[str, ...] | None,
    columns: Iterable[str],
) -> pl.LazyFrame:
    if _suffix(path) in _JSON:
        return pl.scan_ndjson(path, schema=dict.fromkeys(columns, pl.String))
    if path.suffix == ".parquet":
        return pl.scan_parquet(path, glob=False)
    return pl.scan_csv(
        path,
        separator=separator or ",",
        has_header=header is None,
        new_columns=list(header) if header is not None else None,
        infer_schema=False,
        quote_char='"' if separator == "," else None,
        glob=False,
    )


def _suffix(path: Path) -> str:
    return path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix


def _schema(path: Path) -> pl.Schema:
    try:
        return pl.read_parquet_schema(path)  # type: ignore[return-value]
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path}: not a complete Parquet file ({first_line(error)})") from error


def _first_line(path: Path) -> str:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            line = file.readline(_FIRST_BYTES)
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; convert it, such as with iconv") from None
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read ({error}); get the file again") from error
    if not text:
        raise InputError(f"{path}: the file is empty or begins with an empty line")
    return text


def _first_record(path: Path) -> dict[str, Any]:
    record = None
    with contextlib.suppress(ValueError):
        record = json.loads(_first_line(path))
    if not isinstance(record, dict):
        raise InputError(f"{path}: line 1 is no JSON object; a file of JSON lines is expected")
    return record


def _guess(path: Path) -> str:
    line = _first_line(path)
    return max("\t,;|", key=line.count)


def first_line(error: BaseException) -> str:
    """Return the first line of what a library says."""
    return str(error).strip().split("\n", maxsplit=1)[0]
