"""Columns of any type are read as what they mean, or refused in one line."""

from __future__ import annotations

import bz2
import lzma
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sgurinit.data import load_dataset, planted, write_native
from sgurinit.data.convert import convert
from sgurinit.data.encode import join_vectors
from sgurinit.data.layouts.tables import read_parquet_table, read_text_table
from sgurinit.data.prepare import find_source, prepare
from sgurinit.data.prepare.item_tables import read_movielens_1m, read_recbole_items
from sgurinit.data.prepare.log import read_log
from sgurinit.errors import InputError

ITEMS = [f"i{n:02}" for n in range(12)]
PAIRS = pl.DataFrame({"user": [f"u{u}" for u in range(8) for _ in ITEMS], "item": ITEMS * 8})
FIRST = datetime(2020, 9, 13, tzinfo=UTC)
SECONDS = [int(FIRST.timestamp()) + n for n in range(len(PAIRS))]


def write_log(folder: Path, **columns: Any) -> Path:
    """Write a log in the layout parquet."""
    folder.mkdir()
    PAIRS.with_columns(**columns).write_parquet(folder / "log.parquet")
    return folder


def read_column(folder: Path, name: str) -> list[Any]:
    table = read_parquet_table(folder / "interactions.parquet").sort("user", "item")
    return table[name].to_list()


def numbers_of(kind: str) -> tuple[pl.Series, list[float]]:
    """Times of one type, and the seconds that they are."""
    whole, half = pl.Series(SECONDS), [second + 0.5 for second in SECONDS]
    return {
        "categories": (whole.cast(pl.String).cast(pl.Categorical), SECONDS),
        "enum": (whole.cast(pl.String).cast(pl.Enum(map(str, SECONDS))), SECONDS),
        "decimals": (whole.cast(pl.Decimal(20, 3)), SECONDS),
        "decimals with fractions": (
            pl.Series([Decimal(second) + Decimal("0.5") for second in SECONDS]),
            half,
        ),
        "text with fractions": (pl.Series(map(str, half)), half),
        "float32": (pl.Series(np.float32(SECONDS)), np.float32(SECONDS).tolist()),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    ["categories", "enum", "decimals", "decimals with fractions", "text with fractions", "float32"],
)
def test_times_and_values_of_every_type_are_kept(tmp_path, kind):
    given, expected = numbers_of(kind)
    folder = write_log(tmp_path / "log", time=given, value=given)
    prepare(folder / "log.parquet", tmp_path / "prepared", core=1)
    convert(folder, tmp_path / "converted", "native")
    for made in ("prepared", "converted"):
        assert read_column(tmp_path / made, "time") == expected
        assert read_column(tmp_path / made, "value") == expected


def test_times_with_a_fixed_offset_are_moments(tmp_path, capfd):
    pytest.importorskip("pyarrow")
    zone = timezone(timedelta(hours=5, minutes=30))
    moments = [(FIRST + timedelta(seconds=n)).astimezone(zone) for n in range(len(PAIRS))]
    (tmp_path / "log").mkdir()
    table = pd.DataFrame({**PAIRS.to_dict(as_series=False), "time": pd.to_datetime(moments)})
    table.to_parquet(tmp_path / "log" / "log.parquet")
    table.rename(columns={"time": "unused"}).to_parquet(tmp_path / "unused.parquet")
    prepare(tmp_path / "log" / "log.parquet", tmp_path / "prepared", core=1)
    convert(tmp_path / "log", tmp_path / "converted", "native")
    for made in ("prepared", "converted"):
        assert read_column(tmp_path / made, "time") == SECONDS
    assert len(read_log(find_source(tmp_path / "unused.parquet"))) == len(PAIRS)
    shown = read_parquet_table(tmp_path / "unused.parquet")["unused"].cast(pl.String)
    assert shown[0] == "2020-09-13 00:00:00.000000+00:00"
    assert not capfd.readouterr().err


OTHERS = [[b"1"], [[1]], [{"a": 1}], [timedelta(seconds=1)], ["good"]]


@pytest.mark.parametrize(
    ("role", "given"),
    [("time", given) for given in [*OTHERS, [True]]]
    + [("value", given) for given in [*OTHERS, [date(2020, 1, 1)]]],
    ids=repr,
)
def test_other_types_are_no_numbers(tmp_path, role, given):
    folder = write_log(tmp_path / "log", **{role: pl.Series(given * len(PAIRS))})
    for read in (lambda: read_log(find_source(folder / "log.parquet")), lambda: load(folder)):
        with pytest.raises(InputError, match=rf"log.parquet: .*{role} is .*expected"):
            read()


