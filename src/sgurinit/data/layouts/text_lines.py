"""Account for every line of a text table before it is read: quotes, records, length of lines.

Readers of tables differ in what they make of a quote that stands inside a field, and some swallow
the lines up to the next one. Here the whole file is looked at first.
"""

from __future__ import annotations

import codecs
import csv
import re
import zlib
from contextlib import suppress
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Literal

from sgurinit.data.packed import open_gzip
from sgurinit.errors import InputError

_BLOCK_BYTES = 1 << 22
_MOST_LINE_BYTES = 1 << 26
_QUOTE = b'"'
_FIRST_BYTES = 1 << 20

# How files of other kinds begin. Readers of tables take the last ones for compressed by zlib.
_COMPRESSED = {
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"PK\x03\x04": "zip",
} | dict.fromkeys((b"x\x01", b"x^", b"x\x9c", b"x\xda"), "zlib")
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class TextForm:
    """What a text table consists of.

    Parameters
    ----------
    quoted : bool
        Whether fields are in double quotes. If not, a quote is a character like any other.
    records : int
        Number of records, with the header. An empty line is a record too.
    line_breaks : bool
        Whether fields in quotes hold line breaks, so that a record may be more than one line.
    """

    quoted: bool
    records: int
    line_breaks: bool = False

    def check_count(self, path: Path, n_read: int, *, header: bool) -> None:
        """Refuse a table of another number of rows than the file has.

        Raises
        ------
        InputError
            Naming both numbers.
        """
        expected = max(self.records - header, 0)
        if n_read != expected:
            raise InputError(
                f"{path}: {n_read:,} rows were read, but the file has {expected:,}; remove empty "
                "lines at its beginning, or convert it to Parquet"
            )


def inspect_text(path: Path, separator: str, *, quoted: bool) -> TextForm:
    """Look at every line of a text table.

    Parameters
    ----------
    path : Path
        The file, gzipped if its suffix is ``.gz``.
    separator : str
        Separator of the fields, one character.
    quoted : bool
        Whether fields may be in double quotes. If none begins with one, quotes are characters like
        any other, as in ``5" disk``.

    Returns
    -------
    TextForm
        The number of records, and whether fields are in quotes.

    Raises
    ------
    InputError
        If the file cannot be read, a line is longer than 64 MB, or the quotes do not tell where a
        field ends. The message names the line.
    """
    try:
        with open_bytes(path) as file:
            check_beginning(path, file.read(_FIRST_BYTES))
        with open_bytes(path) as file:
            return _Scan(path, separator, quoted).run(file)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{path}: the file is cut off, or damaged ({error}); get it again"
        ) from error


def check_beginning(path: Path, beginning: bytes) -> None:
    """Refuse a file that is compressed, in another encoding or without line feeds.

    Parameters
    ----------
    path : Path
        The file, gzipped if its suffix is ``.gz``.
    beginning : bytes
        What it begins with, after it was unpacked.

    Raises
    ------
    InputError
        Naming the kind of file, and what to do.
    """
    if beginning.startswith(_GZIP):
        raise InputError(f"{path}: not UTF-8 text; give its name the suffix .gz")
    for mark, kind in _COMPRESSED.items():
        if beginning.startswith(mark) and (kind != "zlib" or path.suffix != ".gz"):
            raise InputError(
                f"{path}: not UTF-8 text but, by its first bytes, compressed with {kind}; give the "
                "unpacked or gzipped file"
            )
    line = beginning.partition(b"\n")[0]
    wide = len(line) > 1 and not (line[::2].strip(b"\0") and line[1::2].strip(b"\0"))
    if wide or beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(f"{path}: not UTF-8 text; convert it, such as with iconv")
    if b"\r" in re.sub(rb'"[^"]*"', b"", line).rstrip(b"\r"):
        raise InputError(
            f"{path}: lines end with a bare carriage return; a line feed is expected: convert it, "
            "such as with: tr '\\r' '\\n'"
        )


def explain_fault(path: Path, separator: str, form: TextForm, error: BaseException) -> str:
    """Say what is wrong with a text table that polars cannot read, and what to do."""
    detail = str(error).strip().split("\n", maxsplit=1)[0]
    if "utf-8" in detail.lower() or "utf8" in detail.lower():
        return "not UTF-8 text; convert it, such as with iconv"
    if "more fields" in detail:
        long = _find_long_line(path, separator, form)
        return (
            f"{long} has more fields than the first, separated at {separator!r}; correct it, or "
            "give the right `separator`"
        )
    return f"not a text table with fields separated at {separator!r} ({detail})"


