"""Every line of a text table is accounted for, and every id is the one in the file."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sgurinit.cli import app
from sgurinit.core.stream.id_columns import parse_ids
from sgurinit.data import load_dataset
from sgurinit.data.convert import convert
from sgurinit.data.encode import join_vectors
from sgurinit.data.item_vectors import read_item_features
from sgurinit.data.layouts import text_lines
from sgurinit.data.layouts.tables import read_text_table
from sgurinit.data.prepare import find_source, prepare
from sgurinit.data.prepare.log import read_log
from sgurinit.errors import InputError

FIELDS = st.lists(st.sampled_from([*'ab ",;\n\t5é', "\r\n"]), max_size=6).map("".join)
TABLES = st.integers(2, 4).flatmap(
    lambda width: st.lists(st.lists(FIELDS, min_size=width, max_size=width), max_size=8)
)
EVERY_SIZE = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100
)


def write_text(path: Path, content: str) -> Path:
    data = content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@EVERY_SIZE
@given(rows=TABLES, size=st.integers(1, 9), end=st.sampled_from(["\n", "\r\n"]))
def test_a_table_that_another_program_quoted_is_read_whole(tmp_path, monkeypatch, rows, size, end):
    monkeypatch.setattr(text_lines, "_BLOCK_BYTES", size)
    width = len(rows[0]) if rows else 2
    names = [f"c{n}" for n in range(width)]
    written = io.StringIO()
    csv.writer(written, lineterminator=end).writerows([names, *rows])
    path = write_text(tmp_path / "t.csv", written.getvalue())
    table = read_text_table(path, ",", quoted=True)
    found = [[field or "" for field in row] for row in table.iter_rows()]
    assert found == rows


@EVERY_SIZE
@given(text=st.text(st.sampled_from('ab",\n'), max_size=30), size=st.integers(1, 9))
def test_any_quotes_are_read_as_a_strict_reader_does_or_refused(tmp_path, monkeypatch, text, size):
    monkeypatch.setattr(text_lines, "_BLOCK_BYTES", size)
    content = f"x,y,z\n{text}\n"
    path = write_text(tmp_path / "t.csv", content)
    try:
        table = read_text_table(path, ",", quoted=True)
    except InputError:
        return
    rows = list(csv.reader(io.StringIO(content), strict=True))[1:]
    padded = [row + [""] * (3 - len(row)) for row in rows]
    assert [[field or "" for field in row] for row in table.iter_rows()] == padded


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_quotes_in_a_column_that_is_not_used_swallow_no_line(tmp_path, name):
    rows = "".join(f'u{n},i{n},{n}" disk\n' if n % 7 == 3 else f"u{n},i{n},x\n" for n in range(50))
    log = read_log(find_source(write_text(tmp_path / name, "user,item,note\n" + rows)))
    assert log.user_ids.to_list() == sorted(f"u{n}" for n in range(50))
    items = write_text(tmp_path / "items.csv", 'item,title\n1,5" disk\n2,b\n3,3" disk\n')
    found = find_source(tmp_path / name, items=items).items()
    assert found.rows() == [("1", '5" disk'), ("2", "b"), ("3", '3" disk')]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('user,item\n"a\\"b",x\nc,y\n', "line 2: a field has text after its closing quote"),
        ('user,item\n"a",5" disk\nb,2\n', "line 2: a quote stands inside a field, and other"),
        ('user,item\na,5" disk\n"b",2\n', "line 2: a quote stands inside a field, and other"),
        ('user,item\na,b\nc,"d\ne,f\n', "line 3: a quote opens a field, and none closes it"),
        ('user,item\na,"b\nc,d"\n', "record 2: item 'b\\\\nc,d' has a line break; check that"),
        ("user,item\na,b\na ,c\n", "line 3: user 'a ' differs from another id only in the spaces"),
        (f"user,item\na,b\n{'x' * 1001},c\n", "line 3: the user that begins with 'xxx"),
        ("user,item\na,b\nc\0,d\n", "line 3: user 'c\\\\x00' ends with NUL"),
        ("user,item\na,b\n\ufeffc,d\n", "line 3: user '\\\\ufeffc' begins with a byte order mark"),
        ("user,item\na,b\nc,d,e\n", "line 3 has more fields than the first"),
        ("user,item\na,b\n\nc,d\n", "line 3: user is missing"),
    ],
)
def test_a_line_that_cannot_be_accounted_for_is_named(tmp_path, content, says):
    path = write_text(tmp_path / "a.csv", content)
    words = ["prepare", str(path), "--core", "1", "--out", str(tmp_path / "o")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert says.replace("\\\\", "\\") in result.stderr
    assert not (tmp_path / "o").exists()


def test_a_file_that_lost_lines_while_it_was_read_is_refused(tmp_path):
    path = write_text(tmp_path / "a.csv", "\nuser,item\na,b\n")
    with pytest.raises(InputError, match="1 rows were read, but the file has 2"):
        read_text_table(path, ",")


def test_a_line_without_end_takes_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(text_lines, "_MOST_LINE_BYTES", 1 << 20)
    monkeypatch.setattr(text_lines, "_BLOCK_BYTES", 1 << 16)
    path = write_text(tmp_path / "a.csv.gz", "user,item\n" + "x" * (1 << 24))
    with pytest.raises(InputError, match="line 2 is longer than 1 MB"):
        read_log(find_source(path))


@pytest.mark.parametrize("name", ["t[1]", "t*", "t?", "t]"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "jsonl.gz"])
def test_a_name_is_not_a_pattern(tmp_path, name, suffix):
    for stem, user in (("t1", "wrong"), (name, "right")):
        path, table = tmp_path / f"{stem}.{suffix}", pl.DataFrame({"user": [user], "item": ["a"]})
        if suffix == "parquet":
            table.write_parquet(path)
        else:
            write_text(path, table.write_csv() if suffix == "csv" else table.write_ndjson())
    log = read_log(find_source(tmp_path / f"{name}.{suffix}"))
    assert log.user_ids.to_list() == ["right"]


def test_the_name_of_a_file_of_vectors_is_not_a_pattern(tmp_path):
    for stem, scale in (("i1", 100.0), ("i[1]", 1.0)):
        table = pl.DataFrame({"item": ["a", "b"], "text": [[scale, 0.0], [0.0, scale]]})
        table.write_parquet(tmp_path / f"{stem}.parquet")
    features, _ = read_item_features({"text": tmp_path / "i[1].parquet"})
    np.testing.assert_array_equal(features["text"].values, np.eye(2))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("user,item\nu1,i1\nu1,i2\r,\n", 3),
        ("user,item\r\nu1,i1\r\nu\r1,i2\r\n", 3),
        ('user,item\r\n"u\n\r1",i1\r\nu1,i\r2\r\n', 4),
        ("user,item\nu1,i1\nu1,i2\r\r\n", 3),
    ],
)
def test_a_carriage_return_inside_a_line_is_refused(tmp_path, text, line):
    path = tmp_path / "log.csv"
    path.write_bytes(text.encode())
    with pytest.raises(InputError, match=rf"log\.csv: line {line}: a carriage return"):
        text_lines.inspect_text(path, ",", quoted=True)


def test_carriage_returns_in_quotes_and_at_the_ends_of_lines(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b'user,item,note\r\nu1,i1,"a\rb"\r\nu2,i2,c\n')
    assert text_lines.inspect_text(path, ",", quoted=True).records == 3
    assert read_log(find_source(path)).user_ids.to_list() == ["u1", "u2"]


def test_a_field_that_the_first_record_of_json_lines_lacks_is_found(tmp_path):
    rows = [f'{{"user": "u{n}", "item": "i"}}\n' for n in range(1500)]
    rows[1400] = '{"user": "u", "item": "i", "timestamp": 1600000000}\n'
    rows[3] = '{"user": "v", "item": "i", "stars": 5}\n'
    path = write_text(tmp_path / "a.jsonl", "".join(rows))
    source = find_source(path)
    assert source.columns == {"user": "user", "item": "item", "time": "timestamp"}
    assert source.left_out == ("stars",)
    with pytest.raises(InputError, match="line 1: timestamp is missing"):
        read_log(source)
    rows[1400] = '{"user": "u", "item": "i", "played": 1600000000}\n'
    write_text(path, "".join(rows))
    assert "time" not in find_source(path).columns
    assert find_source(path, columns={"time": "played"}).columns["time"] == "played"


# --- ids -------------------------------------------------------------------------------------


def write_log(path: Path, **columns: object) -> Path:
    pl.DataFrame(columns).write_parquet(path)
    return path


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (pl.Series("user", [1, 2**63], dtype=pl.UInt64), "row 1: user 9223372036854775808 is"),
        (pl.Series("user", [2**70], dtype=pl.Int128), f"row 0: user {2**70} is beyond 64 bits"),
        (pl.Series("user", ["a", "a\0"]), "row 1: user 'a\\x00' ends with NUL"),
        (pl.Series("user", ["a", "é" * 501]), "row 1: the user that begins with 'éé"),
        (pl.Series("user", ["a", "\ufeffb"]), "row 1: user '\\ufeffb' begins with a byte order"),
        (pl.Series("user", [True]), "f: column user is Boolean; ids are text or integers"),
        (pl.Series("user", [1.5]), "f: column user is Float64; ids are text or integers"),
    ],
)
def test_what_cannot_be_an_id_is_refused(values, says):
    with pytest.raises(InputError) as caught:
        parse_ids(values, Path("f"), lambda row: f"f, row {row}")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        pl.Series("item", [2**63 - 1, -(2**63), None], dtype=pl.Int64),
        pl.Series("item", [1, 2, None], dtype=pl.UInt64),
        pl.Series("item", [1, 2], dtype=pl.Int128),
        pl.Series("item", ["a", " b", None, "\0c", "é" * 500]),
        pl.Series("item", ["a", "b", None]).cast(pl.Categorical),
        pl.Series("item", ["a", "b"], dtype=pl.Enum(["b", "a"])),
    ],
    ids=lambda values: str(values.dtype),
)
def test_ids_are_what_the_file_holds(values):
    ids = parse_ids(values, Path("f"), str)
    assert ids.to_list() == values.to_list()
    assert ids.dtype in (pl.Int64, pl.String)


def test_categories_and_integers_of_any_type_are_ids_of_vectors(tmp_path):
    for n, ids in enumerate([pl.Series(["a", "b"]).cast(pl.Categorical), pl.Series(["a", "b"])]):
        write_log(tmp_path / f"{n}.parquet", item=ids, text=[[1.0], [2.0]])
    files = {"x": tmp_path / "0.parquet", "y": tmp_path / "1.parquet"}
    features, ids = read_item_features(files)
    assert ids.to_list() == ["a", "b"]
    assert list(features) == ["x", "y"]
    log = write_log(tmp_path / "log.parquet", item=pl.Series([0, 1, 1], dtype=pl.UInt64))
    items = write_log(tmp_path / "i.parquet", item=[0, 1], text=[[1.0], [2.0]])
    assert read_item_features({"text": items}, log)[1].to_list() == [0, 1]


def test_hashes_of_64_bits_become_text_that_a_start_takes(tmp_path):
    rng = np.random.default_rng(0)
    pairs = [(2**63 + u, f"i{i}") for u in range(12) for i in rng.permutation(9)[:6]]
    users = pl.Series([u for u, _ in pairs], dtype=pl.UInt64)
    log = write_log(tmp_path / "log.parquet", user=users, item=[i for _, i in pairs])
    vectors = rng.normal(size=(9, 3)).tolist()
    write_log(tmp_path / "i.parquet", item=[f"i{i}" for i in range(9)], text=vectors)
    prepare(log, tmp_path / "data", core=1, features={"text": tmp_path / "i.parquet"})
    assert load_dataset(tmp_path / "data").user_ids[0] == str(2**63)
    words = ["init", str(tmp_path / "data"), "--out", str(tmp_path / "s.parquet")]
    result = CliRunner().invoke(app, [*words, "--n-clusters", "2"])
    assert result.exit_code == 0, result.output
    assert pl.read_parquet(tmp_path / "s.parquet")["user"][0] == str(2**63)


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "index"])
def test_row_numbers_of_pandas_are_not_a_feature(tmp_path, make_dataset, name):
    (tmp_path / "lay" / "features").mkdir(parents=True)
    write_text(tmp_path / "lay" / "log.csv", "user,item\nx,a\ny,b\n")
    text = write_text(
        tmp_path / "lay" / "features" / "text.csv", f"{name},item,0,1\n0,a,1.0,0.5\n1,b,2.0,0.25\n"
    )
    with pytest.raises(InputError, match=f"text.csv: column '{name}' is not a feature but the row"):
        load_dataset(tmp_path / "lay")
    text.rename(tmp_path / "text.csv")
    native = tmp_path / "native"
    convert(tmp_path / "lay", native, "native")
    with pytest.raises(InputError, match=f"text.csv: column '{name}' is not a feature but the row"):
        join_vectors(native, "text", tmp_path / "text.csv")


# --- times -----------------------------------------------------------------------------------


def last_items(folder: Path) -> set[str]:
    made = pl.read_parquet(folder / "interactions.parquet")
    return set(made.filter(split="test")["item"])


@pytest.mark.parametrize(
    ("unit", "times"),
    [
        ("ms", [10**12, 10**12 + 10_000, 10**12 + 20_100, 10**12 + 20_900]),
        ("us", [10**15, 10**15 + 1, 10**15 + 2, 10**15 + 3]),
        ("ns", [10**18, 10**18 + 1, 10**18 + 2, 10**18 + 3]),
        ("s", [1e9, 1e9 + 0.25, 1e9 + 0.5, 1e9 + 0.75]),
        ("order", [0.1, 0.2, 0.3, 0.4]),
        ("order", [2**62, 2**62 + 1, 2**62 + 2, 2**62 + 3]),
        ("iso", [f"2024-01-31T12:00:00.00000000{n}" for n in range(4)]),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_the_order_within_a_second_is_kept(tmp_path, unit, times, suffix):
    rows = [(f"u{u}", i, t) for u in range(20) for i, t in zip("mkza", times, strict=True)]
    log = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    path = tmp_path / f"log.{suffix}"
    write = {"csv": log.write_csv, "parquet": log.write_parquet, "jsonl": log.write_ndjson}
    write[suffix](path)
    for split in ("leave-one-out", "user-time"):
        prepare(path, tmp_path / split, core=1, split=split, time_unit=unit)
        assert last_items(tmp_path / split) == {"a"}
    made = pl.read_parquet(tmp_path / "user-time" / "interactions.parquet")["time"].unique().sort()
    if unit == "ms":
        assert made.to_list() == [1e9, 1e9 + 10, 1e9 + 20.1, 1e9 + 20.9]
    elif unit in ("s", "order"):
        assert made.to_list() == times


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_dates_of_a_parquet_file_keep_fractions(tmp_path, unit):
    times = pl.Series([10**9 * 1000 + n for n in range(4)]).cast(pl.Datetime("ms"))
    rows = {"user": ["u"] * 4, "item": list("mkza"), "time": times.cast(pl.Datetime(unit))}
    path = write_log(tmp_path / "log.parquet", **rows)
    prepare(path, tmp_path / "o", core=1, split="leave-one-out")
    made = pl.read_parquet(tmp_path / "o/interactions.parquet").sort("time")
    assert made["item"].to_list() == list("mkza")
    assert made["time"].to_list() == [1e9, 1e9 + 0.001, 1e9 + 0.002, 1e9 + 0.003]


@pytest.mark.parametrize("layout", ["recbole", "mmrec", "elliot", "cornac", "freerec", "csv"])
def test_layouts_keep_fractions_of_seconds_or_report_their_loss(tmp_path, make_dataset, layout):
    folder = tmp_path / "log"
    (folder / "features").mkdir(parents=True)
    log = {"user": ["u"] * 3, "item": list("abc"), "split": ["train", "valid", "test"],
           "time": [1e9 + 0.25, 1e9 + 0.5, 1e9 + 1]}  # fmt: skip
    write_log(folder / "log.parquet", **log)
    write_log(folder / "features" / "text.parquet", item=list("abc"), v=[[1.0], [2.0], [3.0]])
    done = convert(folder, tmp_path / "o", layout)
    reported = any("fractions of a second are left out" in line for line in done.losses)
    assert reported == (layout == "cornac")
    convert(tmp_path / "o", tmp_path / "back", "parquet")
    times = pl.read_parquet(tmp_path / "back" / "log.parquet")["time"].to_list()
    assert times == ([10**9] * 2 + [10**9 + 1] if reported else log["time"])


def test_names_and_ids_in_messages_are_text(tmp_path):
    error = InputError("a\nb: \x1b[31mred\x1b[0m \u202e é")
    assert str(error) == "a\\nb: \\x1b[31mred\\x1b[0m \\u202e é"
    path = write_text(tmp_path / "log.csv", "user,item,\x1b[31mnote\na,b\n")
    source = find_source(path)
    with pytest.raises(InputError, match=r"line 2: \\x1b\[31mnote is missing"):
        read_log(find_source(path, columns={"value": source.left_out[0]}))


def test_the_middle_of_a_long_message_is_left_out():
    message = str(InputError("file: " + "x" * 10**6 + "; shorten it"))
    assert message.startswith("file: xxx")
    assert message.endswith("xxx; shorten it")
    assert len(message) < 2100


@pytest.mark.parametrize("old", [b"(3,)", b"'<f4'"])
def test_a_header_that_claims_more_than_the_file_has_takes_no_memory(tmp_path, old):
    folder = tmp_path / "log"
    (folder / "features").mkdir(parents=True)
    write_log(folder / "log.parquet", user=["u", "u"], item=["a", "b"])
    write_log(folder / "features" / "text.parquet", item=["a", "b"], v=np.ones((2, 3), np.float32))
    convert(folder, tmp_path / "elliot", "elliot")
    path = tmp_path / "elliot" / "text" / "a.npy"
    new = {b"(3,)": b"(%d,)" % 10**12, b"'<f4'": b"'|O' "}[old]
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(InputError, match=r"a.npy: not a complete NumPy array file"):
        load_dataset(tmp_path / "elliot")


def test_a_panic_of_polars_is_one_line(tmp_path, monkeypatch):
    """It is not an `Exception`; damaged Parquet can cause one."""
    path = tmp_path / "log.parquet"
    pl.DataFrame({"user": ["a"], "item": ["b"]}).write_parquet(path)

    def panic(*_, **__):
        raise pl.exceptions.PanicException("called `Result::unwrap()` on an `Err` value")

    source = find_source(path)
    monkeypatch.setattr(pl.LazyFrame, "collect", panic)
    with pytest.raises(InputError, match=r"log\.parquet: .*unwrap"):
        read_log(source)