def load(folder: Path) -> Any:
    return convert(folder, folder.parent / "out", "native")


@pytest.mark.parametrize(
    "times",
    [
        [str(2**63 + n) for n in range(8)],
        [*(str(2**53 + n) for n in range(7)), "1.5"],
    ],
    ids=["beyond 64 bits", "beside a fraction"],
)
def test_an_order_that_floats_would_lose_is_refused_by_line(tmp_path, times):
    lines = [f"u{n},i{n},{time}\n" for n, time in enumerate(times)]
    (tmp_path / "log.csv").write_text("user,item,time\n" + "".join(lines))
    with pytest.raises(InputError, match=r"log.csv: line [23]: time is \d+, of which not all"):
        read_log(find_source(tmp_path / "log.csv"), "order")


def test_a_year_out_of_range_is_short(tmp_path):
    (tmp_path / "log.csv").write_text("user,item,time\na,b,1e300\n")
    with pytest.raises(InputError, match=r"in the year 3\.1688\d*e\+292; give"):
        read_log(find_source(tmp_path / "log.csv"))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ([0], "column split is Int64, not text"),
        ([True], "column split is Boolean, not text"),
        ([b"train"], "column split is Binary, not text"),
        ([["train"]], r"column split is List\(String\), not text"),
        (["Train"], "row 0: split is 'Train'"),
        ([None], "row 0: split is missing"),
    ],
    ids=repr,
)
def test_a_split_of_another_type_or_name_is_refused(tmp_path, given, shown):
    folder = write_log(tmp_path / "log", split=pl.Series(given * len(PAIRS)))
    with pytest.raises(InputError, match=rf"log.parquet: {shown}"):
        load_dataset(folder)
    native = write_native(planted(50, 40), tmp_path / "native")
    path = native / "interactions.parquet"
    table = pl.read_parquet(path)
    table.with_columns(split=pl.Series(given * len(table))).write_parquet(path)
    with pytest.raises(InputError, match=r"interactions.parquet: .*split is "):
        load_dataset(native)


def features_of(tmp_path: Path, **columns: Any) -> Any:
    folder = write_log(tmp_path / "log")
    (folder / "features").mkdir()
    table = pl.DataFrame({"item": ITEMS, **columns})
    table.write_parquet(folder / "features" / "text.parquet")
    return load_dataset(folder).features["text"].values


@pytest.mark.parametrize("dtype", [pl.Int64, pl.UInt32, pl.Decimal(20, 0)])
def test_lists_of_large_integers_keep_their_digits(tmp_path, dtype):
    numbers = [[2**24 + n, 1] for n in range(12)]
    column = pl.Series(numbers, dtype=pl.List(pl.Int64)).cast(pl.List(dtype))
    assert features_of(tmp_path, vector=column).tolist() == numbers


def test_columns_of_features_may_be_of_different_types(tmp_path):
    exact = 1 / 3 + np.arange(12)
    found = features_of(
        tmp_path,
        a=np.arange(12),
        b=exact,
        c=pl.Series([f"{n}.5" for n in range(12)]).cast(pl.Categorical),
        d=[n % 2 == 0 for n in range(12)],
    )
    expected = [np.arange(12), exact, np.arange(12) + 0.5, np.arange(12) % 2 == 0]
    assert np.array_equal(found, np.column_stack(expected))
    (tmp_path / "whole").mkdir()
    assert features_of(tmp_path / "whole", a=np.arange(12)).dtype == np.float64


@pytest.mark.parametrize(
    "column",
    [
        [date(2020, 1, 1)] * 12,
        [b"1"] * 12,
        [{"x": 1.0}] * 12,
        [["1"]] * 12,
        [[[1.0]]] * 12,
        [[date(2020, 1, 1)]] * 12,
    ],
    ids=lambda column: repr(column[0]),
)
def test_columns_of_other_types_are_no_features(tmp_path, column):
    for number, others in enumerate(({}, {"b": np.arange(12)})):
        (tmp_path / str(number)).mkdir()
        with pytest.raises(InputError, match=r"text.parquet: column a is .*; numbers are expected"):
            features_of(tmp_path / str(number), a=column, **others)


