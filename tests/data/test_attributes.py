"""Features from the values that items share: genres, brands, tags, words."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sgurinit.cli import app
from sgurinit.data import load_dataset
from sgurinit.data.convert import convert
from sgurinit.data.encode import encode_attributes, join_text_columns
from sgurinit.data.layouts.native import write_native_files
from sgurinit.data.prepare import find_source, prepare
from sgurinit.errors import InputError

TAGS = [["soft", "blue"], ["blue"], [], None, ["soft", "red", "blue"], ["one of a kind"]]


def write_items(folder: Path, ids: Sequence[Any] | None = None, **columns: Any) -> Path:
    """Write a data set without features whose items have these columns."""
    folder.mkdir()
    ids = ids or [f"i{n}" for n in range(len(next(iter(columns.values()))))]
    items = pl.DataFrame({"item": ids, **columns})
    log = pl.DataFrame({"user": ["u"] * 3, "item": ids[:3], "split": ["train", "valid", "test"]})
    users = pl.DataFrame({"user": ["u"]})
    write_native_files(folder, "items", interactions=log.lazy(), users=users, items=items)
    return folder


def features(folder: Path, modality: str = "a") -> np.ndarray:
    """Return the features as they are on disk; a row of NaN is an item without any."""
    return np.load(folder / f"features/{modality}.npy")


def missing(folder: Path, modality: str = "a") -> dict[str, str]:
    return dict(pl.read_csv(folder / f"features/{modality}.missing.csv").iter_rows())


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, done.output


def weigh(lists: Sequence[Sequence[str]], idf: bool) -> np.ndarray:
    """Weigh values as defined, with loops. All items are expected to have a shared value."""
    counts = Counter(value for values in lists for value in set(values))
    shared = sorted(value for value, count in counts.items() if count > 1)
    rows = np.zeros((len(lists), len(shared)))
    for row, values in zip(rows, lists, strict=True):
        for at, value in enumerate(shared):
            if value in values:
                weight = math.log((1 + len(lists)) / (1 + counts[value])) + 1
                row[at] = weight if idf else 1.0
    rows /= np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return rows


def draw_lists(n_items: int, n_values: int, seed: int = 0) -> list[list[str]]:
    """Draw two to six values per item, popular ones more often; the first is always shared."""
    rng = np.random.default_rng(seed)
    chance = 1 / np.arange(1, n_values + 1)
    sizes = rng.integers(2, 6, n_items)
    picks = (rng.choice(n_values, n, replace=False, p=chance / chance.sum()) for n in sizes)
    return [[f"v{n % 4}", *(f"w{p:02}" for p in pick)] for n, pick in enumerate(picks)]


@pytest.mark.parametrize("weights", ["tf-idf", "binary"])
@pytest.mark.parametrize("n_items", [90, 12], ids=["many items", "fewer than features"])
def test_features_are_those_of_a_dense_reference(tmp_path, weights, n_items):
    lists = draw_lists(n_items, 40)
    folder = write_items(tmp_path / "d", tags=lists)
    expected = weigh(lists, idf=weights == "tf-idf")
    n_values, width = expected.shape[1], 13
    done = encode_attributes(folder, "whole", ["tags"], weights=weights, width=n_values)
    assert (done.width, done.values, done.explained) == (n_values, n_values, 1.0)
    np.testing.assert_allclose(features(folder, "whole"), expected, atol=1e-6)

    left, strengths, _ = np.linalg.svd(expected, full_matrices=False)
    done = encode_attributes(folder, "a", ["tags"], weights=weights, width=width)
    assert done.width == min(width, n_items) < n_values
    assert done.explained == pytest.approx((strengths[: done.width] ** 2).sum() / n_items)
    found, best = features(folder), left[:, : done.width] * strengths[: done.width]
    signs = np.sign((found * best).sum(axis=0))
    np.testing.assert_allclose(found * signs, best, atol=1e-5)


def test_equal_texts_in_two_columns_are_two_values(tmp_path):
    folder = write_items(tmp_path / "d", kind=["x", "y", "x", "y"], brand=["x", "x", "y", "y"])
    assert encode_attributes(folder, "a", ["kind", "brand"]).values == 4
    expected = np.array([[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]]) / math.sqrt(2)
    np.testing.assert_allclose(features(folder), expected, atol=1e-6)  # brand, then kind


def test_items_without_a_shared_value_are_missing_with_the_reason(tmp_path):
    folder = write_items(tmp_path / "d", tags=TAGS)
    done = encode_attributes(folder, "a", ["tags"], weights="binary")
    assert (done.items, done.width, done.values, done.dropped_values) == (3, 2, 2, 2)
    single = "no value that another item has"
    assert done.missing == {"no value": 2, single: 1}
    assert missing(folder) == {"i2": "no value", "i3": "no value", "i5": single}
    half = math.sqrt(0.5)
    found = features(folder)
    np.testing.assert_allclose(found[[0, 1, 4]], [[half, half], [1, 0], [half, half]], atol=1e-6)
    assert np.isnan(found[[2, 3, 5]]).all()
    assert load_dataset(folder).features["a"].mask().tolist() == [
        True,
        True,
        False,
        False,
        True,
        False,
    ]
    report = json.loads((folder / "features/a.json").read_text())
    assert report["encoder"] == "binary of tags"
    assert (report["values"], report["dropped_values"], report["explained"]) == (2, 2, 1.0)


def test_items_whose_values_are_not_in_the_features_are_missing(tmp_path):
    """With one brand per item, the largest brands are the singular vectors."""
    folder = write_items(tmp_path / "d", brand=["a", "a", "a", "b", "b", "b", "b", "c", "c"])
    done = encode_attributes(folder, "a", ["brand"], width=2)
    assert (done.width, done.items, done.missing) == (2, 7, {"no value in the 2 features": 2})
    assert done.explained == pytest.approx(7 / 9)
    expected = [[0.0, 1.0]] * 3 + [[1.0, 0.0]] * 4
    np.testing.assert_allclose(features(folder)[:7], expected, atol=1e-6)


def test_directions_without_content_are_left_out(tmp_path):
    """Ten items with one list and ten with another span two dimensions."""
    lists = [[f"a{n}" for n in range(9)], [f"b{n}" for n in range(9)]] * 10
    folder = write_items(tmp_path / "d", tags=lists)
    done = encode_attributes(folder, "a", ["tags"], width=5)
    assert (done.width, done.values) == (2, 18)
    assert done.explained == pytest.approx(1)


@pytest.mark.parametrize("width", [2, 128])
def test_all_ways_to_write_values_are_the_same(tmp_path, width):
    lists = [["7", "1"], ["1"], [], ["7", "23", "7"], ["23", "1"]]
    written = {
        "lists": (lists, None),
        "numbers": ([[int(value) for value in values] for values in lists], None),
        "bars": (["7|1", "1", "", "7|23|7", "23|1"], "|"),
        "spaces": (["7 1", " 1  ", None, "7  23 7", "23 1 "], " "),
        "words": (["7 , 1", "1", ",", "7, 23, 7", ",23,1"], ","),
        "python": (["['7', '1']", "[1]", "[]", "['7', 23, '7']", " ['23', '1'] "], None),
        "json": (['["7", "1"]', '["1"]', None, '["7", "23", "7"]', '["23", "1"]'], None),
    }
    found = []
    for name, (values, separator) in written.items():
        folder = write_items(tmp_path / name, tags=values)
        encode_attributes(folder, "a", ["tags"], separator=separator, width=width)
        found.append(features(folder))
        assert missing(folder) == {"i2": "no value"}
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize(
    "column",
    [
        pl.Series(["b", "a", "b", "a"]),
        pl.Series(["b", "a", "b", "a"], dtype=pl.Categorical),
        pl.Series([12, 7, 12, 7]),
        pl.Series([True, False, True, False]),
        pl.Series(["b x|y", "a", "b x|y ", " a"]),
    ],
)
def test_a_column_of_single_values_needs_no_separator(tmp_path, column):
    folder = write_items(tmp_path / "d", brand=column)
    encode_attributes(folder, "a", ["brand"])
    found = features(folder)
    assert found.shape == (4, 2)
    np.testing.assert_array_equal(found[:2], found[2:])
    assert found[0] @ found[1] == 0


@settings(deadline=None, max_examples=25)
@given(
    lists=st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=4), min_size=3, max_size=15),
    width=st.integers(1, 9),
    data=st.data(),
)
def test_the_order_of_items_and_columns_does_not_matter(lists, width, data):
    lists = [["a", "b"], ["a"], ["b"], *lists]
    kinds = [str(len(values) % 2) for values in lists]
    order = data.draw(st.permutations(range(len(lists))))
    ids = [f"i{n:02}" for n in range(len(lists))]
    with TemporaryDirectory() as temporary:
        one = write_items(Path(temporary, "one"), ids, tags=lists, kind=kinds)
        two = write_items(
            Path(temporary, "two"),
            [ids[n] for n in order],
            tags=[lists[n][::-1] for n in order],
            kind=[kinds[n] for n in order],
        )
        encode_attributes(one, "a", ["tags", "kind"], width=width)
        encode_attributes(two, "a", ["kind", "tags"], width=width)
        np.testing.assert_array_equal(features(one)[order], features(two))


def test_the_command_adds_a_modality(tmp_path):
    folder = write_items(tmp_path / "d", genres=["war\tfun", "war", "fun", None, "odd"])
    words = ["encode", folder, "--attributes", "genres", "--separator", "tab"]
    code, output = run(*words, "--json")
    assert code == 0, output
    result = json.loads(output[output.index("{") :])
    assert (result["modality"], result["items"], result["values"]) == ("attributes", 3, 2)
    code, output = run(*words)
    assert (code, "'attributes' exists already" in output) == (2, True), output
    code, output = run(*words, "--overwrite", "--weights", "binary", "--width", 1)
    assert code == 0, output
    assert "attributes: 3 items, 1 features each" in output
    assert "2 values that items share" in output
    assert "left out: 1 values of one item" in output
    assert "without attributes: 1 items (no value that another item has)" in output
    assert "without attributes: 1 items (no value)" in output
    encode_attributes(folder, "b", ["genres"], separator="\t", weights="binary", width=1)
    np.testing.assert_array_equal(features(folder, "attributes"), features(folder, "b"))
    assert list(load_dataset(folder).features) == ["attributes", "b"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--attributes", ","], "--attributes: no column is named"),
        (["--attributes", "kind,kind"], "--attributes: column 'kind' is named twice"),
        (["--attributes", "genre"], "no column 'genre'; the columns are 'item', 'tags'"),
        (["--attributes", "tags", "--separator", ","], "column tags holds lists, which have no"),
        (["--attributes", "written", "--separator", ","], "column written holds lists, which"),
        (["--attributes", "kind", "--separator", ""], "--separator is '': one or more characters"),
        (["--attributes", "kind", "--weights", "idf"], "--weights is 'idf': expected tf-idf or"),
        (["--attributes", "kind", "--modality", "a/b"], "--modality is 'a/b': use letters"),
        (["--attributes", "price"], "column price is Float64; text, whole numbers, or lists"),
        (["--attributes", "vector"], "column vector is List(Float64); text, whole numbers, or"),
        (["--attributes", "broken"], "column broken: '[b]' of item 'i1' is not a list of text or"),
        (["--attributes", "item"], "no two items share a value of item; name other columns, or"),
        (["--attributes", "empty"], "no two items share a value of empty"),
        (["--attributes", "kind", "--text", "kind"], "give one of --text, --images, --attributes"),
        (["--text", "kind", "--weights", "binary"], "--weights has no effect without --attributes"),
    ],
)
def test_bad_input_is_refused_in_one_line(tmp_path, words, says):
    folder = write_items(
        tmp_path / "d",
        tags=[["a"], ["a"], ["b"]],
        kind=["x", "x", "y"],
        written=["['a', 'b']", "['b']", None],
        broken=["['a']", "[b]", "[]"],
        price=[1.5, 1.5, 2.0],
        vector=[[1.5], [1.5], [2.0]],
        empty=[None, "", "  "],
    )
    before = sorted(folder.rglob("*"))
    code, output = run("encode", folder, *words)
    assert (code, says in output, output.strip().count("\n")) == (2, True, 0), output
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    "written", ["[1.5]", "[['a']]", "[None]", "[a]", "['a']+['b']", "[" * 500 + "]" * 500]
)
def test_lists_written_as_text_hold_text_or_whole_numbers(tmp_path, written):
    folder = write_items(tmp_path / "d", tags=["['a']", "['a']", written])
    with pytest.raises(InputError, match="of item 'i2' is not a list of text or whole numbers"):
        encode_attributes(folder, "a", ["tags"])


def test_width_is_positive(tmp_path):
    folder = write_items(tmp_path / "d", kind=["x", "x", "y"])
    with pytest.raises(InputError, match="width is 0: expected 1 or more"):
        encode_attributes(folder, "a", ["kind"], width=0)


def test_lists_of_a_catalog_survive_prepare_and_become_text_elsewhere(tmp_path):
    log = pl.DataFrame({"user": ["u", "u", "u", "v"], "item": ["p", "q", "r", "p"]})
    log.write_parquet(tmp_path / "log.parquet")
    catalog = pl.DataFrame(
        {"item": list("pqr"), "tags": [["a, b", "c"], ["c"], None], "ids": [[1, 2], [2], []]}
    )
    catalog.write_parquet(tmp_path / "catalog.parquet")
    source = find_source(tmp_path / "log.parquet", items=tmp_path / "catalog.parquet")
    prepare(source, tmp_path / "d", core=1)
    items = pl.read_parquet(tmp_path / "d/items.parquet").sort("item")
    assert items.to_dict(as_series=False) == catalog.to_dict(as_series=False)
    done = encode_attributes(tmp_path / "d", "a", ["tags", "ids"])
    assert (done.values, done.dropped_values, done.missing) == (2, 2, {"no value": 1})
    assert sorted(filter(None, join_text_columns(tmp_path / "d", ["tags"]))) == ["a, b, c", "c"]
    convert(tmp_path / "d", tmp_path / "csv", "csv")
    table = pl.read_csv(tmp_path / "csv/items.csv", infer_schema=False).sort("item")
    assert table["tags"].to_list() == ["a, b, c", "c", None]
    assert table["ids"].to_list() == ["1, 2", "2", None]


@pytest.mark.slow
def test_attributes_need_no_torch(tmp_path):
    folder = write_items(tmp_path / "d", kind=["x", "x", "y"])
    code = (
        "import sys\n"
        "from sgurinit.cli import app\n"
        f"app(['encode', {str(folder)!r}, '--attributes', 'kind'], standalone_mode=False)\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "attributes: 2 items, 1 features each" in done.stdout


@pytest.mark.slow
def test_amazon_beauty_from_its_files_to_features(data_root, tmp_path):
    source = data_root / "amazon-beauty"
    if not source.is_dir():
        pytest.skip(f"real data absent: {source}; SGURINIT_DATA may name the folder that holds it")
    out = tmp_path / "beauty"
    log = find_source(
        source / "log.tsv.gz", items=source / "items.tsv.gz", columns={"time": "position"}
    )
    prepare(log, out, time_unit="order")
    done = encode_attributes(out, "attributes", ["attributes"], separator=" ")
    assert (done.items, done.width, done.values, done.dropped_values) == (12101, 128, 637, 0)
    rows = load_dataset(out).features["attributes"].rows()
    texts = pl.read_parquet(out / "items.parquet")["attributes"].to_list()
    dense = weigh([text.split() for text in texts], idf=True)
    strengths = np.linalg.svd(dense, compute_uv=False)
    assert done.explained == pytest.approx((strengths[:128] ** 2).sum() / len(dense))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=0), strengths[:128], rtol=1e-4)
    words = encode_attributes(out, "words", ["title"], separator=" ")
    assert words.items + sum(words.missing.values()) == 12101
    assert words.missing["no value"] == 1


@pytest.mark.slow
def test_genres_of_movielens_from_recbole_files_to_features(data_root, tmp_path):
    source = data_root / "ml-100k"
    if not source.is_dir():
        pytest.skip(f"real data absent: {source}; SGURINIT_DATA may name the folder that holds it")
    prepare(find_source(source), tmp_path / "ml")
    done = encode_attributes(tmp_path / "ml", "genres", ["class"], separator=" ")
    assert done.values + done.dropped_values == 19
    assert (done.width, done.explained) == (done.values, 1.0)
