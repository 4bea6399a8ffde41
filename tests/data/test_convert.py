"""Layouts keep what they can hold, report what they lose, and refuse broken folders."""

from __future__ import annotations

import codecs
import gzip
import re
import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sgurinit.cli import app
from sgurinit.core.inputs.features import BFLOAT16, ItemFeatures
from sgurinit.data import load_dataset, planted, recognize_layout, write_native
from sgurinit.data.convert import convert, writable_layouts
from sgurinit.data.layouts.contents import Contents
from sgurinit.errors import InputError

WORDS = st.text("abc xyz,'é\"|\t\r\n", min_size=1, max_size=6).filter(lambda s: s.strip() == s)


@st.composite
def contents(draw) -> Contents:
    n_users, n_items = draw(st.integers(2, 5)), draw(st.integers(2, 5))
    seed = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    whole = draw(st.booleans())
    users = np.arange(n_users) if whole else [f"u{n}" for n in range(n_users)]
    items = np.arange(n_items) if whole else [f"i{n}" for n in range(n_items)]
    pairs = draw(st.lists(st.tuples(st.integers(0, n_users - 1), st.integers(0, n_items - 1)),
                          min_size=1, max_size=12, unique=True))  # fmt: skip
    splits = ["train", *(draw(st.sampled_from(["train", "valid", "test"])) for _ in pairs[1:])]
    log = pl.DataFrame(
        {"user": [users[u] for u, _ in pairs], "item": [items[i] for _, i in pairs],
         "split": splits}
    )  # fmt: skip
    if draw(st.booleans()):
        log = log.with_columns(value=pl.Series(seed.integers(2, 11, len(pairs)) / 2))
    if draw(st.booleans()):
        log = log.with_columns(time=pl.Series(seed.integers(10**9, 2**40, len(pairs))))
    dtype = draw(st.sampled_from([np.float16, BFLOAT16, np.float32, np.float64]))
    features = {}
    for name in draw(st.sampled_from([(), ("text",), ("image", "text")])):
        present = seed.random(n_items) < 0.8
        present[0] = True
        values = seed.normal(size=(n_items, draw(st.integers(1, 3)))).astype(dtype)
        features[name] = ItemFeatures(values, None if present.all() else present)
    known = pl.DataFrame({"item": items})
    if draw(st.booleans()):
        titles = draw(st.lists(st.none() | WORDS, min_size=n_items, max_size=n_items))
        known = known.with_columns(title=pl.Series(titles, dtype=pl.String))
    return Contents("small", log, pl.DataFrame({"user": users}), known, features)


def rows(table: pl.DataFrame, *columns: str) -> list[tuple]:
    there = [c for c in columns if c in table.columns]
    return sorted(table.select(pl.col("user", "item").cast(pl.String), *there).iter_rows())


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(contents())
def test_layouts_keep_what_they_can_hold(given):
    for name, layout in writable_layouts().items():
        if name == "mmrec" and not given.features:
            continue  # its folders have features
        losses = layout.capabilities.losses(given)
        with TemporaryDirectory() as temporary:
            folder = Path(temporary) / "small"
            folder.mkdir()
            layout.write(given, folder)
            assert recognize_layout(folder).layout.name == name
            found = layout.contents(folder)
            found_features = {m: (f.mask().copy(), np.array(f.values)) for m, f in
                              found.features.items()}  # fmt: skip
        back, expected = found.interactions, given.interactions
        by_position = layout.capabilities.ids == "positions"
        if by_position:
            expected = given.with_position_ids().interactions
        columns = [c for c in ("split", "value", "time") if c in expected and c not in losses]
        assert rows(back, *columns) == rows(expected, *columns)
        if "ids" not in losses and not by_position:
            assert back["user"].dtype == expected["user"].dtype
        for what in ("user", "item"):
            known = getattr(given, f"{what}s")[what].cast(pl.String).to_list()
            kept = getattr(found, f"{what}s")[what].cast(pl.String).to_list()
            if f"{what}s" not in losses and not by_position:
                assert sorted(kept) == sorted(known)
        if "title" in given.items.columns and "texts" not in losses:
            titles = given.items["title"]
            if "line_breaks" in losses:
                titles = titles.str.replace_all(r"[\t\r\n]", " ")
            assert found.items["title"].to_list() == titles.to_list()
        if "features" not in losses:
            assert_features_kept(given, found, found_features, losses, by_position)