def test_a_missing_number_in_text_names_its_row(tmp_path):
    with pytest.raises(InputError, match=r"text.parquet: row 3: a is missing; a number"):
        features_of(tmp_path, a=["1", "2", "3", None] * 3)
    (tmp_path / "b").mkdir()
    with pytest.raises(InputError, match=r"text.parquet: item id ' i00' is not one of"):
        features_of(tmp_path / "b", item=[f" {item}" for item in ITEMS], a=np.arange(12.0))


@pytest.mark.parametrize("large", [1e39, -1e300])
def test_joined_vectors_beyond_float32_leave_the_data_set_as_it_is(tmp_path, large):
    data = write_native(planted(50, 40), tmp_path / "data")
    ids = pl.read_parquet(data / "items.parquet")["item"]
    vectors = [[1.0, 2.0]] * 39 + [[large, 0.0]]
    pl.DataFrame({"item": ids, "v": vectors}).write_parquet(tmp_path / "v.parquet")
    with pytest.raises(InputError, match=rf"v.parquet: the vector of item '{ids[39]}' has numbers"):
        join_vectors(data, "audio", tmp_path / "v.parquet")
    assert "audio" not in load_dataset(data).features


def test_an_id_per_line_may_hold_other_separators_of_lines(tmp_path):
    ids = ["a\u2028b", "c\x0bd", "e\x85f", *(f"i{n}" for n in range(9))]
    folder = tmp_path / "log"
    folder.mkdir()
    PAIRS.with_columns(item=pl.Series(ids * 8)).write_parquet(folder / "log.parquet")
    convert(folder, tmp_path / "data", "native")
    np.save(tmp_path / "v.npy", np.eye(12))
    (tmp_path / "ids.txt").write_bytes("\r\n".join([*ids, ""]).encode())
    done = join_vectors(tmp_path / "data", "v", tmp_path / "v.npy", ids=tmp_path / "ids.txt")
    assert (done.items, done.unknown) == (12, 0)


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (bz2.compress(b"item,a\ni,1\n"), "compressed with bzip2; give the unpacked"),
        (lzma.compress(b"item,a\ni,1\n"), "compressed with xz; give the unpacked"),
        (b"\x28\xb5\x2f\xfd\x04\x58", "compressed with Zstandard; give the unpacked"),
        (b"PK\x03\x04rest", "compressed with zip; give the unpacked"),
        (b"x^,item\n1,2\n", "compressed with zlib; give the unpacked"),
        ("item,a\ni,1\n".encode("utf-16"), "not UTF-8 text; convert it"),
        ("item,a\ni,1\n".encode("utf-16-le"), "not UTF-8 text; convert it"),
        ("item,a\ni,1\n".encode("utf-16-be"), "not UTF-8 text; convert it"),
        (b"item,a\ri,1\r", "bare carriage return; a line feed is expected"),
    ],
    ids=lambda value: value[:4].hex() if isinstance(value, bytes) else "",
)
def test_text_of_another_kind_says_what_it_is(tmp_path, data, shown):
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    for read in (lambda: read_text_table(path, ",", quoted=True), lambda: find_source(path)):
        with pytest.raises(InputError, match=f"t.csv: .*{shown}"):
            read()


def test_a_bare_carriage_return_in_quotes_is_part_of_a_field(tmp_path):
    (tmp_path / "t.csv").write_bytes(b'item,"a\rb"\ni,1\n')
    assert read_text_table(tmp_path / "t.csv", ",", quoted=True).columns == ["item", "a\rb"]
    (tmp_path / "t.csv").write_bytes(b"item,a\ni,1\nj,2\rk,3\n")
    with pytest.raises(InputError, match=r"t.csv: line 3: a carriage return stands inside"):
        read_text_table(tmp_path / "t.csv", ",", quoted=True)


def test_columns_of_items_that_differ_in_type_alone_are_refused(tmp_path):
    (tmp_path / "a.item").write_text("item_id:token\ttitle:token\ttitle:token_seq\n1\ta\tb\n")
    with pytest.raises(InputError, match=r"a.item: column 'title' is repeated; rename one"):
        read_recbole_items(tmp_path / "a.item")
    (tmp_path / "b.item").write_text("item_id:token\titem:token\n1\ta\n")
    with pytest.raises(InputError, match=r"b.item: column 'item' is repeated; rename one"):
        read_recbole_items(tmp_path / "b.item")


def test_a_title_in_windows_letters_is_one_line(tmp_path):
    (tmp_path / "movies.dat").write_bytes(b"1::Wait\x85 a (1999)::Drama\n2::B (2000)::War\n")
    assert read_movielens_1m(tmp_path / "movies.dat")["title"].to_list() == ["Wait\x85 a", "B"]
