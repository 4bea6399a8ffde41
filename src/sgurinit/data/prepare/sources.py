"""Recognize raw logs: the columns of user, item, value and time, and the table of items.

Only the first line of a log is read here, and from JSON lines the names of all fields.
`Source.scan` is a lazy query.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import glob
import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from sgurinit.data.layouts.tables import read_parquet_types
from sgurinit.data.layouts.text_lines import TextForm, check_beginning, inspect_text, open_bytes
from sgurinit.data.packed import check_gzip
from sgurinit.data.prepare import item_tables
from sgurinit.errors import InputError
from sgurinit.files import READ_ERRORS, as_plain_path, scan_parquet

ROLES = ("user", "item", "value", "time")

COLUMN_NAMES = {
    "user": (
        *("user", "user_id", "userId", "userID", "uid", "reviewerID", "USER"),
        *("customer_id", "customer", "visitor_id", "session_id"),
    ),
    "item": (
        *("item", "item_id", "itemId", "itemID", "iid", "movieId", "parent_asin", "asin", "ITEM"),
        *("product_id", "article_id", "sku"),
    ),
    "value": ("value", "rating", "ratings", "score", "overall", "RATING"),
    "time": ("time", "timestamp", "Timestamp", "unixReviewTime", "ts", "TIMESTAMP"),
}
"""Default column names of each role. The first that the file has is used."""

_HEADERLESS = ("user", "item", "value", "time")
_JSON = (".json", ".jsonl", ".ndjson")
_SEPARATORS = {".csv": ",", ".tsv": "\t", ".data": "\t", ".inter": "\t"}
_FIRST_BYTES = 1 << 20
_FIRST_RECORDS = 1000

ItemTableReader = Callable[[], pl.DataFrame]


@dataclass(frozen=True)
class Source:
    """A raw log, with the columns to read.

    `find_source` makes one. Nothing is checked here.

    Parameters
    ----------
    kind : str
        What the log was recognized as.
    path : Path
        File with the interactions.
    columns : mapping of str to str
        Column name of each role: user, item and, where the file has them, value and time.
    separator : str, optional
        Separator of the fields of a text table.
    header : tuple of str, optional
        Names of all columns of a text table without a header line.
    quoted : bool, default False
        Whether fields of a text table may be in double quotes. If none is, a quote is a character
        like any other.
    time_unit : str, default "s"
        Unit of the times, unless `prepare` is given another.
    items : callable, optional
        Returns the table of items: a column item, and columns that describe it.
    left_out : tuple of str
        Columns of the file that are not used.

    See Also
    --------
    find_source : Recognize a log.
    prepare : Make a data set from a log.
    """

    kind: str
    path: Path
    columns: Mapping[str, str]
    separator: str | None = None
    header: tuple[str, ...] | None = None
    quoted: bool = False
    time_unit: str = "s"
    items: ItemTableReader | None = field(default=None, compare=False)
    left_out: tuple[str, ...] = ()

    @cached_property
    def form(self) -> TextForm | None:
        """Records and quotes of a text table, for which all of it is looked at; else None."""
        if self.separator is None:
            return None
        return inspect_text(self.path, self.separator, quoted=self.quoted)

    def scan(self) -> pl.LazyFrame:
        """Return a lazy query of the columns user, item, value and time. Text stays text."""
        columns = [pl.col(column).alias(role) for role, column in self.columns.items()]
        return self._scan(self.columns.values()).select(columns)

    def scan_left_out(self) -> pl.LazyFrame:
        """Return a lazy query of the columns that are not used. Text stays text."""
        names = list(dict.fromkeys(self.left_out))
        return self._scan(names).select(names)

    def check_count(self, n_read: int) -> None:
        """Refuse another number of rows than a text table has.

        Raises
        ------
        InputError
            Naming both numbers.
        """
        if self.form is not None:
            self.form.check_count(self.path, n_read, header=self.header is None)

    def row_label(self, row: int) -> str:
        """Return a name of a row for messages: the line as an editor counts it, or the row."""
        if self.path.suffix == ".parquet":
            return f"row {row}"
        header = int(self.form is not None and self.header is None)
        if self.form is not None and self.form.line_breaks:
            return f"record {row + 1 + header}"
        return f"line {row + 1 + header}"

    def _scan(self, names: Iterable[str]) -> pl.LazyFrame:
        if _suffix(self.path) in _JSON:
            pattern = glob.escape(as_plain_path(self.path))  # which matches this file alone
            return pl.scan_ndjson(pattern, schema=dict.fromkeys(names, pl.String))
        if self.path.suffix == ".parquet":
            return scan_parquet(self.path)
        return pl.scan_csv(
            as_plain_path(self.path),
            separator=self.separator or ",",
            has_header=self.header is None,
            new_columns=list(self.header) if self.header is not None else None,
            infer_schema=False,
            quote_char='"' if self.form is not None and self.form.quoted else None,
            glob=False,
        )


def find_source(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    header: Iterable[str] | None = None,
    separator: str | None = None,
    items: str | Path | None = None,
) -> Source:
    r"""Recognize a raw log, and find its columns.

    Parameters
    ----------
    path : str or Path
        A CSV, TSV, Parquet or JSON lines file, also gzipped; or a folder of MovieLens or of RecBole
        atomic files.
    columns : mapping of str to str, optional
        Column name of the roles ``"user"``, ``"item"``, ``"value"`` and ``"time"``. Default: the
        first of `COLUMN_NAMES` that the file has.
    header : iterable of str, optional
        Names of all columns, for a text table without a header line.
    separator : str, optional
        Separator of the fields of a text table. Default: by the suffix, or else guessed.
    items : str or Path, optional
        File with a table of the items: CSV, TSV, Parquet, RecBole's ``.item`` or Amazon's product
        files. Default: the one that belongs to a folder of MovieLens or RecBole.

    Returns
    -------
    Source
        The log, to be given to `prepare`.

    Raises
    ------
    InputError
        If the file is missing or cannot be read, or a column is missing or ambiguous.

    See Also
    --------
    prepare : Make a data set from a log.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from sgurinit.data.prepare import find_source
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "plays.csv")
    ...     _ = path.write_text("listener,track,ts\nann,a,978300760\n")
    ...     source = find_source(path, columns={"user": "listener", "item": "track"})
    >>> source.columns
    {'user': 'listener', 'item': 'track', 'time': 'ts'}
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file; give a log, or a folder of MovieLens or RecBole")
    if path.is_dir():
        source = _recognize_folder(path)
    elif not path.is_file():
        raise InputError(f"{path}: not a file but a pipe or a device; give a file")
    else:
        source = _recognize_file(path, columns, header, separator)
    if items is not None:
        names = (*filter(None, [(columns or {}).get("item")]), *COLUMN_NAMES["item"])
        table = Path(items)
        source = replace(source, items=lambda: item_tables.read_item_table(table, names))
    return source


