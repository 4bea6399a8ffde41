"""Damaged Parquet pages are refused before polars reserves memory for them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from sgurinit import _parquet_pages as pages
from sgurinit.errors import InputError
from sgurinit.files import scan_parquet

ROWS = 3000
TABLE = pl.DataFrame(
    {
        "user": np.random.default_rng(0).integers(0, 500, ROWS),
        "item": [f"i{n % 7}" for n in range(ROWS)],
        "vector": [[float(n), 1.0][: n % 3] for n in range(ROWS)],
        "same": [None] * ROWS,
        "flag": [n % 2 == 0 for n in range(ROWS)],
    }
)


@pytest.mark.parametrize("compression", ["snappy", "gzip", "zstd", "lz4", "none"])
@pytest.mark.parametrize("page", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [False, True])
def test_files_of_pyarrow_are_read(tmp_path, compression: str, page: str, dictionary: bool):
    path = tmp_path / "a.parquet"
    pq.write_table(
        TABLE.to_arrow(),
        path,
        compression=compression,
        data_page_version=page,
        use_dictionary=dictionary,
        data_page_size=500,
        row_group_size=1000,
        write_page_index=dictionary,
        write_page_checksum=dictionary,
    )
    assert scan_parquet(path).collect().equals(TABLE)


@pytest.mark.parametrize("table", [TABLE, TABLE[:0]])
def test_files_of_polars_are_read(tmp_path, table: pl.DataFrame):
    table.write_parquet(tmp_path / "a.parquet", row_group_size=700, data_page_size=400)
    assert scan_parquet(tmp_path / "a.parquet").collect().equals(table)


def test_a_negative_number_of_values_is_refused(tmp_path):
    """Polars reserved 2 ** 61 bytes for it, which ended the process."""
    path = tmp_path / "a.parquet"
    pl.DataFrame({"rating": [1.5] * 81}).write_parquet(path, use_pyarrow=True)
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    content = bytearray(path.read_bytes())
    at = content.index(bytes([162, 1]), column.data_page_offset)  # 81, as Thrift writes it
    content[at] = 163  # -82
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        scan_parquet(path)
    said = f"column 'rating': the page at byte {column.data_page_offset} claims -82 values"
    assert said in str(caught.value)


def test_more_values_than_a_file_can_hold(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    pl.DataFrame({"x": [1] * 100_000}).write_parquet(path)
    scan_parquet(path)
    pages._check.cache_clear()
    monkeypatch.setattr(pages, "_SPARE_ROWS", 0)
    with pytest.raises(InputError, match=r"a\.parquet: column 'x' claims 100,000 values, but a "):
        scan_parquet(path)


def test_a_damaged_byte_ends_in_nothing_else(tmp_path):
    path = tmp_path / "a.parquet"
    TABLE[:20].select("item", "vector").write_parquet(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(whole), 150):
        changed = bytes([rng.integers(256)])
        for content in (whole[:at], whole[:at] + changed + whole[at + 1 :]):
            path.write_bytes(content)
            pages._check.cache_clear()
            with suppress(InputError):
                pages.check_pages(path)


def test_a_missing_file_is_left_to_the_reader(tmp_path):
    pages.check_pages(Path(tmp_path / "none.parquet"))