def assert_features_kept(given, found, found_features, losses, by_position) -> None:
    assert set(found_features) == set(given.features)
    order = {str(i): n for n, i in enumerate(found.items["item"].to_list())}
    for modality, feature in given.features.items():
        mask, values = found_features[modality]
        for n, item in enumerate(given.items["item"].to_list()):
            place = order.get(str(n if by_position else item))
            if f"rows of {modality}" not in losses:
                assert (place is not None and mask[place]) == feature.mask()[n]
            if feature.mask()[n]:
                wanted = feature.values[n]
                if f"type of {modality}" in losses:
                    wanted = wanted.astype(np.float32)
                assert values.dtype == wanted.dtype
                np.testing.assert_array_equal(values[place], wanted)


def with_texts(make_dataset) -> Contents:
    dataset = make_dataset(
        user_ids=np.array(["ann", "bob", "cem", "dot"]),
        features={"text": ItemFeatures(np.ones((5, 2), np.float16), np.arange(5) > 0)},
    )
    whole = Contents.from_dataset(dataset)
    titles = pl.Series(["a", "b", None, "d", "e"])
    log = whole.interactions.with_columns(value=pl.lit(4.0), time=pl.lit(10**9))
    return Contents("small", log, whole.users, whole.items.with_columns(title=titles),
                    whole.features)  # fmt: skip


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ("native", []),
        ("parquet", []),
        ("csv", ["integer item ids become text", "text is converted from float16"]),
        ("recbole", ["integer item ids become text", "text is converted from float16"]),
        ("mmrec", ["integer item ids become text", "columns of users and items are left out: title",
                   "1 items without text get rows of zeros"]),
        ("mrlib", ["ids are replaced by positions", "times of interactions are left out", "title",
                   "1 users without interactions", "1 items without text get rows of zeros"]),
        ("elliot", ["integer item ids", "title", "1 users without interactions"]),
        ("cornac", ["integer item ids", "title", "1 users without interactions"]),
        ("freerec", ["ids are replaced by positions", "features are left out: text"]),
    ],
)  # fmt: skip
def test_losses_are_reported(make_dataset, tmp_path, to, says):
    folder = tmp_path / "from"
    folder.mkdir()
    writable_layouts()["native"].write(with_texts(make_dataset), folder)
    result = CliRunner().invoke(app, ["convert", str(folder), str(tmp_path / "to"), "--to", to])
    assert result.exit_code == 0, result.output
    lines = [line for line in result.output.splitlines() if "cannot hold" in line]
    assert len(lines) == len(says), result.output
    for line, part in zip(lines, says, strict=True):
        assert part in line
    load_dataset(tmp_path / "to")


def test_a_chain_of_conversions_keeps_the_fingerprint(tiktok_path, tmp_path):
    before = load_dataset(tiktok_path)
    convert(tiktok_path, tmp_path / "native", "native")
    convert(tmp_path / "native", tmp_path / "parquet", "parquet")
    convert(tmp_path / "parquet", tmp_path / "again", "native")
    assert load_dataset(tmp_path / "again").fingerprint == before.fingerprint
    convert(tmp_path / "native", tmp_path / "mrlib", "mrlib")
    assert load_dataset(tmp_path / "mrlib").fingerprint == before.fingerprint


