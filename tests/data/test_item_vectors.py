"""Item vectors in columns of Parquet files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from sgurinit.cli import app
from sgurinit.core import ItemFeatures, SGURInit
from sgurinit.data import load_dataset
from sgurinit.data.item_vectors import read_item_features
from sgurinit.errors import InputError

IDS = ["tea", "cup", "pot", "lamp"]
ROWS = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)


def write(path: Path, **columns: object) -> Path:
    pl.DataFrame({"item": IDS, **columns}).write_parquet(path)
    return path


@pytest.mark.parametrize(
    "kind", [pl.Array(pl.Float32, 3), pl.List(pl.Float32), pl.List(pl.Float64)], ids=str
)
def test_all_types_of_lists_are_read(tmp_path: Path, kind: pl.DataType) -> None:
    file = write(tmp_path / "i.parquet", text=pl.Series(ROWS.tolist(), dtype=kind), title=IDS)
    features, ids = read_item_features({"text": file})
    assert ids.to_list() == IDS
    np.testing.assert_array_equal(features["text"].values, ROWS)
    # Under another name, as the only column of lists; whole numbers become floats.
    other, _ = read_item_features({"image": file})
    np.testing.assert_array_equal(other["image"].values, ROWS)
    counts = pl.Series([[1, 2], [3, 4], [5, 6], [7, 8]], dtype=pl.List(pl.Int16))
    write(tmp_path / "n.parquet", text=counts)
    counted, _ = read_item_features({"text": tmp_path / "n.parquet"})
    assert counted["text"].values.dtype == np.float32


def test_files_are_aligned_by_item_id(tmp_path: Path) -> None:
    text = write(tmp_path / "t.parquet", text=ROWS)
    image = tmp_path / "i.parquet"
    pl.DataFrame({"item": ["pot", "tea"], "image": ROWS[[2, 0]]}).write_parquet(image)
    np.save(tmp_path / "audio.npy", ROWS + 1)
    files = {"text": text, "image": image, "audio": tmp_path / "audio.npy"}
    features, _ = read_item_features(files)
    assert list(features) == ["text", "image", "audio"]
    np.testing.assert_array_equal(features["image"].mask(), [True, False, True, False])
    np.testing.assert_array_equal(features["image"].rows(), ROWS[[0, 2]])
    np.testing.assert_array_equal(features["audio"].values, ROWS + 1)
    order = tmp_path / "order.parquet"
    pl.DataFrame({"item": IDS[::-1]}).write_parquet(order)
    turned, ids = read_item_features({"text": text}, order)
    assert ids.to_list() == IDS[::-1]
    np.testing.assert_array_equal(turned["text"].values, ROWS[::-1])


def test_a_null_is_an_item_without_a_vector(tmp_path: Path) -> None:
    rows = [ROWS[0].tolist(), None, ROWS[2].tolist(), ROWS[3].tolist()]
    file = write(tmp_path / "i.parquet", text=rows)
    features, _ = read_item_features({"text": file})
    np.testing.assert_array_equal(features["text"].mask(), [True, False, True, True])


def test_ids_of_another_type_are_refused(tmp_path: Path) -> None:
    text = write(tmp_path / "t.parquet", text=ROWS)
    pl.DataFrame({"item": [1, 2]}).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(InputError, match=r"integers in .*log.parquet, strings in .*t\.parquet"):
        read_item_features({"text": text}, tmp_path / "log.parquet")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"text": [[1.0], [1.0, 2.0], [1.0], [1.0]]}, "the vector of item cup has 2 numbers"),
        ({"text": [[1.0], [None], [1.0], [2.0]]}, "the vector of item cup lacks a number"),
        ({"title": IDS}, "'text' of lists of numbers, or in the only such column; there are none"),
        ({"a": ROWS, "b": ROWS}, "there are several: a, b"),
    ],
)
def test_faulty_vectors_give_a_one_line_error(
    tmp_path: Path, columns: dict[str, object], expected: str
) -> None:
    file = write(tmp_path / "i.parquet", **columns)
    with pytest.raises(InputError) as raised:
        read_item_features({"text": file})
    assert expected in str(raised.value)
    assert "i.parquet" in str(raised.value)


def test_a_stream_of_two_parquet_files_equals_the_fit(tmp_path: Path) -> None:
    write(tmp_path / "items.parquet", text=ROWS)
    log = pl.DataFrame({"user": ["ann", "ann", "bob", "eve"], "item": ["tea", "cup", "pot", "tea"]})
    log.write_parquet(tmp_path / "log.parquet")
    features, ids = read_item_features({"text": tmp_path / "items.parquet"})
    estimator = SGURInit(n_clusters=2, random_state=0)
    estimator.stream(
        tmp_path / "log.parquet", features, tmp_path / "users", item_ids=ids, layout="parquet"
    )
    start = estimator.fit(log, {"text": ROWS}, item_ids=IDS).start_
    users = pl.read_parquet(tmp_path / "users/users/*.parquet")
    assert users["user"].to_list() == list(start.user_ids)
    np.testing.assert_allclose(users["text"].to_numpy(), start.users["text"], atol=1e-6)


def test_the_parquet_layout_reads_a_column_of_lists(tmp_path: Path) -> None:
    (tmp_path / "features").mkdir()
    pl.DataFrame({"user": [1, 1, 2], "item": ["tea", "cup", "pot"]}).write_parquet(
        tmp_path / "log.parquet"
    )
    pl.DataFrame({"item": IDS}).write_parquet(tmp_path / "items.parquet")
    vectors = pl.DataFrame({"item": IDS[::-1], "vector": ROWS[::-1].tolist()})
    vectors.write_parquet(tmp_path / "features/text.parquet")
    np.testing.assert_array_equal(load_dataset(tmp_path).features["text"].values, ROWS)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A log and a table of products with other column names and integer ids."""
    draw = np.random.default_rng(0)
    log = [(f"c{u}", 100 + i) for u in range(30) for i in draw.choice(20, 8, replace=False)]
    pl.DataFrame(log, schema=["buyer", "product"], orient="row").write_parquet(
        tmp_path / "orders.parquet"
    )
    ids = np.arange(100, 125)  # five that nobody bought
    pl.DataFrame(
        {"product": ids, "name": [f"p{n}" for n in ids], "vector": draw.normal(size=(25, 4))}
    ).write_parquet(tmp_path / "products.parquet")
    return tmp_path


