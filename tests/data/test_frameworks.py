"""Files of other frameworks are read, and written files are read by those frameworks.

`SGURINIT_FRAMEWORKS` names a Python with the frameworks. ``make frameworks`` runs this file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from sgurinit import SGURInit
from sgurinit.cli import app
from sgurinit.data import load_dataset, write_native
from sgurinit.data.convert import convert


@pytest.fixture
def frameworks() -> str:
    python = os.environ.get("SGURINIT_FRAMEWORKS")
    if not python:
        pytest.skip("SGURINIT_FRAMEWORKS names no python with recbole, cornac and freerec")
    return python


@pytest.fixture
def ml_100k(frameworks) -> Path:
    """Files that RecBole ships."""
    code = "import importlib.util as u; print(u.find_spec('recbole').submodule_search_locations[0])"
    (place,) = run_python(frameworks, code, Path.cwd())
    return Path(place) / "dataset_example" / "ml-100k"


def run_python(python: str, code: str, folder: Path) -> list[str]:
    done = subprocess.run(
        [python, "-W", "ignore", "-c", code], cwd=folder, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return (done.stdout.strip().splitlines() or [""])[-1].split()


RECBOLE = """
import numpy as np
np.float_, np.complex_, np.unicode_ = np.float64, np.complex128, np.str_  # gone in NumPy 2
from recbole.config import Config
from recbole.data import create_dataset
config = Config(model="BPR", dataset="NAME", config_dict=dict(
    data_path="recbole", benchmark_filename=["train", "valid", "test"],
    load_col=dict(inter=["user_id", "item_id", "rating"])))
data = create_dataset(config)
print(data.user_num - 1, data.item_num - 1, data.inter_num, float(data.inter_feat["rating"].sum()))
"""
CORNAC = """
from cornac.data import Reader
read = lambda part: Reader().read(f"cornac/NAME/{part}.uirt", fmt="UIRT", sep="\\t")
rows = [row for part in ("train", "valid", "test") for row in read(part)]
print(len({r[0] for r in rows}), len({r[1] for r in rows}), len(rows), sum(r[2] for r in rows))
"""
FREEREC = """
from freerec.data.datasets.base import RecDataSet
data = RecDataSet("freerec", "NAME")
counts = {field.name: getattr(field, "count", 0) for field in data.fields}
rows = [row for mode in ("train", "valid", "test") for row in getattr(data, mode)()]
(rating,) = (field for field in rows[0] if field.name == "RATING")
print(counts["USER"], counts["ITEM"], len(rows), sum(row[rating] for row in rows))
"""
READERS = {"recbole": RECBOLE, "cornac": CORNAC, "freerec": FREEREC}

FREEREC_MAKES = """
import sys
from freerec.__main__ import main
sys.argv = ["freerec", "make", "own", "--root", ".", "--filedir", "ml-100k", "-sp", "4",
            "--kcore4user", "5", "--kcore4item", "5", "--userColname", "user_id:token",
            "--itemColname", "item_id:token", "--ratingColname", "rating:float",
            "--timestampColname", "timestamp:float"]
main()
"""
CORNAC_SPLITS = """
from pathlib import Path
from cornac.data import Reader
from cornac.eval_methods import RatioSplit
rows = Reader().read("ml-100k/ml-100k.inter", fmt="UIRT", sep="\\t", skip_lines=1)
split = RatioSplit(rows, test_size=.1, val_size=.1, fmt="UIRT", seed=0, exclude_unknowns=False)
Path("own").mkdir()
for name, part in (("train", split.train_set), ("valid", split.val_set), ("test", split.test_set)):
    users, items = list(part.user_ids), list(part.item_ids)
    lines = (f"{users[u]}\\t{items[i]}\\t{r}\\t{t}\\n"
             for u, i, r, t in zip(*part.uir_tuple, part.timestamps))
    Path("own", name + ".uirt").write_text("".join(lines))