def test_files_of_recbole_are_read_completely(data_root, tmp_path):
    path = data_root / "ml-100k"
    if not path.is_dir():
        pytest.skip(f"real data absent: {path}")
    result = CliRunner().invoke(app, ["inspect", str(path)])
    assert (
        "recognized as recbole by ml-100k.inter, no splits, all interactions are for training"
        in result.output
    )
    dataset = load_dataset(path)
    assert (dataset.n_users, dataset.n_items, len(dataset.train)) == (943, 1682, 100_000)
    assert convert(path, tmp_path / "csv", "csv").losses == ()
    assert (
        pl.read_csv(tmp_path / "csv" / "items.csv", infer_schema=False).columns[1] == "movie_title"
    )
    assert convert(tmp_path / "csv", tmp_path / "back", "recbole").losses == ()
    theirs = pl.read_csv(path / "ml-100k.inter", separator="\t")
    ours = pl.read_csv(tmp_path / "back" / "csv.train.inter", separator="\t")
    assert ours.sort(ours.columns).equals(theirs.sort(theirs.columns))


def test_a_name_may_have_dots(make_dataset, tmp_path):
    write_native(make_dataset(name="v1.0"), tmp_path / "n")
    convert(tmp_path / "n", tmp_path / "r", "recbole")
    found = load_dataset(tmp_path / "r")
    assert (found.name, found.n_users, set(found.features)) == ("v1.0", 4, {"image", "text"})


# --- bad input -------------------------------------------------------------------------------