def _recognize_folder(folder: Path) -> Source:
    """Find the log in a folder of MovieLens or RecBole."""
    movies = {
        "u.data": ("\t", None, ("u.item", item_tables.read_movielens_100k)),
        "ratings.dat": (":", ("user", "", "item", "", "value", "", "time"),
                        ("movies.dat", item_tables.read_movielens_1m)),
        "ratings.csv": (",", None, ("movies.csv", item_tables.read_movielens)),
    }  # fmt: skip
    for name, (separator, header, (table, read)) in movies.items():
        path, items = folder / name, folder / table
        if not path.is_file():
            continue
        if name == "ratings.csv":
            source = _recognize_file(path, None, None, separator)
        else:
            names = header or _HEADERLESS
            named = tuple(n or f"empty {i}" for i, n in enumerate(names))
            source = Source("", path, dict(zip(ROLES, ROLES, strict=True)), separator, named)
            _check_header(source, _read_fields(path, separator)[0])
        reader = (lambda: read(items)) if items.is_file() else None  # noqa: B023 - returned here
        return replace(source, kind=f"MovieLens ({name})", items=reader)
    logs = sorted(folder.glob("*.inter"))
    if len(logs) == 1:
        return _recognize_file(logs[0], None, None, "\t")
    raise InputError(
        f"{folder}: no known log in it; looked for u.data, ratings.dat, ratings.csv (MovieLens) "
        "and one <name>.inter (RecBole); give the file of the log itself"
    )


def _recognize_file(
    path: Path,
    columns: Mapping[str, str] | None,
    header: Iterable[str] | None,
    separator: str | None,
) -> Source:
    suffix, quoted = _suffix(path), False
    fields: tuple[str, ...] = ()
    if suffix in _JSON:
        separator = None
        if path.suffix == ".gz":
            check_gzip(path)
        found = _find_fields(path, columns or {})
    elif suffix == ".parquet":
        separator = None
        found = tuple(read_parquet_types(path))
    else:
        separator = separator or _SEPARATORS.get(suffix) or _guess_separator(path)
        fields, quoted = _read_fields(path, separator)
        header = tuple(header) if header is not None else None
        found = header or fields
    roles = _assign_roles(path, found, columns or {}, separator)
    source = Source(
        "", path, roles, separator, tuple(header) if header is not None else None, quoted,
        left_out=tuple(name for name in found if name not in roles.values()),
    )  # fmt: skip
    _check_roles(source, found)
    if fields:
        _check_header(source, fields)
    if suffix == ".inter":
        beside = path.with_suffix(".item")
        reader = (lambda: item_tables.read_recbole_items(beside)) if beside.is_file() else None
        return replace(source, kind="RecBole atomic file", items=reader)
    if {"parent_asin", "user_id"} <= set(found):
        return replace(source, kind="Amazon reviews 2023", time_unit="ms")
    if {"reviewerID", "asin"} <= set(found):
        return replace(source, kind="Amazon reviews 2014 or 2018")
    return replace(source, kind="log with named columns")


def _assign_roles(
    path: Path, found: tuple[str, ...], named: Mapping[str, str], separator: str | None
) -> dict[str, str]:
    bare = {name.partition(":")[0]: name for name in found}  # a typed header, such as user_id:token
    roles = {}
    for role in ROLES:
        if role in named:
            if named[role] not in found and named[role] not in bare:
                raise _missing_column(path, role, named[role], found, separator)
            roles[role] = bare.get(named[role], named[role])
            continue
        known = [bare[name] for name in COLUMN_NAMES[role] if name in bare]
        if known:
            roles[role] = known[0]
        elif role in ("user", "item"):
            raise _missing_column(path, role, None, found, separator)
    return roles


