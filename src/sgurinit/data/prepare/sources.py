"""Raw logs, recognised by looking: where user, item, value and time are, and which items there are.

Nothing of a log is read here but its first line; `Source.scan` is a lazy query.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
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
_GZIP = b"\x1f\x8b"

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
    quoted : bool
        Whether fields of a text table may stand in double quotes.
    time_unit : str
        Unit of its times, where none is named.
    items : callable, optional
        Gives the table of the items: column item, and what is known about each.
    left_out : tuple of str
        Columns of the file that nothing is taken from.
    """

    kind: str
    path: Path
    columns: Mapping[str, str]
    separator: str | None = None
    header: tuple[str, ...] | None = None
    quoted: bool = False
    time_unit: str = "s"
    items: Catalogue | None = field(default=None, compare=False)
    left_out: tuple[str, ...] = ()

    def scan(self) -> pl.LazyFrame:
        """Query the columns user, item, value, time; text stays text."""
        columns = [pl.col(column).alias(role) for role, column in self.columns.items()]
        return self._scan().select(columns)

    def line(self, row: int) -> str:
        """Name a row the way an editor counts it."""
        if self.path.suffix == ".parquet":
            return f"row {row}"
        return f"line {row + 1 + (self.separator is not None and self.header is None)}"

    def _scan(self) -> pl.LazyFrame:
        if _suffix(self.path) in _JSON:
            return pl.scan_ndjson(self.path, schema=dict.fromkeys(self.columns.values(), pl.String))
        if self.path.suffix == ".parquet":
            return pl.scan_parquet(self.path, glob=False)
        return pl.scan_csv(
            self.path,
            separator=self.separator or ",",
            has_header=self.header is None,
            new_columns=list(self.header) if self.header is not None else None,
            infer_schema=False,
            quote_char='"' if self.quoted else None,
            glob=False,
        )


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
            _check_header(source, _fields(path, separator)[0])
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
    suffix, quoted = _suffix(path), False
    fields: tuple[str, ...] = ()
    if suffix in _JSON:
        separator = None
        found = tuple(_first_record(path))
    elif suffix == ".parquet":
        separator = None
        found = tuple(_schema(path))
    else:
        separator = separator or _SEPARATORS.get(suffix) or _guess(path)
        fields, quoted = _fields(path, separator)
        header = tuple(header) if header is not None else None
        found = header or fields
    roles = _roles(path, found, columns or {}, separator)
    source = Source(
        "", path, roles, separator, tuple(header) if header is not None else None, quoted,
        left_out=tuple(name for name in found if name not in roles.values()),
    )  # fmt: skip
    _check_roles(source, found)
    if fields:
        _check_header(source, fields)
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
    hint = f'name it as `columns["{role}"]`'
    if separator is not None:
        hint = (
            f"fields were separated at {separator!r}: give `separator` if that is wrong, `header` "
            f"if the file has none, or {hint}"
        )
    return InputError(f"{path}: {wanted} is missing; the file has {shown}; {hint}")


def _check_roles(source: Source, found: Sequence[str]) -> None:
    """Refuse a column that is there twice, or is taken twice."""
    taken: dict[str, str] = {}
    for role, column in source.columns.items():
        if found.count(column) > 1:
            raise InputError(f"{source.path}: column {column!r} is there twice; rename one")
        if column in taken:
            raise InputError(
                f"{source.path}: column {column!r} cannot be both the {taken[column]} and the "
                f'{role}; name another as `columns["{role}"]`'
            )
        taken[column] = role


def _check_header(source: Source, fields: Sequence[str]) -> None:
    """Compare names that stand for a header with the first line."""
    names = source.header
    if names is None:
        return
    if len(fields) != len(names):
        raise InputError(
            f"{source.path}: line 1 has {len(fields)} fields, separated at {source.separator!r}; "
            f"{len(names)} are expected: {', '.join(names)}"
        )
    ids = [fields[names.index(source.columns[role])] for role in ("user", "item")]
    if ids[0] in NAMES["user"] and ids[1] in NAMES["item"]:
        raise InputError(
            f"{source.path}: line 1 is a header, it has {ids[0]!r} and {ids[1]!r}; leave "
            '`header` out, and name columns as `columns["user"]`, `columns["item"]` and so on'
        )


def _suffix(path: Path) -> str:
    return path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix


def _schema(path: Path) -> pl.Schema:
    try:
        return pl.read_parquet_schema(path)  # type: ignore[return-value]
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path}: not a complete Parquet file ({first_line(error)})") from error


def _fields(path: Path, separator: str) -> tuple[tuple[str, ...], bool]:
    """Return the fields of the first line, and whether quotes count in the file.

    They do where fields end at a comma or a semicolon, as spreadsheets write them, and in any
    other file that begins with one.
    """
    line = _first_line(path)
    quoted = separator in (",", ";") or line.startswith('"')
    if not quoted:
        return tuple(line.split(separator)), False
    try:
        return tuple(next(csv.reader([line], delimiter=separator))), True
    except csv.Error as error:
        raise InputError(f"{path}: line 1 cannot be read ({error})") from error


def _first_line(path: Path) -> str:
    line = b""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            line = file.readline(_FIRST_BYTES)
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        packed = line.startswith(_GZIP)
        mend = "give its name the suffix .gz" if packed else "convert it, such as with iconv"
        raise InputError(f"{path}: not UTF-8 text; {mend}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); get the file again") from error
    if not text:
        raise InputError(f"{path}: the file is empty or begins with an empty line")
    if "\r" in text:
        raise InputError(f"{path}: lines end in a carriage return alone; a line feed is expected")
    return text


def _first_record(path: Path) -> dict[str, Any]:
    record, text = None, _first_line(path)
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        if file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8:
            raise InputError(
                f"{path}: begins with a byte order mark, which JSON has none of; remove it, such "
                "as with: tail -c +4"
            )
    with contextlib.suppress(ValueError):
        record = json.loads(text)
    if not isinstance(record, dict):
        raise InputError(f"{path}: line 1 is no JSON object; a file of JSON lines is expected")
    return record


def _guess(path: Path) -> str:
    line = _first_line(path)
    return max("\t,;|", key=line.count)


def first_line(error: BaseException) -> str:
    """Return the first line of what a library says."""
    return str(error).strip().split("\n", maxsplit=1)[0]