def test_prepare_keeps_the_vectors_of_the_remaining_items(shop: Path) -> None:
    words = ["prepare", shop / "orders.parquet", "--user", "buyer", "--item", "product"]
    more = ["--items", shop / "products.parquet", "--features", f"text={shop / 'products.parquet'}"]
    result = CliRunner().invoke(app, [str(w) for w in (*words, *more, "--out", shop / "data")])
    assert result.exit_code == 0, result.output
    data = load_dataset(shop / "data")
    products = pl.read_parquet(shop / "products.parquet")
    rows = dict(zip(products["product"], products["vector"].to_numpy(), strict=True))
    for item, row in zip(data.item_ids, data.features["text"].values, strict=True):
        np.testing.assert_array_equal(row, rows[item])
    kept = pl.read_parquet(shop / "data/items.parquet")
    assert kept.columns == ["item", "name"]
    assert SGURInit(n_clusters=2, random_state=0).fit(data).start_.n_users == data.n_users
    assert f"text: 4 columns, {data.n_items} of {data.n_items} items have" in result.output
    bad = [*words, "--features", f"text={shop / 'none.npy'}", "--out", shop / "other"]
    failed = CliRunner().invoke(app, [str(word) for word in bad])
    assert failed.exit_code == 2
    assert "expected a Parquet file with a column of item ids" in failed.stderr


