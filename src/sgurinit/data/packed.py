"""Packed files, of which no more is read than their size explains."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import IO, Any

from typing_extensions import override

from sgurinit.errors import InputError

MOST_RATIO = 100
"""Largest size of unpacked files, as a multiple of the packed size. Logs have less than 30."""

_SPARE_BYTES = 1 << 24
_BLOCK_BYTES = 1 << 20


def count_most_bytes(path: Path) -> int:
    """Return how many bytes a packed file may hold: 16 MB more than `MOST_RATIO` times its size."""
    return MOST_RATIO * path.stat().st_size + _SPARE_BYTES


def open_gzip(path: Path) -> IO[bytes]:
    """Open a gzipped file to read bytes.

    Raises
    ------
    InputError
        When more is read than `count_most_bytes`.
    """
    return io.BufferedReader(_BoundedGzip(path), _BLOCK_BYTES)


def check_gzip(path: Path) -> None:
    """Unpack a gzipped file without keeping anything, before something else reads all of it.

    Raises
    ------
    InputError
        The file is damaged, or holds more than `count_most_bytes`.
    """
    try:
        with open_gzip(path) as file:
            while file.read(_BLOCK_BYTES):
                pass
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{path}: the file is cut off, or damaged ({error}); get it again"
        ) from error


class _BoundedGzip(io.RawIOBase):
    """Counts the bytes that are read."""

    def __init__(self, path: Path) -> None:
        self.path, self.left = path, count_most_bytes(path)
        self.file = gzip.open(path)  # noqa: SIM115 - closed with this object

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any) -> int:
        data = self.file.read1(len(buffer))  # what comes before damage is read
        buffer[: len(data)] = data
        self.left -= len(data)
        if self.left < 0:
            raise InputError(
                f"{self.path}: holds more than {MOST_RATIO} times its own size; unpack it, if "
                "that is right"
            )
        return len(data)

    @override
    def close(self) -> None:
        self.file.close()
        super().close()
