"""Packed files: what they hold, but no more than their size explains."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from sgurinit.data import packed
from sgurinit.data.packed import check_gzip, count_most_bytes, open_gzip
from sgurinit.data.prepare import find_source, prepare
from sgurinit.errors import InputError


@pytest.fixture(autouse=True)
def _small_spare(monkeypatch):
    monkeypatch.setattr(packed, "_SPARE_BYTES", 1000)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content))
    return path


def test_lines_and_blocks_are_those_of_the_file(tmp_path):
    content = b"".join(b"%d\n" % n for n in range(5000))
    path = write(tmp_path / "a.gz", content)
    with open_gzip(path) as file:
        assert file.read(3) + file.readline() + file.read() == content
    with open_gzip(path) as file:
        assert list(file) == content.splitlines(keepends=True)
    check_gzip(path)


def test_exactly_the_most_bytes_are_read(tmp_path):
    path = write(tmp_path / "a.gz", b"")
    most = count_most_bytes(path)
    for size, fits in ((most - 5000, True), (most + 5000, False)):
        write(path, b"x" * size)
        assert (size <= count_most_bytes(path)) == fits
        if fits:
            check_gzip(path)
        else:
            with pytest.raises(InputError, match="more than 100 times its own size; unpack it"):
                check_gzip(path)


@pytest.mark.parametrize("name", ["log.csv.gz", "log.jsonl.gz"])
def test_a_log_that_holds_far_more_than_its_size_is_refused(name, tmp_path):
    row = b"u1,i1\n" if "csv" in name else b'{"user": "u1", "item": "i1"}\n'
    path = write(tmp_path / name, b"user,item\n" * ("csv" in name) + row * 20_000)
    with pytest.raises(InputError, match=r"gz: holds more than 100 times its own size"):
        prepare(find_source(path), tmp_path / "out")


def test_products_that_hold_far_more_than_their_size_are_refused(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("user,item\nu1,i1\n")
    path = write(tmp_path / "meta.json.gz", b'{"asin": "i1", "title": "t"}\n' * 20_000)
    with pytest.raises(InputError, match="holds more than 100 times") as error:
        find_source(log, items=path).items()
    assert "line" not in str(error.value)


@pytest.mark.parametrize("damage", [lambda c: c[:-9], lambda c: c[:12] + b"\xff" + c[13:]])
def test_a_damaged_file_is_refused(damage, tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(damage(gzip.compress(b"some text, not much of it")))
    with pytest.raises(InputError, match="the file is cut off, or damaged"):
        check_gzip(path)