def _missing_column(
    path: Path, role: str, name: str | None, found: tuple[str, ...], separator: str | None
) -> InputError:
    missing = f"column {name!r} is missing" if name else f"no column is known as the {role}"
    shown = ", ".join(map(repr, found[:12]))
    hint = f'name it as `columns["{role}"]`'
    if separator is not None:
        hint = (
            f"fields were separated at {separator!r}: give `separator` if that is wrong, `header` "
            f"if the file has none, or {hint}"
        )
    return InputError(f"{path}: {missing}; the file has {shown}; {hint}")


def _check_roles(source: Source, found: Sequence[str]) -> None:
    """Refuse a repeated column, and a column with two roles."""
    taken: dict[str, str] = {}
    for role, column in source.columns.items():
        if found.count(column) > 1:
            raise InputError(f"{source.path}: column {column!r} is repeated; rename one")
        if column in taken:
            raise InputError(
                f"{source.path}: column {column!r} cannot be both the {taken[column]} and the "
                f'{role}; name another as `columns["{role}"]`'
            )
        taken[column] = role


def _check_header(source: Source, fields: Sequence[str]) -> None:
    """Compare `header` with the first line of the file."""
    names = source.header
    if names is None:
        return
    if len(fields) != len(names):
        raise InputError(
            f"{source.path}: line 1 has {len(fields)} fields, separated at {source.separator!r}; "
            f"{len(names)} are expected: {', '.join(names)}"
        )
    ids = [fields[names.index(source.columns[role])] for role in ("user", "item")]
    if ids[0] in COLUMN_NAMES["user"] and ids[1] in COLUMN_NAMES["item"]:
        raise InputError(
            f"{source.path}: line 1 is a header with {ids[0]!r} and {ids[1]!r}; leave `header` "
            'out, and name columns as `columns["user"]`, `columns["item"]` and so on'
        )


def _suffix(path: Path) -> str:
    return path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix


def _read_fields(path: Path, separator: str) -> tuple[tuple[str, ...], bool]:
    """Return the fields of the first line, and whether fields may be in double quotes.

    They may if the separator is a comma or a semicolon, as spreadsheets write it, and in any other
    file that begins with a quote.
    """
    line = _read_first_line(path)
    quoted = separator in (",", ";") or line.startswith('"')
    if not quoted:
        return tuple(line.split(separator)), False
    try:
        return tuple(next(csv.reader([line], delimiter=separator))), True
    except csv.Error as error:
        raise InputError(f"{path}: line 1 cannot be read ({error})") from error


def _read_first_line(path: Path) -> str:
    line = b""
    try:
        with open_bytes(path) as file:
            line = file.readline(_FIRST_BYTES)
        check_beginning(path, line)
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; convert it, such as with iconv") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); get the file again") from error
    if not text:
        raise InputError(f"{path}: the file is empty or begins with an empty line")
    return text


def _find_fields(path: Path, columns: Mapping[str, str]) -> tuple[str, ...]:
    """Return the fields of a file of JSON lines, in order of occurrence.

    Those of the first records, and of those that only later ones have, the columns that are asked
    for and those known as values or times.
    """
    names = dict.fromkeys(_read_first_record(path))
    damaged = (OSError, EOFError, zlib.error)  # which reading the log reports
    with contextlib.suppress(ValueError, RecursionError, *damaged), open_bytes(path) as file:
        for line in islice(file, _FIRST_RECORDS):
            record = json.loads(line)
            names |= dict.fromkeys(record if isinstance(record, dict) else ())
    wanted = [
        [columns[role]] if role in columns else COLUMN_NAMES[role]
        for role in ROLES
        if role in columns or role in ("value", "time")
    ]
    later = [name for known in wanted if not names.keys() & set(known) for name in known]
    if later:
        pattern = glob.escape(as_plain_path(path))  # which matches this file alone
        scan = pl.scan_ndjson(pattern, schema=dict.fromkeys(later, pl.String))
        with contextlib.suppress(*READ_ERRORS):  # which reading the log reports
            counts = scan.select(pl.all().count()).collect(engine="streaming")
            names |= {column.name: None for column in counts if column.item()}
    return tuple(names)


def _read_first_record(path: Path) -> dict[str, Any]:
    record, text = None, _read_first_line(path)
    with open_bytes(path) as file:
        if file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8:
            raise InputError(
                f"{path}: begins with a byte order mark, which JSON does not allow; remove it, "
                "such as with: tail -c +4"
            )
    with contextlib.suppress(ValueError, RecursionError):
        record = json.loads(text)
    if not isinstance(record, dict):
        raise InputError(f"{path}: line 1 is not a JSON object; a file of JSON lines is expected")
    return record


def _guess_separator(path: Path) -> str:
    line = _read_first_line(path)
    return max("\t,;|", key=line.count)
