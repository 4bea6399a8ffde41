"""Shipped data sets are complete, as described, and reproduced by the script in tools/."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from sgurinit.cli import app
from sgurinit.data import Dataset, item_titles, load_dataset, xwines
from sgurinit.data.dataset import SPLITS
from sgurinit.data.layouts.native import write_native_files
from sgurinit.data.shipped import SHIPPED
from sgurinit.experiments.study import Study

FOLDER = SHIPPED["xwines"]
TABLES = ["users.parquet", "items.parquet", "interactions.parquet"]
SCRIPT = Path(__file__).parents[2] / "tools" / "make_xwines.py"
COUNTS = {"train": 63_067, "valid": 9_635, "test": 8_912}


@pytest.fixture(scope="module")
def wines() -> Dataset:
    return xwines()


@pytest.fixture(scope="session")
def raw(data_root: Path) -> Path:
    path = data_root / "xwines"
    if not path.is_dir():
        pytest.skip(f"real data absent: {path}; SGURINIT_DATA may name the folder that holds it")
    return path


@pytest.fixture(scope="session")
def remade(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("sentence_transformers")
    out = tmp_path_factory.mktemp("remade") / "xwines"
    script().main(raw, out)
    return out


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_xwines", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_counts_are_those_of_the_description(wines):
    assert (wines.name, wines.layout) == ("xwines", "native")
    assert (wines.n_users, wines.n_items) == (8_524, 769)
    assert {split: len(getattr(wines, split).users) for split in SPLITS} == COUNTS
    assert sum(COUNTS.values()) == 81_614
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for number in (81_614, *COUNTS.values()):
        assert f"| {number:,} | 8,524 |" in text


def test_no_pair_is_repeated_and_no_held_out_user_or_wine_is_cold(wines):
    pairs = [
        pair
        for split in SPLITS
        for pair in zip(getattr(wines, split).users, getattr(wines, split).items, strict=True)
    ]
    assert len(set(pairs)) == len(pairs)
    for held_out in (wines.valid, wines.test):
        assert set(held_out.users) <= set(wines.train.users)
        assert set(held_out.items) <= set(wines.train.items)


def test_every_wine_has_a_distinct_vector(wines):
    feature = wines.features["text"]
    assert list(wines.features) == ["text"]
    assert (feature.values.shape, feature.values.dtype) == ((769, 384), np.float16)
    assert feature.mask().all()
    np.testing.assert_allclose(np.linalg.norm(feature.values.astype(float), axis=1), 1, atol=1e-3)
    assert len(np.unique(feature.values, axis=0)) == 769


@pytest.mark.parametrize("kind", ["Sparkling", "Rosé"])
def test_vectors_of_wines_of_one_kind_are_similar(wines, kind):
    of_kind = (pl.read_parquet(FOLDER / "items.parquet")["type"] == kind).to_numpy()
    vectors = wines.features["text"].values.astype(float)
    alike = vectors @ vectors[of_kind].mean(axis=0)
    assert alike[of_kind].mean() > alike[~of_kind].mean() + 0.05  # 0 for shuffled rows


def test_the_name_works_wherever_a_folder_does(wines, tmp_path):
    assert load_dataset("xwines").fingerprint == wines.fingerprint
    done = CliRunner().invoke(app, ["inspect", "xwines"])
    assert done.exit_code == 0
    assert "8,524" in done.output
    done = CliRunner().invoke(app, ["convert", "xwines", str(tmp_path / "out"), "--to", "native"])
    assert done.exit_code == 0
    assert item_titles(tmp_path / "out") == item_titles("xwines")
    file = tmp_path / "study.yaml"
    file.write_text("data: {path: xwines}\nmodels: {lightgcn: }\narms: {random: }\n")
    assert Study.read(file).source == "xwines"


def test_a_path_with_the_name_is_a_folder(make_dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = pl.DataFrame({"user": ["a"], "item": ["b"], "split": ["train"]})
    Path("xwines").mkdir()
    write_native_files(
        Path("xwines"),
        "mine",
        interactions=one.lazy(),
        users=one.select("user"),
        items=one.select("item", title=pl.lit("Mine")),
    )
    assert load_dataset(Path("xwines")).name == load_dataset("./xwines").name == "mine"
    assert item_titles(Path("xwines")) == {"b": "Mine"}
    assert load_dataset("xwines").name == "xwines"


def test_titles_are_those_of_the_wines():
    titles = item_titles("xwines")
    assert len(titles) == 769
    assert titles["100001"] == "Espumante Moscatel"


def test_titles_and_ids_are_those_of_the_source(raw, wines):
    names = dict(
        pl.read_csv(raw / "wines.csv", infer_schema=False).select("WineID", "WineName").iter_rows()
    )
    assert all(names[item] == title for item, title in item_titles("xwines").items())
    users = pl.read_csv(raw / "ratings.csv.gz", infer_schema=False)["UserID"]
    assert set(wines.user_ids.tolist()) <= set(users)


def test_the_folder_is_small_and_holds_license_and_citation():
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2_000_000
    assert "CC0 1.0 Universal" in (FOLDER / "LICENSE").read_text(encoding="utf-8")
    for name in ("README.md", "CITATION.bib"):
        text = (FOLDER / name).read_text(encoding="utf-8")
        assert "A Wine Dataset for Recommender" in text
        assert "Azambuja" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_the_script_makes_the_same_tables(remade, name):
    assert_frame_equal(pl.read_parquet(remade / name), pl.read_parquet(FOLDER / name))


@pytest.mark.slow
def test_the_script_makes_the_same_vectors(remade):
    found, shipped = (np.load(folder / "features" / "text.npy") for folder in (remade, FOLDER))
    assert found.dtype == shipped.dtype
    # One step of float16. Near zero the steps are smaller than the differences between processors.
    np.testing.assert_allclose(
        found.astype(float), shipped.astype(float), rtol=float(np.finfo(np.float16).eps), atol=1e-6
    )


@pytest.mark.slow
def test_the_script_makes_the_same_files(remade):
    relative = [
        {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
        for folder in (remade, FOLDER)
    ]
    assert relative[0] == relative[1]
    for name in ("README.md", "CITATION.bib", "LICENSE", "dataset.json"):
        assert (remade / name).read_bytes() == (FOLDER / name).read_bytes()
    cards = [json.loads((folder / "card.json").read_text()) for folder in (remade, FOLDER)]
    assert cards[0] | {"versions": None} == cards[1] | {"versions": None}