def _find_long_line(path: Path, separator: str, form: TextForm) -> str:
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if form.quoted else csv.QUOTE_NONE
    with open_bytes(path) as file:
        lines = TextIOWrapper(file, "utf-8", errors="replace", newline="\n")
        reader = csv.reader(lines, delimiter=separator, quoting=quoting)
        with suppress(csv.Error):  # such as a bare carriage return
            width = len(next(reader, []))
            if not any(len(row) > width for row in reader):
                return "a line"
        return f"line {reader.line_num}"


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file, gzipped if its suffix is ``.gz``, to read bytes."""
    return open_gzip(path) if path.suffix == ".gz" else path.open("rb")


class _Scan:
    """A pass over a text table, field by field where fields are in quotes."""

    def __init__(self, path: Path, separator: str, quoted: bool) -> None:
        self.path, self.quoted = path, quoted
        end = separator.encode()
        self.openings = (end + _QUOTE, b"\n" + _QUOTE)
        self.inside = re.compile(rb'"(?:[^"]++|"")*+"')
        self.fields = re.compile(
            rb'(?:[^"%b\n]*+[%b\n]|"(?:[^"]++|"")*+"(?:%b|\r?\n))*+' % ((re.escape(end),) * 3)
        )
        self.unfinished = re.compile(rb'"(?:[^"]++|"")*+(?:"\r?)?|[^"]*+')
        self.lines = self.records = 0  # line breaks so far, and those that end a record
        self.literal: int | None = None  # line of the first quote inside a field
        self.in_quotes = False  # whether a field in quotes was found

    def run(self, file: IO[bytes]) -> TextForm:
        rest, last = b"", b"\n"
        while block := file.read(_BLOCK_BYTES):
            last = block[-1:]
            rest = self._take(rest + block)
            if len(rest) > _MOST_LINE_BYTES:
                raise self._unfinished(rest)
        if last != b"\n":
            rest = self._take(rest + b"\n")
        if rest:
            raise self._unfinished(rest)
        return TextForm(self.in_quotes, self.records, self.lines > self.records)

    def _take(self, data: bytes) -> bytes:
        """Account for bytes that begin with a field, and return those of an unfinished one."""
        if self.quoted and (data[:1] == _QUOTE or any(o in data for o in self.openings)):
            return self._take_quoted(data)
        whole = data.rfind(b"\n") + 1
        if self.quoted and self.literal is None and _QUOTE in data[:whole]:
            self.literal = self.lines + data.count(b"\n", 0, data.index(_QUOTE)) + 1
        self._refuse_returns(data[:whole])
        breaks = data.count(b"\n", 0, whole)
        self.lines += breaks
        self.records += breaks
        return data[whole:]

    def _take_quoted(self, data: bytes) -> bytes:
        found = self.fields.match(data)
        taken = b"" if found is None else found[0]
        bare = self.inside.sub(b"", taken)
        if b"\r" in bare:
            self._refuse_returns(
                self.inside.sub(lambda field: b"\n" * field[0].count(b"\n"), taken)
            )
        self.lines += taken.count(b"\n")
        self.records += bare.count(b"\n")
        self.in_quotes |= len(bare) < len(taken)
        rest = data[len(taken) :]
        unfinished = self.unfinished.fullmatch(rest)
        if self.literal is None and unfinished is None and rest[:1] != _QUOTE:
            self.literal = self.lines + 1
        if self.literal is not None:
            self.lines = self.literal - 1
            raise self._wrong("a quote stands inside a field, and other fields are in quotes")
        if unfinished is None:
            raise self._wrong("a field has text after its closing quote")
        return rest

    def _refuse_returns(self, text: bytes) -> None:
        """Refuse carriage returns that do not end a line, since polars drops some of them."""
        if text.count(b"\r") == text.count(b"\r\n"):
            return
        stray = re.search(rb"\r(?!\n)", text)
        assert stray is not None  # noqa: S101 - one was counted
        line = self.lines + text.count(b"\n", 0, stray.start()) + 1
        raise InputError(
            f"{self.path}: line {line}: a carriage return stands inside the line; remove it"
        )

    def _unfinished(self, rest: bytes) -> InputError:
        if self.quoted and rest[:1] == _QUOTE:
            return self._wrong("a quote opens a field, and none closes it")
        return InputError(
            f"{self.path}: line {self.lines + 1} is longer than {_MOST_LINE_BYTES >> 20} MB; check "
            "that it is a text table"
        )

    def _wrong(self, what: str) -> InputError:
        return InputError(
            f"{self.path}: line {self.lines + 1}: {what}; put such a field in quotes, and write "
            'each quote inside it twice, as in "5"" disk"'
        )
