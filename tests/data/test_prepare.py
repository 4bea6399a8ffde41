"""Data sets from raw logs: counts checked by other means, all splits, formats and faults."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sgurinit.cli import app
from sgurinit.data import load_dataset
from sgurinit.data.prepare import SPLIT_METHODS, find_source, prepare
from sgurinit.data.prepare.filters import drop_repeated_pairs, filter_k_core
from sgurinit.data.prepare.item_tables import read_item_table
from sgurinit.data.prepare.log import Log
from sgurinit.data.prepare.splits import check_leakage, split_log
from sgurinit.errors import InputError

DAY = 86_400


def make_log(pairs, times=None) -> Log:
    users, items = np.array(pairs, dtype=np.uint32).T
    ids = [pl.Series([f"{letter}{n}" for n in range(a.max() + 1)]) for letter, a in
           (("u", users), ("i", items))]  # fmt: skip
    time = None if times is None else np.array(times, dtype=np.int64)
    return Log(users, items, None, time, *ids)


def pairs_of(log: Log) -> list[tuple[int, int]]:
    return list(zip(log.users.tolist(), log.items.tolist(), strict=True))


def random_log(seed: int = 0, n: int = 3000) -> Log:
    rng = np.random.default_rng(seed)
    pairs = np.c_[rng.integers(0, 80, n), rng.integers(0, 60, n)]
    return drop_repeated_pairs(make_log(pairs, rng.integers(0, 400, n)))


@pytest.fixture
def ml_100k(data_root: Path) -> Path:
    path = data_root / "ml-100k"
    if not path.is_dir():
        pytest.skip(f"real data absent: {path}")
    return path


# Counted with awk: `$3 >= 4`, then two passes over the file, repeated until no row is dropped.
@pytest.mark.parametrize(
    ("least", "n", "counts", "held"),
    [
        (4, 5, (54_413, 938, 1_008), (5_496, 5_063)),
        (4, 20, (46_572, 665, 602), None),
        (None, 5, (99_287, 943, 1_349), None),
    ],
)
def test_ml_100k_has_the_counts_that_awk_finds(ml_100k, tmp_path, least, n, counts, held):
    card = prepare(ml_100k, tmp_path / "out", min_value=least, core=n)
    read, last = card.steps[0], card.steps[-1]
    assert (read.interactions, read.users, read.items) == (100_000, 943, 1_682)
    assert (last.interactions, last.users, last.items) == counts
    if least:
        assert (card.steps[1].interactions, card.steps[1].items) == (55_375, 1_447)
    if held:
        assert (card.splits["valid"].interactions, card.splits["test"].interactions) == held
    data = load_dataset(tmp_path / "out")
    assert (data.n_users, data.n_items) == counts[1:]
    assert sum(len(part) for _, part in data.splits()) == counts[0]
    items = pl.read_parquet(tmp_path / "out" / "items.parquet")
    assert items.filter(item="50")["movie_title"].to_list() == ["Star Wars"]
    assert (
        json.loads((tmp_path / "out" / "card.json").read_text())["steps"][-1]["items"] == counts[2]
    )


def test_ml_100k_by_time_is_cut_where_sort_and_awk_cut_it(ml_100k, tmp_path):
    card = prepare(ml_100k, tmp_path / "out", core=1, split="time")
    assert [s.interactions for s in card.splits.values()] == [79_999, 10_001, 10_000]


def slow_core(pairs: list[tuple[int, int]], least: int) -> set[tuple[int, int]]:
    kept = set(pairs)
    while True:
        users, items = Counter(u for u, _ in kept), Counter(i for _, i in kept)
        fewer = {(u, i) for u, i in kept if users[u] >= least and items[i] >= least}
        if fewer == kept:
            return kept
        kept = fewer


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=60),
    st.integers(1, 4),
)
def test_the_k_core_equals_a_slow_one(pairs, least):
    log = drop_repeated_pairs(make_log(pairs))
    assert pairs_of(log) == sorted(set(pairs))
    assert set(pairs_of(filter_k_core(log, least, least)[0])) == slow_core(pairs, least)


def test_the_earliest_of_repeated_pairs_is_kept():
    log = drop_repeated_pairs(make_log([(0, 1), (1, 0), (0, 1), (0, 0)], [30, 5, 20, 9]))
    assert pairs_of(log) == [(0, 0), (0, 1), (1, 0)]
    assert log.time.tolist() == [9, 20, 5]


@pytest.mark.parametrize("kind", SPLIT_METHODS)
def test_every_split_is_seeded_and_has_no_leak(kind):
    log = random_log()
    labels = split_log(log, kind, seed=1)
    check_leakage(log, labels, kind)
    np.testing.assert_array_equal(labels, split_log(log, kind, seed=1))
    assert set(labels.tolist()) == {0, 1, 2}
    drawn = kind != "time"
    assert (labels != split_log(log, kind, seed=2)).any() == drawn


@pytest.mark.parametrize(("degree", "valid", "test"), [
    (1, 0, 0), (2, 1, 0), (3, 1, 1), (5, 1, 1), (9, 1, 1), (10, 1, 1), (14, 1, 1), (15, 2, 1),
    (20, 2, 2), (37, 4, 3),
])  # fmt: skip
def test_held_out_counts_are_those_of_the_literature(degree, valid, test):
    big = [(0, item) for item in range(40)]
    log = drop_repeated_pairs(
        make_log(big + [(1, item) for item in range(degree)], range(40 + degree))
    )
    for kind in ("random", "user-time"):
        labels = split_log(log, kind)[log.users == 1]
        assert ((labels == 1).sum(), (labels == 2).sum()) == (valid, test)


def test_leave_one_out_holds_out_the_last_two():
    log = drop_repeated_pairs(
        make_log([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 2)], [3, 1, 2, 9, 8, 4])
    )
    assert split_log(log, "leave-one-out").tolist() == [2, 0, 1, 2, 0, 0]


def test_splits_by_time_are_in_order():
    log = random_log()
    labels = split_log(log, "user-time")
    for user in np.unique(log.users):
        of = log.users == user
        parts = [log.time[of & (labels == n)] for n in range(3)]
        assert parts[0].max() <= parts[1].min() <= parts[1].max() <= parts[2].min()
    labels = split_log(log, "time")
    cuts = [log.time[labels == n] for n in range(3)]
    assert cuts[0].max() < cuts[1].min()
    assert cuts[1].max() < cuts[2].min()
    assert abs(len(cuts[0]) / len(log) - 0.8) < 0.02


@pytest.mark.parametrize(("kind", "side"), [("cold-items", "items"), ("cold-users", "users")])
def test_cold_items_and_users_are_in_one_split_each(kind, side):
    log = random_log()
    labels = split_log(log, kind)
    parts = [set(getattr(log, side)[labels == n].tolist()) for n in range(3)]
    total = sum(map(len, parts))
    assert len(set.union(*parts)) == total
    assert [len(part) for part in parts[1:]] == [round(0.1 * total)] * 2


@pytest.mark.parametrize("kind", ["user-time", "leave-one-out", "time", "cold-items", "cold-users"])
def test_a_leak_is_found(kind):
    log = random_log()
    labels = split_log(log, kind)
    first_test = int(np.flatnonzero(labels == 2)[0])
    row = int(np.flatnonzero((labels == 0) & (log.users == log.users[first_test]))[0]) if (
        kind in ("user-time", "leave-one-out", "time")
    ) else first_test  # fmt: skip
    if kind.startswith("cold"):
        labels[row] = 0
    else:
        log = replace(log, time=log.time.copy())
        log.time[row] = log.time.max() + 1
    with pytest.raises(InputError, match="the split leaks"):
        check_leakage(log, labels, kind)


def test_a_repeated_pair_is_a_leak():
    with pytest.raises(InputError, match="user u0 has item i1 twice"):
        check_leakage(make_log([(0, 1), (0, 1)]), np.array([0, 2], dtype=np.uint8), "random")


# --- formats of logs -------------------------------------------------------------------------

ROWS = [(u, i, 1 + (u * i) % 5, 1_000_000_000 + DAY * u + 60 * i)
        for u in range(8) for i in range(6)]  # fmt: skip


def text(rows, separator, header=None) -> str:
    lines = [separator.join(map(str, row)) for row in rows]
    return "\n".join(([header] if header else []) + lines) + "\n"


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def amazon(rows, user, item, value, time, factor=1) -> str:
    records = [{user: f"U{u}", item: f"B{i}", value: float(v), time: t * factor, "text": "fine"}
               for u, i, v, t in rows]  # fmt: skip
    return "".join(json.dumps(record) + "\n" for record in records)


AMAZON_2014 = ("reviewerID", "asin", "overall", "unixReviewTime")
AMAZON_2023 = ("user_id", "parent_asin", "rating", "timestamp")


def ml_100k_items() -> bytes:
    flags = "|".join(["0"] * 5 + ["1"] + ["0"] * 13)
    return "".join(
        f"{i}|Amélie {i} (2001)|01-Jan-2001||http://x|{flags}\n" for i in range(6)
    ).encode("latin-1")


@pytest.mark.parametrize(
    ("files", "source", "kind"),
    [
        ({"a.csv": text(ROWS, ",", "user,item,rating,timestamp")}, "a.csv", "named columns"),
        ({"a.tsv.gz": text(ROWS, "\t", "user\titem\trating\ttimestamp")}, "a.tsv.gz", "named"),
        ({"a.txt": text(ROWS, ";", "uid;iid;score;ts")}, "a.txt", "named columns"),
        ({"a.json.gz": amazon(ROWS, *AMAZON_2014)}, "a.json.gz", "2014 or 2018"),
        ({"a.jsonl": amazon(ROWS, *AMAZON_2023, 1000)}, "a.jsonl", "2023"),
        ({"m/u.data": text(ROWS, "\t"), "m/u.item": ml_100k_items()}, "m", "MovieLens"),
        (
            {
                "m/ratings.dat": text(ROWS, "::"),
                "m/movies.dat": "".join(
                    f"{i}::Amélie: {i} (2001)::Comedy\n" for i in range(6)
                ).encode("latin-1"),
            },
            "m",
            "MovieLens",
        ),
        (
            {
                "m/ratings.csv": text(ROWS, ",", "userId,movieId,rating,timestamp"),
                "m/movies.csv": "movieId,title,genres\n"
                + "".join(f'{i},"Amélie, {i} (2001)",Comedy|War\n' for i in range(6)),
            },
            "m",
            "MovieLens",
        ),
    ],
)  # fmt: skip
def test_every_format_gives_the_same_data(tmp_path, files, source, kind):
    for name, content in files.items():
        write(tmp_path, name, content)
    card = prepare(tmp_path / source, tmp_path / "out", min_value=2, core=2, split="user-time")
    assert kind in card.recognized_as
    table = pl.read_parquet(tmp_path / "out" / "interactions.parquet")
    found = sorted(
        (int(u.strip("U")), int(i.strip("B")), v, t)
        for u, i, v, t in table.select("user", "item", "value", "time").iter_rows()
    )
    assert found == sorted(row for row in ROWS if row[2] >= 2)
    if "MovieLens" in kind:
        items = pl.read_parquet(tmp_path / "out" / "items.parquet")
        assert items["year"].unique().to_list() == ["2001"]
        assert items["title"][0].startswith("Amélie")
        assert items["genres"][0].startswith("Comedy")
    load_dataset(tmp_path / "out")


def test_parquet_keeps_integer_ids(tmp_path):
    table = pl.DataFrame(ROWS, schema=["visitor", "item", "value", "time"], orient="row")
    table.write_parquet(tmp_path / "a.parquet")
    source = find_source(tmp_path / "a.parquet", columns={"user": "visitor"})
    prepare(source, tmp_path / "out", core=1)
    assert load_dataset(tmp_path / "out").user_ids.tolist() == list(range(8))


@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_dates_of_a_parquet_file_become_seconds(tmp_path, unit, zone):
    table = pl.DataFrame(ROWS, schema=["user", "item", "value", "time"], orient="row")
    moments = pl.from_epoch("time").cast(pl.Datetime(unit)).dt.replace_time_zone("UTC")
    moments = moments.dt.convert_time_zone(zone) if zone else moments.dt.replace_time_zone(None)
    table.with_columns(moments).write_parquet(tmp_path / "a.parquet")
    prepare(tmp_path / "a.parquet", tmp_path / "out", core=1)
    made = pl.read_parquet(tmp_path / "out/interactions.parquet")
    assert sorted(made["time"]) == sorted(table["time"])


def test_dates_of_iso_8601_become_seconds(tmp_path):
    moments = ["2001-09-09T01:46:40Z", "2001-09-09T03:46:41+02:00", "2001-09-09 01:46:42.5",
               "2001-09-09", "2001-09-09T01:46"]  # fmt: skip
    lines = [f"u,{n},{moment}" for n, moment in enumerate(moments)]
    path = write(tmp_path, "a.csv", "\n".join(["user,item,time", *lines]))
    prepare(path, tmp_path / "out", core=1, time_unit="iso")
    made = pl.read_parquet(tmp_path / "out/interactions.parquet").sort("item")
    midnight = 10**9 - (3600 + 46 * 60 + 40)
    assert made["time"].to_list() == [10**9, 10**9 + 1, 10**9 + 2.5, midnight, 10**9 - 40]


def quoted_text(separator: str) -> str:
    rows = [("user", "item", "value", "ts"), *ROWS]
    return text([[f'"{field}"' for field in row] for row in rows], separator)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"\xef\xbb\xbf" + text(ROWS, ",", "user,item,rating,timestamp").encode()),
        ("a.csv", text(ROWS, ",", "user,item,rating,timestamp").replace("\n", "\r\n")),
        ("a.txt", quoted_text(";")),
        ("a.tsv", quoted_text("\t")),
    ],
    ids=["mark", "crlf", "semicolons", "quoted"],
)  # fmt: skip
def test_files_of_spreadsheets_are_read(tmp_path, name, content):
    prepare(write(tmp_path, name, content), tmp_path / "out", core=1)
    made = pl.read_parquet(tmp_path / "out/interactions.parquet")
    found = [(int(u), int(i), v, t) for u, i, _, v, t in made.iter_rows()]
    assert sorted(found) == sorted(ROWS)


def test_integers_of_any_size_and_lists_in_the_table_of_items(tmp_path):
    table = pl.DataFrame(ROWS, schema=["user", "item", "value", "time"], orient="row")
    large = pl.col("user").cast(pl.UInt64) + 2**63
    table.with_columns(large).write_parquet(tmp_path / "a.parquet")
    known = pl.DataFrame({"item": range(6), "tags": [["a", "b"], [], None] * 2, "v": [[1.0]] * 6})
    known.write_parquet(tmp_path / "items.parquet")
    source = find_source(tmp_path / "a.parquet", items=tmp_path / "items.parquet")
    card = prepare(source, tmp_path / "out", core=1)
    assert (card.items_described, card.left_out) == (6, ("v",))
    ids = load_dataset(tmp_path / "out").user_ids.tolist()
    assert ids == [str(2**63 + n) for n in range(8)]  # 64 bits with a sign do not hold them
    items = pl.read_parquet(tmp_path / "out/items.parquet")
    assert items.columns == ["item", "tags"]
    assert items["tags"].to_list()[:3] == [["a", "b"], [], None]
    pl.DataFrame({"item": [1], "tags": [{"a": 1}]}).write_parquet(tmp_path / "items.parquet")
    with pytest.raises(InputError, match=r"column tags is Struct.*lists of them"):
        prepare(source, tmp_path / "other", core=1)


@pytest.mark.parametrize(
    "lines",
    [
        [str({"asin": f"B{i}", "title": f"It's {i}", "categories": [["Baby", "Toys"]],
              "imUrl": "http://i"}) for i in range(5)],
        [json.dumps({"asin": f"B{i}", "title": f"It's {i}", "category": ["Baby", "Toys"],
                     "imageURLHighRes": ["http://i", "http://j"]}) for i in range(5)],
        [json.dumps({"parent_asin": f"B{i}", "title": f"It's {i}", "categories": ["Baby", "Toys"],
                     "images": [{"large": "http://i", "hi_res": None}]}) for i in range(5)],
    ],
    ids=["2014", "2018", "2023"],
)  # fmt: skip
def test_product_files_of_amazon_become_the_table_of_items(tmp_path, lines):
    log = write(tmp_path, "a.json", amazon(ROWS, *AMAZON_2014))
    meta = write(tmp_path, "meta.json.gz", "\n".join(lines) + "\n")
    card = prepare(find_source(log, items=meta), tmp_path / "out", core=1)
    assert card.items_described == 5
    items = pl.read_parquet(tmp_path / "out" / "items.parquet")
    assert items["title"].to_list() == [*(f"It's {i}" for i in range(5)), None]
    assert items["categories"][0] == "Baby, Toys"
    assert items["image_url"][0] == "http://i"


def test_products_that_are_described_twice(tmp_path, caplog):
    lines = [json.dumps({"asin": f"B{i}", "title": f"Title {i}"}) for i in (0, 1, 0)]
    path = write(tmp_path, "meta.json", "\n".join(lines) + "\n")
    assert read_item_table(path, ["item"])["title"].to_list() == ["Title 0", "Title 1"]
    assert not caplog.records
    write(tmp_path, "meta.json", "\n".join([*lines, lines[1].replace("Title", "New")]) + "\n")
    assert read_item_table(path, ["item"])["title"].to_list() == ["Title 0", "New 1"]
    (said,) = caplog.messages
    assert "meta.json: 1 of 2 items are described more than once, such as 'B1'" in said


def test_the_same_seed_writes_the_same_data(tmp_path):
    log = write(tmp_path, "a.csv", text(ROWS, ",", "user,item,rating,timestamp"))
    prints = []
    for name in "ab":
        prepare(log, tmp_path / name, core=1, seed=3)
        prints.append(load_dataset(tmp_path / name).fingerprint)
    assert prints[0] == prints[1]


# --- bad input -------------------------------------------------------------------------------

HEAD = "user,item,rating,timestamp"
GOOD = text(ROWS, ",", HEAD)
CUT = gzip.compress(
    "".join(f"u{n},i{n * 7919 % 10007}\n" for n in range(20_000)).encode(), mtime=0
)[:5000]


@pytest.mark.parametrize(
    ("name", "content", "options", "says"),
    [
        ("a.csv", text(ROWS, ";", HEAD.replace(",", ";")), [], "separated at ','"),
        ("a.csv", text(ROWS, ",", "user,product,r,t"), [], "no column is known as the item"),
        ("a.csv", GOOD, ["--time", "when"], "column 'when' is missing; the file has 'user'"),
        ("a.csv", GOOD + "9,9,five,1000000000\n", [], "line 50: rating is 'five'; a finite number"),
        ("a.csv", GOOD + "9,9,nan,1000000000\n", [], "line 50: rating is 'nan'"),
        ("a.csv", GOOD + "9,,5,1000000000\n", [], "line 50: item is missing"),
        ("a.csv", GOOD + "9,9\n", [], "line 50: rating is missing"),
        ("a.csv", GOOD + "9,9,5,1000000000,7\n", [], "line 50 has more fields than the first"),
        ("a.csv", GOOD, ["--time-unit", "ms"], "lies in the year 1970; give --time-unit"),
        ("a.csv", GOOD.replace(",10000", ",1000000010000"), [], "read as s lies in the year"),
        ("a.csv", GOOD, ["--time-unit", "days"], "allowed are s, ms, us, ns, iso, order"),
        ("a.csv", GOOD.encode() + b"\xff\xfe,9,5,1000000000\n", [], "not UTF-8 text"),
        ("a.csv", b"\xff\xfe,item\n", [], "not UTF-8 text"),
        ("a.csv", "", [], "the file is empty"),
        ("a.csv", HEAD + "\n", [], "the log has no interaction"),
        ("a.csv", GOOD, ["--core", "20"], "no interaction is left after '20-core"),
        ("a.csv", GOOD, ["--min-value", "6"], "no interaction is left after 'value >= 6'"),
        ("a.csv", "user,item\n1,2\n", ["--min-value", "6"], "no column of values"),
        ("a.csv", "user,item\n1,2\n", ["--split", "time", "--core", "1"], "no column of times"),
        ("a.csv", "user,item\n1,2\n", ["--core", "1"], "valid is empty with 1 interactions"),
        ("a.csv", GOOD, ["--split", "fold"], "allowed are random, leave-one-out"),
        ("a.csv", GOOD, ["--ratios", "8:2"], "three whole numbers"),
        ("a.csv", GOOD, ["--ratios", "0:1:1"], "expected three whole numbers"),
        ("a.csv", GOOD, ["--separator", "::"], "expected tab, or one character"),
        ("a.json", '{"user": "a", "item": "b"}\nnonsense\n', [], "cannot be read"),
        ("a.json", "nonsense\n", [], "line 1 is not a JSON object"),
        ("a.parquet", "nonsense\n", [], "not a complete Parquet file"),
        ("a.csv", GOOD + '"",9,5,1000000000\n', [], "line 50: user is missing"),
        ("a.csv", GOOD + "9, ,5,1000000000\n", [], "line 50: item is missing"),
        ("a.csv", GOOD.replace("user,", "item,"), [], "no column is known as the user"),
        ("a.csv", GOOD.replace("rating", "user"), [], "column 'user' is repeated"),
        ("a.csv", GOOD, ["--item", "user"], "cannot be both the user and the item"),
        ("a.csv", GOOD, ["--columns", "user,item"], "line 1 has 4 fields, separated at"),
        ("a.csv", GOOD, ["--columns", "user,item,a,b"], "line 1 is a header with 'user' and"),
        ("a.csv", GOOD + "9,9,5,2020-01-01\n", [], "a finite number is expected; for dates"),
        ("a.csv", GOOD, ["--time-unit", "iso"], "is '1000000000'; a date such as"),
        ("a.csv", GOOD + "9,9,5,-5\n", [], "-5 read as s lies in the year 1970"),
        ("a.csv", GOOD, ["--ratios", "8:-1:3"], "--ratios is 8:-1:3, expected three whole numbers"),
        ("a.csv", GOOD, ["--separator", '"'], "other than a quote or a line break"),
        ("a.csv", GOOD.replace("\n", "\r"), [], "lines end with a bare carriage return"),
        ("a.csv", gzip.compress(GOOD.encode(), mtime=0), [], "give its name the suffix .gz"),
        ("a.json", b'\xef\xbb\xbf{"user": "a", "item": "b"}\n', [], "a byte order mark"),
        ("a.json", b'{"user": "a", "item": "b"}\n{"user": "\xff\xfe"}\n', [], "not UTF-8 text"),
        ("a.json", '{"user": "a", "item": "b"}\n{"user": ""}\n', [], "line 2: user is missing"),
        ("m/u.data", text(ROWS, ","), [], "line 1 has 1 fields, separated at"),
        ("a.csv", GOOD, ["--features", "t=none.parquet"], "none.parquet: file is missing"),
        ("a.csv", GOOD, ["--features", "t.parquet"],
         "--features: 't.parquet' is not NAME=FILE.parquet, with every name once, such as "
         "text=text.parquet"),
        ("a.csv", GOOD, ["--items", "none.csv"], "none.csv: file is missing"),
        ("m/x.txt", GOOD, [], "no known log in it"),
    ],
)  # fmt: skip
def test_bad_input_gives_a_one_line_error_and_leaves_no_file(
    tmp_path, name, content, options, says
):
    path = write(tmp_path, name, content)
    source = path.parent if name.startswith("m/") else path
    assert_refused(tmp_path, source, options, says)


def test_a_truncated_gzip_is_refused(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(CUT)
    assert_refused(tmp_path, path, ["--columns", "user,item"], "a.csv.gz: the file is cut off")
    damaged = bytearray(CUT)
    damaged[40] ^= 0xFF
    damaged[41] ^= 0xFF
    path.write_bytes(bytes(damaged))
    assert_refused(tmp_path, path, ["--columns", "user,item"], "a.csv.gz: cannot be read (Error -3")


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("user", [1.5, 2.0], "column user is Float64; text or integers are expected"),
        ("item", [[1], [2]], "column item is List(Int64); text or integers are expected"),
        ("item", [True, False], "column item is Boolean; text or integers are expected"),
        ("time", [[1], [2]], "column time is List(Int64); numbers are expected for the time"),
        ("value", [None, 1.0], "row 0: value is missing"),
    ],
)
def test_columns_of_other_types_are_refused(tmp_path, column, values, says):
    table = pl.DataFrame({"user": ["a", "b"], "item": ["x", "y"]})
    table.with_columns(pl.Series(column, values)).write_parquet(tmp_path / "a.parquet")
    assert_refused(tmp_path, tmp_path / "a.parquet", [], says)


def test_a_name_that_is_too_long_gives_a_one_line_error(tmp_path):
    path = write(tmp_path, "a.csv", GOOD)
    assert_refused(tmp_path, path, ["--out", str(tmp_path / ("x" * 300))], "File name too long")
    assert_refused(tmp_path, tmp_path / ("x" * 300), [], "File name too long")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("item,title\n1,a\n1,b\n", "has item '1' more than once"),
        ("item,title\nx,a\n", "has none of the 6 items"),
        ("product,title\n1,a\n", "no column of item ids"),
        ("item,title\n1,a\n,b\n", "row 2: item is missing"),
        (b"item,title\n1,\xff\n", "not UTF-8 text"),
    ],
)
def test_a_faulty_table_of_items_is_refused(tmp_path, content, says):
    path = write(tmp_path, "a.csv", GOOD)
    items = write(tmp_path, "items.csv", content)
    assert_refused(tmp_path, path, ["--items", str(items)], says)


def assert_refused(folder: Path, source: Path, options: list[str], says: str) -> None:
    before = sorted(folder.rglob("*"))
    words = ["prepare", str(source), "--out", str(folder / "out"), *options]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert says in lines[0]
    assert sorted(folder.rglob("*")) == before


def test_existing_files_are_not_overwritten(tmp_path):
    path = write(tmp_path, "a.csv", GOOD)
    with pytest.raises(InputError, match="exists already"):
        prepare(path, tmp_path)


def test_without_features_a_start_is_refused_in_one_line(tmp_path):
    prepare(write(tmp_path, "a.csv", GOOD), tmp_path / "out", core=1)
    words = ["init", str(tmp_path / "out"), "--out", str(tmp_path / "s.safetensors")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert "out: has no item features; add them with `sgurinit encode`" in result.stderr


def test_without_features_the_next_step_is_shown(tmp_path):
    path = write(tmp_path, "a.csv", GOOD)
    out = tmp_path / "o"
    hint = "no item features yet: add them with `sgurinit encode"
    made = CliRunner().invoke(app, ["prepare", str(path), "--out", str(out), "--core", "1"])
    assert made.output.splitlines()[-1].startswith(f"{hint} {out}`")
    shown = CliRunner().invoke(app, ["inspect", str(out)])
    assert hint in " ".join(shown.output.split())
    assert "mean norm" not in shown.output
    vectors = pl.DataFrame({"item": range(6), "vector": [[1.0, 2.0]] * 6})
    vectors.write_parquet(tmp_path / "v.parquet")
    words = ["encode", str(out), "--vectors", str(tmp_path / "v.parquet"), "--modality", "text"]
    assert CliRunner().invoke(app, words).exit_code == 0
    shown = CliRunner().invoke(app, ["inspect", str(out)])
    assert "no item features" not in shown.output
    assert "mean norm" in shown.output


def test_the_card_shows_how_many_users_and_items_the_core_dropped(tmp_path):
    path = write(tmp_path, "a.csv", GOOD + "lone,1,5,1000000000\nlone,new,5,1000000000\n")
    for core, shown in (("3", True), ("1", False)):
        words = ["prepare", str(path), "--out", str(tmp_path / core), "--core", core]
        output = " ".join(CliRunner().invoke(app, words).output.split())
        assert ("dropped 1 of 9 users and 1 of 7 items by 3-core" in output) == shown
        assert ("dropped" in output) == shown


def test_the_command_shows_the_card(tmp_path):
    path = write(tmp_path, "a.csv", GOOD)
    result = CliRunner().invoke(
        app, ["prepare", str(path), "--out", str(tmp_path / "o"), "--core", "2"]
    )
    assert result.exit_code == 0, result.output
    for part in ("log with named columns", "as read", "2-core", "train", "leaks", "none found"):
        assert part in result.output
    assert "columns left out" not in result.output


def test_unused_columns_of_the_log_are_reported(tmp_path):
    path = write(tmp_path, "a.json", amazon(ROWS, *AMAZON_2014))
    words = ["prepare", str(path), "--out", str(tmp_path / "o"), "--core", "2"]
    result = CliRunner().invoke(app, words)
    assert "columns left out   text" in result.output
    assert json.loads((tmp_path / "o/card.json").read_text())["left_out"] == ["text"]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"stars": 4, "when": 1_600_000_000}, "stars, when (name them with --value, --time)"),
        (
            {"stars": 4.5, "when": "2024-01-31T12:00"},
            "stars, when (name them with --value, --time)",
        ),
        ({"when": datetime(2024, 1, 31, tzinfo=UTC)}, "when (name it with --time)"),
        ({"at": 1_600_000_000_000, "note": "good"}, "at, note (name at with --time)"),
        ({"rating": 4, "votes": 3, "day": "2024-01-31"}, "votes, day (name day with --time)"),
        ({"order_id": 3, "orderId": 4, "note": "good"}, "order_id, orderId, note"),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "parquet", "json"])
def test_unnamed_columns_that_look_like_values_or_times_are_suggested(
    tmp_path, columns, says, suffix
):
    table = pl.DataFrame(ROWS, schema=["user", "item", "value", "time"], orient="row")
    table = table.select("user", "item").with_columns(**{n: pl.lit(v) for n, v in columns.items()})
    path = tmp_path / f"log.{suffix}"
    writers = {"csv": table.write_csv, "parquet": table.write_parquet, "json": table.write_ndjson}
    writers[suffix](path)
    words = ["prepare", str(path), "--out", str(tmp_path / "o"), "--core", "2"]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    (line,) = (x for x in result.output.splitlines() if x.startswith("columns left out"))
    assert line.removeprefix("columns left out").strip() == says


@pytest.mark.parametrize("kind", ["random", "user-time"])
def test_histories_are_split_as_in_lattice(tmp_path, kind):
    """The rule of its data/build_data.py: two below ten interactions, then int(n * 0.2)."""
    lengths = range(3, 64)
    rows = [(f"u{n}", f"i{i}", i) for n in lengths for i in range(n)]
    log = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    log.write_parquet(tmp_path / "log.parquet")
    prepare(tmp_path / "log.parquet", tmp_path / "out", core=1, split=kind, time_unit="order")
    made = pl.read_parquet(tmp_path / "out/interactions.parquet")
    counts = dict(made.group_by("user", "split").len().select(
        pl.concat_str("user", "split", separator=" "), "len").iter_rows())  # fmt: skip
    for n in lengths:
        held = 2 if n < 10 else int(n * 0.2)
        expected = {"train": n - held, "valid": held - held // 2, "test": held // 2}
        assert {s: counts.get(f"u{n} {s}", 0) for s in expected} == expected