def error_after(folder: Path, to: str, change) -> str:
    """Return the one-line error for a folder of a layout after a change to its files."""
    change(folder / "bad")
    before = sorted(folder.rglob("*"))
    words = ["convert", str(folder / "bad"), str(folder / "out"), "--to", "native"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2, result.output
    assert sorted(folder.rglob("*")) == before
    (line,) = result.stderr.splitlines()
    return line


def put(name: str, old: str, new: str):
    def change(folder: Path) -> None:
        path = folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


def append(name: str, data: bytes):
    def change(folder: Path) -> None:
        with (folder / name).open("ab") as file:
            file.write(data)

    return change


CUT = gzip.compress(b"user,item\n0,0\n" * 99, mtime=0)[:-9]


def text_ids(folder: Path) -> None:
    table = pl.DataFrame({"item": ["0", "1"], "0": [1.0, 2.0]})
    table.write_parquet(folder / "features" / "text.parquet")


def interactions_with(**columns: list):
    def change(folder: Path) -> None:
        path = folder / "interactions.parquet"
        added = [pl.Series(name, values) for name, values in columns.items()]
        pl.read_parquet(path).with_columns(added).write_parquet(path)

    return change


@pytest.mark.slow
@pytest.mark.parametrize(
    ("to", "change", "says"),
    [
        ("recbole", put("bad.train.inter", "item_id:token", "thing:token"), "column item is miss"),
        ("recbole", append("bad.train.inter", b"0\t1\t2\t3\t4\n"), "more fields than the first"),
        (
            "recbole",
            append("bad.train.inter", b"nobody\t1\n"),
            "user id nobody of the",
        ),
        ("recbole", append("bad.textemb", b"9\t1 2\n"), "item id '9' is not one of the 5 items"),
        ("recbole", append("bad.textemb", b"0\t1 2\n"), "item id '0' is repeated"),
        ("recbole", append("bad.textemb", b"4\t1 x\n"), "an id and 2 numbers are expected"),
        ("recbole", append("bad.item", b"0\n"), "item id '0' is repeated"),
        ("recbole", append("bad.train.inter", b"\xff\xfe\t1\n"), "not UTF-8 text"),
        ("recbole", append("bad.test.inter", b"0\t0\n"), "in both train and test"),
        ("csv", put("log.csv", "user,", "person,"), "column user is missing; the file has"),
        ("csv", put("log.csv", ",valid", ",later"), "split is 'later'; allowed are"),
        ("csv", put("log.csv", ",", ";"), "more fields than the first"),
        ("csv", append("items.csv", b"0\n"), "item id '0' is repeated"),
        ("csv", append("features/text.csv", b"77,1.0,2.0\n"), "item id '77' is not one of the 5"),
        ("csv", append("features/text.csv", b"4,1.0,two\n"), "line 7: 1 is 'two'; a number"),
        ("elliot", append("train.tsv", b"0\t1\tfive\n"), "line 5: value is 'five'"),
        ("elliot", append("train.tsv", b"0\t\t5\n"), "line 5: item is missing"),
        ("elliot", lambda f: (f / "text" / "0.npy").write_bytes(b"x"), "not a complete NumPy"),
        ("cornac", append("train.ui", b"0;1\n"), "item is missing"),
        ("cornac", append("train.ui", b"\xff\t1\n"), "not UTF-8 text"),
        ("cornac", lambda f: (f / "train.ui").write_bytes(b""), "train has no interaction"),
        ("mmrec", append("bad.inter", b"\xff\t0\t0\n"), "not UTF-8 text"),
        ("mmrec", append("bad.inter", b"1.5\t0\t0\n"), "line 9: userID is '1.5'; an integer"),
        ("cornac", append("text.ids", b"0\n"), "5 rows but text.ids has 6 ids"),
        ("cornac", lambda f: (f / "text.npy").unlink(), "file is missing"),
        ("csv", append("items.csv", b'""\n'), "line 7: item is missing"),
        ("csv", put("log.csv", "0,0,", '"",0,'), "line 2: user is missing"),
        ("csv", lambda f: (f / "log.csv").write_bytes(CUT), "give its name the suffix .gz"),
        ("csv", put("features/text.csv", "item", "thing"), "column item is missing"),
        ("parquet", text_ids, "text.parquet: item is String, but Int64 in"),
        ("native", interactions_with(value=["x"] * 7), "row 0: value is 'x'; a finite number"),
        ("native", interactions_with(value=[1.0, None] * 3 + [2.0]), "row 1: value is missing"),
        ("native", interactions_with(time=[[1]] * 7), "time is List(Int64); numbers are expected"),
        (
            "recbole",
            put("bad.test.inter", "user_id:token\titem_id:token", "0\t3"),
            "not a table with",
        ),
        (
            "recbole",
            lambda f: (f / "bad.valid.inter").write_bytes(CUT),
            "valid.inter: not a table with",
        ),
        (
            "recbole",
            lambda f: shutil.copy(f / "bad.test.inter", f / "c.test.inter"),
            "splits of several data sets",
        ),
        (
            "recbole",
            put("bad.item", "item_id:token", "item_id:token\titem_id:float"),
            "a column is repeated",
        ),
        ("freerec", append("train.txt", b"x\t1\n"), "user is 'x'; an integer is expected"),
        ("freerec", append("item.txt", b"4\n"), "item id 4 is repeated"),
        ("freerec", put("item.txt", "ITEM", "THING"), "item.txt: column ITEM is missing"),
        ("freerec", put("item.txt", "\n4", ""), "item 4 of the interactions is missing"),
        ("freerec", lambda f: (f / "valid.txt").unlink(), "valid.txt: file is missing"),
        ("mrlib", append("inter.csv", b"0,9,0\n"), "item_id 9 is out of range"),
        ("mrlib", append("inter.csv", b"0,0,7\n"), "label 7 is out of range"),
    ],
)
def test_a_broken_folder_gives_a_one_line_error_and_leaves_no_file(
    make_dataset, tmp_path, to, change, says
):
    write_native(make_dataset(name="bad"), tmp_path / "n")
    convert(tmp_path / "n", tmp_path / "bad", to)
    shutil.rmtree(tmp_path / "n")
    assert says in error_after(tmp_path, to, change)


def test_dates_become_seconds_and_unused_columns_are_reported(make_dataset, tmp_path):
    write_native(make_dataset(name="bad"), tmp_path / "bad")
    moments = pl.from_epoch(pl.Series([10**9] * 7))
    interactions_with(time=moments, note=["x"] * 7)(tmp_path / "bad")
    done = convert(tmp_path / "bad", tmp_path / "csv", "csv")
    assert "not read: interactions.parquet: columns note" in done.losses
    assert set(pl.read_csv(tmp_path / "csv/log.csv")["time"]) == {10**9}


def test_generated_data_can_be_converted_by_name(tmp_path):
    assert convert("planted", tmp_path / "p", "native").source == "planted, generated data"
    assert load_dataset(tmp_path / "p").fingerprint == load_dataset("planted").fingerprint


def test_a_column_name_with_a_colon_is_refused_by_recbole(make_dataset, tmp_path):
    whole = with_texts(make_dataset)
    (tmp_path / "n").mkdir()
    writable_layouts()["native"].write(
        replace(whole, items=whole.items.rename({"title": "a:b"})), tmp_path / "n"
    )
    with pytest.raises(InputError, match="column 'a:b' has a colon"):
        convert(tmp_path / "n", tmp_path / "r", "recbole")


def test_unknown_and_read_only_targets_are_refused(make_dataset, tmp_path):
    write_native(make_dataset(), tmp_path / "n")
    for to in ("hkuds", "spotlight"):
        with pytest.raises(InputError, match="cannot be written; layouts: mmrec, native"):
            convert(tmp_path / "n", tmp_path / "o", to)


def test_a_tab_in_a_title_is_reported_and_one_in_an_id_is_refused(make_dataset, tmp_path):
    whole = with_texts(make_dataset)
    titles = whole.items.with_columns(title=pl.lit("a\tb"))
    for name, changed in (("n", whole), ("t", replace(whole, items=titles))):
        (tmp_path / name).mkdir()
        writable_layouts()["native"].write(changed, tmp_path / name)
    assert not any(
        "tabs" in line for line in convert(tmp_path / "n", tmp_path / "a", "recbole").losses
    )
    lines = convert(tmp_path / "t", tmp_path / "b", "recbole").losses
    assert any("tabs and line breaks in title become spaces" in line for line in lines)
    assert convert(tmp_path / "t", tmp_path / "c", "tsv")
    write_native(make_dataset(user_ids=np.array(["a", "b\nc", "d", "e"])), tmp_path / "ids")
    for to in ("recbole", "elliot", "cornac", "mmrec"):
        with pytest.raises(InputError, match="has a tab or a line break"):
            convert(tmp_path / "ids", tmp_path / "x", to)
    convert(tmp_path / "ids", tmp_path / "csv", "csv")
    assert load_dataset(tmp_path / "csv").user_ids.tolist() == ["a", "b\nc", "d", "e"]


def test_a_byte_order_mark_changes_nothing(tmp_path: Path) -> None:
    write_native(planted(60, 40), tmp_path / "small")
    tried = 0
    for name in writable_layouts():
        folder = tmp_path / name
        convert(tmp_path / "small", folder, name)
        expected = load_dataset(folder).fingerprint
        for path in sorted(folder.rglob("*")):
            content = path.read_bytes() if path.is_file() else b"\0"
            if b"\0" in content or content.startswith(b"PAR1"):
                continue
            path.write_bytes(codecs.BOM_UTF8 + content)
            if path.suffix == ".json":
                with pytest.raises(InputError, match=re.escape(str(path))):
                    load_dataset(folder)
            else:
                assert load_dataset(folder).fingerprint == expected, path
            path.write_bytes(content)
            tried += 1
    assert tried > 15


@pytest.mark.parametrize("name", ["items.parquet", "users.tsv", "features/image.npy"])
def test_a_plain_layout_refuses_files_that_it_would_not_read(tmp_path: Path, name: str) -> None:
    convert(Path("planted"), tmp_path / "d", "csv")
    (tmp_path / "d" / name).write_bytes(b"")
    message = re.escape(f"{tmp_path / 'd' / name}: expected a .csv file, like log.csv; convert it")
    with pytest.raises(InputError, match=message):
        load_dataset(tmp_path / "d")