def test_prepare_reports_how_many_items_have_a_vector(tmp_path: Path) -> None:
    pairs = {"user": [u for u in range(9) for _ in range(6)], "item": [*range(6)] * 9}
    pl.DataFrame(pairs).write_parquet(tmp_path / "log.parquet")
    for name, width, n in (("text", 2, 4), ("image", 5, 6)):
        vectors = {"item": range(n), "vector": np.ones((n, width)).tolist()}
        pl.DataFrame(vectors).write_parquet(tmp_path / f"{name}.parquet")
    files = [f"--features={m}={tmp_path / m}.parquet" for m in ("text", "image")]
    words = ["prepare", str(tmp_path / "log.parquet"), "--out", str(tmp_path / "out"), *files]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert re.search(r"^features +text: 2 columns, 4 of 6 items have a vector", result.output, re.M)
    assert "image: 5 columns, 6 of 6 items have a vector" in result.output
    assert "no item features yet" not in result.output
    assert json.loads((tmp_path / "out/card.json").read_text())["features"] == {
        "text": {"columns": 2, "items": 4},
        "image": {"columns": 5, "items": 6},
    }


def test_stream_accepts_any_column_names(shop: Path) -> None:
    words = ["stream", shop / "orders.parquet", "--features", f"text={shop / 'products.parquet'}"]
    more = ["--out", shop / "users", "--layout", "parquet", "--n-clusters", 2, "--seed", 0]
    failed = CliRunner().invoke(app, [str(word) for word in (*words, *more, "--item", "product")])
    assert failed.exit_code == 2
    assert "has no column 'user', it has buyer, product; name the one with the users as --user" in (
        failed.stderr
    )
    failed = CliRunner().invoke(app, [str(word) for word in (*words, *more)])
    assert "no column 'item', the file has product, name, vector; name the column" in failed.stderr
    names = ["--user", "buyer", "--item", "product"]
    result = CliRunner().invoke(app, [str(word) for word in (*words, *more, *names)])
    assert result.exit_code == 0, result.output
    log = pl.read_parquet(shop / "orders.parquet").rename({"buyer": "user", "product": "item"})
    products = pl.read_parquet(shop / "products.parquet")
    estimator = SGURInit(n_clusters=2, random_state=0)
    estimator.fit(log, {"text": products["vector"].to_numpy()}, item_ids=products["product"])
    users = pl.read_parquet(shop / "users/users/*.parquet")
    assert users["user"].to_list() == list(estimator.start_.user_ids)
    np.testing.assert_allclose(users["text"].to_numpy(), estimator.start_.users["text"], atol=1e-6)


def test_item_ids_of_a_log_allow_items_without_a_vector(shop: Path) -> None:
    products = pl.read_parquet(shop / "products.parquet").filter(pl.col("product") >= 104)
    products.write_parquet(shop / "some.parquet")
    words = ["stream", shop / "orders.parquet", "--features", f"text={shop / 'some.parquet'}"]
    names = ["--user", "buyer", "--item", "product", "--layout", "parquet", "--n-clusters", 2]
    call = [str(word) for word in (*words, *names, "--out", shop / "users")]
    failed = CliRunner().invoke(app, call)
    assert failed.exit_code == 2
    assert "which is not among the known ids" in failed.stderr
    assert f"give --item-ids {shop / 'orders.parquet'}" in failed.stderr
    result = CliRunner().invoke(app, [*call, "--item-ids", str(shop / "orders.parquet")])
    assert result.exit_code == 0, result.output
    log = pl.read_parquet(shop / "orders.parquet").rename({"buyer": "user", "product": "item"})
    ids = pl.concat([log["item"], products["product"]]).unique(maintain_order=True)
    rows = np.zeros((len(ids), 4))
    for product, vector in products.select("product", "vector").iter_rows():
        rows[ids.to_numpy() == product] = vector
    estimator = SGURInit(n_clusters=2, random_state=0)
    estimator.fit(log, {"text": ItemFeatures(rows, rows.any(axis=1))}, item_ids=ids)
    users = pl.read_parquet(shop / "users/users/*.parquet")
    np.testing.assert_allclose(users["text"].to_numpy(), estimator.start_.users["text"], atol=1e-6)
