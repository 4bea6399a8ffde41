"""Features of items from text, images and vectors. Missing ones are marked and listed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from sgurinit.cli import app
from sgurinit.data import load_dataset, write_native
from sgurinit.data.encode import blocks, encode, find_images, join_text_columns
from sgurinit.data.encode._device import explain_out_of_memory
from sgurinit.data.encode.image_encoder import ImageEncoder, decode_image
from sgurinit.errors import InputError

IDS = ["b1", "b2", "b3", "b4", "b5"]
TITLES = ["Baby blanket", "Steel pan", None, "  ", "Soft baby cover"]
YEARS = [1999, None, None, None, 2001]


@pytest.fixture
def folder(make_dataset, tmp_path) -> Path:
    """A data set with titles and without features."""
    path = write_native(make_dataset(features={}, item_ids=np.array(IDS)), tmp_path / "small")
    items = pl.DataFrame({"item": IDS, "title": TITLES, "year": YEARS})
    items.write_parquet(path / "items.parquet")
    return path


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, done.output


def missing(folder: Path, modality: str) -> dict[str, str]:
    return dict(pl.read_csv(folder / f"features/{modality}.missing.csv").iter_rows())


class Lengths:
    """Encodes a text as its length and first letter. Fails for texts with "bad" in them."""

    name = "lengths"

    def __init__(self, stop_after: int = 10**9) -> None:
        self.seen: list[str] = []
        self.stop_after = stop_after

    def __call__(self, values: Sequence[str]) -> blocks.EncodedBlock:
        if len(self.seen) >= self.stop_after:
            raise KeyboardInterrupt
        self.seen += values
        rows = [[len(v), ord(v[0])] for v in values if "bad" not in v]
        failed = {n: "it is bad" for n, v in enumerate(values) if "bad" in v}
        return np.array(rows, dtype=float).reshape(-1, 2), failed


@pytest.mark.slow
def test_titles_become_the_vectors_of_the_shipped_model(folder):
    from sgurinit.data.encode.text_encoder import TextEncoder  # noqa: PLC0415 (takes seconds)

    code, output = run("encode", folder, "--text", "title,year", "--device", "cpu")
    assert code == 0, output
    assert "text: 3 items, 384 features each" in output
    assert "without text: 2 items (no value)" in output
    feature = load_dataset(folder).features["text"]
    assert feature.mask().tolist() == [True, True, False, False, True]
    assert missing(folder, "text") == {"b3": "no value", "b4": "no value"}
    model = TextEncoder(device="cpu").model
    expected = model.encode(["Baby blanket. 1999", "Steel pan", "Soft baby cover. 2001"])
    found = feature.values[feature.mask()]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    assert unit[0] @ unit[2] > unit[0] @ unit[1] + 0.2  # meaning, not noise
    report = json.loads((folder / "features/text.json").read_text())
    assert (report["items"], report["missing"]) == (3, {"no value": 2})
    assert {p.name for p in (folder / "features").iterdir()} == {
        "text.npy", "text.json", "text.missing.csv",
    }  # fmt: skip


def test_an_interrupted_encoding_is_resumed(folder, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_SIZE", 2)
    values = ["a", "bad b", "ccc", "bad d", "eeeee"]
    whole, halved = Lengths(), Lengths(stop_after=4)
    with pytest.raises(KeyboardInterrupt):
        encode(folder, "half", values, halved)
    assert "half" not in load_dataset(folder).features
    assert halved.seen == values[:4]
    rest = Lengths()
    encode(folder, "half", values, rest)
    assert rest.seen == values[4:]
    encode(folder, "whole", values, whole)
    found = load_dataset(folder).features
    np.testing.assert_array_equal(found["half"].values, found["whole"].values)
    assert found["half"].values[0].tolist() == [1, ord("a")]
    assert missing(folder, "half") == {"b2": "it is bad", "b4": "it is bad"}


STATES = [
    *({name: value} for name in ("done", "width", "checksum") for value in (-1, 10**12, "x", [])),
    *({"failed": value} for value in ([], {"x": "y"}, {"0": "y"}, {"1": 3})),
    *({"width": width} for width in (1, 3, 4)),
    {"key": 3},
]


@pytest.mark.parametrize("change", STATES, ids=str)
def test_a_damaged_encoding_begins_again(change, folder, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_SIZE", 2)
    values = ["a", "bad b", "ccc", "bad d", "eeeee"]
    with pytest.raises(KeyboardInterrupt):
        encode(folder, "half", values, Lengths(stop_after=4))
    path = folder / "features/.half.partial/state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    again = Lengths()
    encode(folder, "half", values, again)
    assert again.seen == values
    assert load_dataset(folder).features["half"].rows()[:, 0].tolist() == [1, 3, 5]


@pytest.mark.parametrize("name", ["state.json", "vectors.rows"])
def test_an_encoding_with_changed_bytes_begins_again(name, folder, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_SIZE", 2)
    values = ["a", "bb", "ccc", "dddd", "eeeee"]
    with pytest.raises(KeyboardInterrupt):
        encode(folder, "half", values, Lengths(stop_after=4))
    path = folder / "features/.half.partial" / name
    path.write_bytes(b"\xff" + path.read_bytes()[1:])
    encode(folder, "half", values, Lengths())
    assert load_dataset(folder).features["half"].rows()[:, 0].tolist() == [1, 2, 3, 4, 5]


def test_other_values_are_encoded_from_the_beginning(folder, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_SIZE", 2)
    with pytest.raises(KeyboardInterrupt):
        encode(folder, "t", list("abcde"), Lengths(stop_after=2))
    fresh = Lengths()
    encode(folder, "t", list("abcdx"), fresh)
    assert fresh.seen == list("abcdx")


def test_an_incomplete_block_is_written_again(folder, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_SIZE", 2)
    with pytest.raises(KeyboardInterrupt):
        encode(folder, "t", list("abcde"), Lengths(stop_after=2))
    with (folder / "features/.t.partial/vectors.rows").open("ab") as file:
        file.write(b"half a row")  # appended, but the state was not written
    encode(folder, "t", list("abcde"), Lengths())
    assert load_dataset(folder).features["t"].values[:, 1].tolist() == [ord(c) for c in "abcde"]


def test_images_that_cannot_be_read_are_missing_rows(folder, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (4, 4), (255, 0, 0)).save(photos / "b1.png")
    Image.new("L", (6, 3), 51).save(photos / "b2.jpg")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(photos / "b3.png")
    (photos / "b3.png").write_bytes((photos / "b3.png").read_bytes()[:6000])
    (photos / "b4.gif").write_text("not an image")

    def means(images: list[Image.Image]) -> np.ndarray:
        return np.array([np.asarray(i, float).mean(axis=(0, 1)) / 255 for i in images])

    files = find_images(folder, photos)
    assert [f.name if f else None for f in files] == ["b1.png", "b2.jpg", "b3.png", "b4.gif", None]
    done = encode(folder, "image", files, ImageEncoder("means", means, batch_size=2))
    assert done.missing["no value"] == 1
    found = load_dataset(folder).features["image"]
    assert found.mask().tolist() == [True, True, False, False, False]
    np.testing.assert_allclose(found.values[:2], [[1, 0, 0], [0.2, 0.2, 0.2]], atol=0.01)
    why = missing(folder, "image")
    assert why["b3"].startswith("cannot be decoded")
    assert why["b4"] == "not an image of a known format"
    assert decode_image(photos / "gone.png") == "file is missing"


def test_image_names_may_be_in_a_column(folder, tmp_path):
    table = pl.read_parquet(folder / "items.parquet")
    names = pl.Series("photo", ["x/1.png", None, "2.png", None, None])
    table.with_columns(names).write_parquet(folder / "items.parquet")
    assert find_images(folder, tmp_path, "photo")[:3] == [
        tmp_path / "x/1.png", None, tmp_path / "2.png",
    ]  # fmt: skip


def test_vectors_are_joined_by_id(folder, tmp_path):
    ids, rows = ["b5", "b1", "other"], [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    lists = pl.DataFrame({"item": ids, "vector": rows})
    lists.write_parquet(tmp_path / "lists.parquet")
    wide = pl.DataFrame({"item": ids, "x": [r[0] for r in rows], "y": [r[1] for r in rows]})
    wide.write_csv(tmp_path / "wide.csv")
    np.save(tmp_path / "array.npy", np.array(rows, dtype=np.float16))
    (tmp_path / "ids.txt").write_text("\n".join(ids) + "\n")
    for words in (["lists.parquet"], ["wide.csv"], ["array.npy", "--ids", tmp_path / "ids.txt"]):
        file, *more = words
        code, output = run("encode", folder, "--vectors", tmp_path / file, *more)
        assert code == 0, output
        assert "left out: 1 vectors of items that are not in the data set" in output
        found = load_dataset(folder).features[Path(file).stem]
        assert found.mask().tolist() == [True, False, False, False, True]
        assert found.values[[0, 4]].tolist() == [[3.0, 4.0], [1.0, 2.0]]
    assert found.values.dtype == np.float16
    assert missing(folder, "lists")["b2"] == "no vector with this id"


def test_features_are_only_replaced_with_overwrite(folder):
    first = encode(folder, "t", list("abcde"), Lengths())
    with pytest.raises(InputError, match="'t' exists already; give another `modality`, or"):
        encode(folder, "t", list("abcde"), Lengths())
    encode(folder, "t", ["x", None, None, None, None], Lengths(), overwrite=True)
    encode(folder, "t", list("vwxyz"), Lengths(), overwrite=True)
    assert first.items == 5
    assert load_dataset(folder).features["t"].values[0, 1] == ord("v")
    assert not (folder / "features/t.missing.csv").exists()


def write(path: Path, content: object) -> Path:
    if isinstance(content, np.ndarray):
        np.save(path, content)
    elif isinstance(content, pl.DataFrame):
        content.write_parquet(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else str(content).encode())
    return path


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("v.csv", "item,x\nb1,1\nb1,2\n", "item 'b1' is repeated"),
        ("v.csv", "item,x\nzz,1\n", "none of its 1 ids is an item of the data set"),
        ("v.csv", "id,x\nb1,1\n", "expected a column item, other columns with numbers"),
        ("v.csv", "item;x\nb1;1\n", "expected a column item, other columns with numbers"),
        ("v.csv", "item,x\nb1,one\nb2,2\n", "line 2: x is 'one'; a number is expected"),
        ("v.csv", "item,x,y\nb2,2,1\nb1,1,\n", "line 3: y is missing; a number is expected"),
        ("v.csv", gzip.compress(b"item,x\nb1,1\n" * 99, mtime=0), "give its name the suffix .gz"),
        ("v.parquet", pl.DataFrame({"item": [1.0], "v": [[1.0]]}), "item is Float64; ids are text"),
        (
            "v.csv",
            "item,x,y\nb1,1,inf\n",
            "the vector of item 'b1' has numbers that are not finite",
        ),
        ("v.csv", "item,x\nb1,NaN\nb2,NaN\n", "every vector of an item is NaN"),
        ("v.csv", b"item,x\n\xff\xfe,1\n", "not UTF-8 text"),
        ("v.csv", "", "not a text table"),
        ("v.parquet", b"PAR1 cut", "v.parquet: "),
        (
            "v.parquet",
            pl.DataFrame({"item": ["b1", "b2"], "v": [[1.0], [1.0, 2.0]]}),
            "one width",
        ),
        (
            "v.parquet",
            pl.DataFrame(
                {"item": ["b1"], "v": [None]}, {"item": pl.String, "v": pl.List(pl.Float32)}
            ),
            "the file has no vector",
        ),
        ("v.pt", b"", "expected .parquet, .csv, .tsv, or .npy with --ids"),
        ("v.npy", np.ones((2, 2)), "--ids goes with a .npy file"),
        ("gone.csv", None, "gone.csv: file is missing"),
    ],
)
def test_faulty_vectors_are_refused(folder, tmp_path, file, content, says):
    path = tmp_path / file if content is None else write(tmp_path / file, content)
    before = sorted(folder.rglob("*"))
    code, output = run("encode", folder, "--vectors", path)
    assert (code, says in output, output.count("\n")) == (2, True, 1), output
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "give one of --text, --images, --attributes and"),
        (["--text", "title", "--images", "."], "give one of --text, --images, --attributes and"),
        (["--text", ","], "--text: no column is named"),
        (["--text", "title", "--model", ""], "--model: the name is empty; minilm needs no network"),
        (["--text", "name"], "no column 'name'; the columns are 'item', 'title', 'year'"),
        (["--text", "title", "--modality", "a/b"], "--modality is 'a/b': use letters"),
        (["--text", "title", "--device", "abacus"], "--device is 'abacus': cannot be used here"),
        (["--text", "title", "--model", "."], "not a folder with a sentence-transformers model"),
    ],
)
def test_bad_options_are_refused(folder, tmp_path, monkeypatch, words, says):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    before = sorted(folder.rglob("*"))
    code, output = run("encode", folder, *words)
    assert (code, says in output, output.strip().count("\n")) == (2, True, 0), output
    assert sorted(folder.rglob("*")) == before


def test_an_encoding_without_a_vector_is_refused_and_leaves_no_file(folder):
    with pytest.raises(InputError, match="none of the 5 items could be encoded"):
        encode(folder, "t", ["bad"] * 5, Lengths())
    assert list((folder / "features").iterdir()) == []


def test_integers_may_come_before_other_numbers(folder, tmp_path):
    lines = ["item,x", *(f"z{n},1" for n in range(300)), "b1,1.5", "b2,"]
    write(tmp_path / "v.csv", "\n".join(lines))
    assert run("encode", folder, "--vectors", tmp_path / "v.csv")[0] == 0
    assert load_dataset(folder).features["v"].values[0] == 1.5
    assert missing(folder, "v")["b2"] == "a vector of NaN"


@pytest.mark.parametrize("content", [b"PAR1", None])
def test_a_broken_table_of_items_gives_a_one_line_error(folder, content):
    (folder / "items.parquet").unlink()
    if content:
        (folder / "items.parquet").write_bytes(content)
    code, output = run("encode", folder, "--text", "title")
    assert (code, output.strip().count("\n"), "items.parquet: " in output) == (2, 0, True)


def test_lists_of_text_are_joined_and_vectors_are_not_text(folder):
    tags = pl.Series([["soft", "blue"], [], None, ["red"], [None]])
    items = pl.read_parquet(folder / "items.parquet").with_columns(tags=tags, v=pl.lit([0.5]))
    items.write_parquet(folder / "items.parquet")
    assert join_text_columns(folder, ["tags"]) == ["soft, blue", None, None, "red", None]
    with pytest.raises(InputError, match=r"column v is List\(Float64\); text, numbers, or"):
        join_text_columns(folder, ["v"])


def test_features_are_only_added_to_the_native_layout(write_mmrec):
    with pytest.raises(InputError, match="the layout is mmrec; features are added to data sets"):
        join_text_columns(write_mmrec(), ["title"])


def test_out_of_memory_gives_a_one_line_error():
    with (
        pytest.raises(InputError, match="out of memory on cuda with `batch_size` 512: give a"),
        explain_out_of_memory("cuda", 512),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")


def test_ml_100k_from_recbole_files_to_features(data_root, tmp_path):
    source = data_root / "ml-100k"
    if not source.is_dir():
        pytest.skip(f"real data absent: {source}; SGURINIT_DATA may name the folder that holds it")
    out = tmp_path / "ml"
    assert run("prepare", source, "--out", out, "--min-value", 4, "--core", 5)[0] == 0
    known = join_text_columns(out, ["movie_title", "release_year", "class"])
    ids = pl.read_parquet(out / "items.parquet")["item"].to_list()
    assert known[ids.index("1")] == "Toy Story. 1995. Animation Children's Comedy"
    assert None not in known