"""


def run(*words: object) -> None:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output


def read_by_all(python: str, source: Path, folder: Path) -> dict[str, list[float]]:
    """Return the users, items, interactions and sum of ratings that each framework reads."""
    for name in READERS:
        place = folder / name / ("Processed" if name == "freerec" else "") / source.name
        run("convert", source, place, "--to", name)
    codes = [code.replace("NAME", source.name) for code in READERS.values()]
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda code: run_python(python, code, folder), codes))
    return {n: [float(x) for x in answer] for n, answer in zip(READERS, answers, strict=True)}


def test_files_of_recbole_reach_every_framework(frameworks, ml_100k, tmp_path):
    own = tmp_path / "films"  # under the name ml-100k, RecBole only reads its shipped copy
    own.mkdir()
    for file in ml_100k.iterdir():
        shutil.copy(file, own / f"films{file.suffix}")
    counts = [943, 1682, 100_000, 352_986]  # the last is the sum of ratings, by awk
    assert read_by_all(frameworks, own, tmp_path) == dict.fromkeys(READERS, counts)


def test_files_of_freerec_reach_every_framework(frameworks, ml_100k, tmp_path):
    shutil.copytree(ml_100k, tmp_path / "ml-100k")
    run_python(frameworks, FREEREC_MAKES, tmp_path)
    (own,) = (tmp_path / "Processed").iterdir()
    run("prepare", ml_100k, "--out", tmp_path / "ours", "--min-value", 4)
    ours = pl.read_parquet(tmp_path / "ours/interactions.parquet")
    counts = [938, 1008, 54_413, ours["value"].sum()]  # freerec's k-core has the same counts
    assert read_by_all(frameworks, own, tmp_path) == dict.fromkeys(READERS, counts)
    run("convert", own, tmp_path / "again", "--to", "freerec")
    for name in ("train", "valid", "test"):
        theirs, back = (
            pl.read_csv(place / f"{name}.txt", separator="\t").cast(pl.Float64)
            for place in (own, tmp_path / "again")
        )
        assert back.equals(theirs)
    items = pl.read_csv(tmp_path / "again/item.txt", separator="\t", infer_schema=False)
    assert items["MOVIE_TITLE"].head(2).to_list() == ["Toy Story", "Richard III"]


def test_splits_of_cornac_reach_every_framework(frameworks, ml_100k, tmp_path):
    shutil.copytree(ml_100k, tmp_path / "ml-100k")
    run_python(frameworks, CORNAC_SPLITS, tmp_path)
    data = load_dataset(tmp_path / "own")
    assert [len(part) for _, part in data.splits()] == [80_000, 10_000, 10_000]
    counts = [943, 1682, 100_000, 352_986]
    assert read_by_all(frameworks, tmp_path / "own", tmp_path) == dict.fromkeys(READERS, counts)


@pytest.fixture
def start_file(make_dataset, tmp_path) -> Path:
    write_native(make_dataset(name="rb"), tmp_path / "n")
    start = SGURInit(n_clusters=2, random_state=0).fit(load_dataset(tmp_path / "n")).start_
    start.save(tmp_path / "start.safetensors")
    convert(tmp_path / "n", tmp_path / "rb", "recbole")
    return tmp_path / "start.safetensors"


def export(start_file: Path, out: Path, *options: str):
    words = ["convert", str(start_file), str(out), "--to", "recbole", *options]
    return CliRunner().invoke(app, words)


def test_a_start_becomes_a_file_of_user_vectors(start_file, tmp_path):
    out = tmp_path / "rb" / "rb.useremb"
    result = export(start_file, out, "--table", "text")
    assert result.exit_code == 0, result.output
    assert "preload_weight: {uid: user_emb}" in result.output
    table = pl.read_csv(out, separator="\t")
    assert table.columns == ["uid:token", "user_emb:float_seq"]
    found = [[float(x) for x in row.split()] for row in table["user_emb:float_seq"]]
    data = load_dataset(tmp_path / "n")
    wanted = SGURInit(n_clusters=2, random_state=0).fit(data).start_.users["text"]
    np.testing.assert_array_equal(np.array(found, np.float32), wanted)
    assert load_dataset(tmp_path / "rb").n_users == 4  # user vectors are not item features
    assert (
        "--table is 'x', the start has image, text"
        in export(start_file, out, "--table", "x").stderr
    )
    assert "expected the name <data set>.useremb" in export(start_file, tmp_path / "a.txt").stderr


def test_recbole_reads_converted_data(frameworks, start_file, tmp_path):
    export(start_file, tmp_path / "rb" / "rb.useremb", "--table", "text")
    code = """
import numpy as np
np.float_, np.complex_, np.unicode_ = np.float64, np.complex128, np.str_  # gone in NumPy 2
from recbole.config import Config
from recbole.data import create_dataset
config = Config(model="BPR", dataset="rb", config_dict=dict(
    data_path=".", benchmark_filename=["train", "valid", "test"],
    additional_feat_suffix=["imageemb", "textemb", "useremb"],
    load_col=dict(inter=["user_id", "item_id"], imageemb=["image_id", "image"],
                  textemb=["text_id", "text"], useremb=["uid", "user_emb"]),
    alias_of_item_id=["image_id", "text_id"], alias_of_user_id=["uid"],
    preload_weight=dict(image_id="image", text_id="text", uid="user_emb")))
data = create_dataset(config)
weight = data.get_preload_weight("text_id")
place = data.token2id("item_id", "3")
users = data.get_preload_weight("uid")
print(data.user_num - 1, data.item_num - 1, data.inter_num, *weight[place],
      *users[data.token2id("user_id", "2")])
"""
    found = list(map(float, run_python(frameworks, code, tmp_path)))
    data = load_dataset(tmp_path / "n")
    start = SGURInit(n_clusters=2, random_state=0).fit(data).start_
    assert found[:3] == [4, 5, 7]
    wanted = [*data.features["text"].values[3], *start.users["text"][2]]
    np.testing.assert_allclose(found[3:], wanted, rtol=1e-6)


def test_cornac_reads_converted_data(frameworks, start_file, tmp_path):
    convert(tmp_path / "n", tmp_path / "c", "cornac")
    code = """
import numpy as np
from cornac.data import FeatureModality, Reader
from cornac.eval_methods import BaseMethod
parts = [Reader().read(f"c/{s}.ui", fmt="UI", sep="\\t") for s in ("train", "test")]
ids = open("c/text.ids").read().split()
text = FeatureModality(features=np.load("c/text.npy"), ids=ids)
method = BaseMethod.from_splits(*parts, item_feature=text, exclude_unknowns=False)
row = method.item_feature.features[method.train_set.iid_map["3"]]
print(*map(len, parts), *row)
"""
    found = list(map(float, run_python(frameworks, code, tmp_path)))
    assert found[:2] == [4, 2]
    np.testing.assert_allclose(found[2:], load_dataset(tmp_path / "n").features["text"].values[3])
