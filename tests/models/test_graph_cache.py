"""Graphs on disk: read for the same arguments, built for others."""

from __future__ import annotations

import json
import logging
import os
import shutil

import numpy as np
import pytest
import scipy.sparse as sp
from safetensors import safe_open
from safetensors.numpy import save_file

from sgurinit.core import ItemFeatures
from sgurinit.core.inputs.fingerprint import hash_arrays
from sgurinit.models.blocks.graph_cache import cached_graph
from sgurinit.runtime import get_cache_folder

VALUES = np.random.default_rng(0).normal(size=(6, 3))
MATRIX = sp.csr_array(np.eye(6))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SGURINIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "graphs"


@pytest.fixture
def built():
    """Values of `k` that the builder was called with."""
    return []


@pytest.fixture
def build(built):
    @cached_graph(version=1)
    def build_graph(features, matrix, k=2, *, weighted=False):
        built.append(k)
        weights = np.zeros(features.n_items)
        weights[features.mask()] = features.rows()[:, 0] * k + weighted
        return sp.csr_array(np.diag(weights))

    return build_graph


def test_the_same_arguments_build_once(build, built, folder):
    first = build(ItemFeatures(VALUES), MATRIX)
    again = build(ItemFeatures(VALUES.copy()), MATRIX.copy(), k=2, weighted=False)
    assert built == [2]
    assert (first != again).nnz == 0
    assert again.dtype == first.dtype
    assert len(list(folder.iterdir())) == 1


CHANGED = VALUES.copy()
CHANGED[5, 2] += 1e-9
HIDDEN = np.array([True] * 5 + [False])


@pytest.mark.parametrize(
    ("args", "fields"),
    [
        ((ItemFeatures(CHANGED), MATRIX), {}),
        ((ItemFeatures(VALUES, HIDDEN), MATRIX), {}),
        ((ItemFeatures(VALUES.astype(np.float32)), MATRIX), {}),
        ((ItemFeatures(VALUES), 2 * MATRIX), {}),
        ((ItemFeatures(VALUES), sp.csr_array(np.eye(6)[::-1])), {}),
        ((ItemFeatures(VALUES), MATRIX, 3), {}),
        ((ItemFeatures(VALUES), MATRIX), {"weighted": True}),
    ],
    ids=["value", "absent row", "precision", "weights", "places", "k", "option"],
)
def test_any_other_argument_builds_again(build, built, args, fields):
    build(ItemFeatures(VALUES), MATRIX)
    build(*args, **fields)
    assert len(built) == 2


def test_values_of_absent_rows_do_not_matter(build, built):
    other = VALUES.copy()
    other[5] = np.nan
    build(ItemFeatures(VALUES, HIDDEN), MATRIX)
    build(ItemFeatures(other, HIDDEN), MATRIX)
    assert len(built) == 1


def test_another_version_of_the_builder_builds_again(folder):
    for version in (1, 2):

        @cached_graph(version)
        def build_graph(matrix, version=version):
            return sp.csr_array(version * matrix)

        assert (build_graph(MATRIX) != version * MATRIX).nnz == 0
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("content", [b"", b"no zip", None], ids=["empty", "other", "cut"])
def test_a_broken_file_is_built_again(build, built, folder, content):
    whole = build(ItemFeatures(VALUES), MATRIX)
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    again = build(ItemFeatures(VALUES), MATRIX)
    assert (whole != again).nnz == 0
    assert len(built) == 2
    build(ItemFeatures(VALUES), MATRIX)
    assert len(built) == 2


def test_a_changed_number_is_noticed(build, built, folder):
    whole = build(ItemFeatures(VALUES), MATRIX)
    (path,) = folder.iterdir()
    content = bytearray(path.read_bytes())
    for position in range(len(content) - 8, len(content)):
        changed = content.copy()
        changed[position] ^= 1
        path.write_bytes(changed)
        again = build(ItemFeatures(VALUES), MATRIX)
        assert (whole != again).nnz == 0
    assert len(built) == 9


def test_the_file_of_another_key_is_not_believed(build, built, folder):
    build(ItemFeatures(VALUES), MATRIX)
    (first,) = folder.iterdir()
    build(ItemFeatures(VALUES), MATRIX, k=3)
    (second,) = set(folder.iterdir()) - {first}
    shutil.copy(second, first)
    again = build(ItemFeatures(VALUES), MATRIX)
    np.testing.assert_array_equal(again.toarray(), np.diag(VALUES[:, 0] * 2))
    assert built == [2, 3, 2]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("indices", 10**6),
        ("indices", -1),
        ("indptr", -5),
        ("indptr", 10**6),
    ],
)
def test_places_outside_the_graph_are_not_believed(build, built, folder, part, value):
    """They would be read from foreign memory, also where a checksum was computed for them."""
    whole = build(ItemFeatures(VALUES), MATRIX)
    (path,) = folder.iterdir()
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        parts = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    parts[part] = np.where(np.arange(len(parts[part])) == 1, value, parts[part])
    del metadata["checksum"]
    metadata["checksum"] = hash_arrays(parts, metadata)
    save_file(parts, path, metadata)
    again = build(ItemFeatures(VALUES), MATRIX)
    assert (whole != again).nnz == 0
    assert len(built) == 2


@pytest.mark.parametrize(
    ("size", "kind"), [(0, float), (5, float), (7, float), (1000, float), (6, "f2"), (6, int)]
)
def test_the_graph_of_other_nodes_or_numbers_is_not_believed(build, built, folder, size, kind):
    """Whatever a file says, no more memory is taken than the expected graph needs."""
    whole = build(ItemFeatures(VALUES), MATRIX)
    (path,) = folder.iterdir()
    with safe_open(path, framework="numpy") as file:
        metadata = {"key": file.metadata()["key"], "shape": json.dumps([size, 10**12])}
    other = sp.eye_array(size, format="csr")
    other.data = other.data.astype(kind)
    parts = {name: getattr(other, name) for name in ("data", "indices", "indptr")}
    save_file(parts, path, metadata | {"checksum": hash_arrays(parts, metadata)})
    assert (whole != build(ItemFeatures(VALUES), MATRIX)).nnz == 0
    assert len(built) == 2


def test_without_a_writable_folder_every_call_builds(build, built, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SGURINIT_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING, "sgurinit"):
        for _ in range(2):
            build(ItemFeatures(VALUES), MATRIX)
    assert len(built) == 2
    assert "no graphs can be kept here" in caplog.text


def test_an_argument_that_cannot_be_a_key_is_rejected():
    @cached_graph(version=1)
    def build_graph(thing):
        return sp.csr_array((1, 1))

    with pytest.raises(TypeError, match="thing is of type object"):
        build_graph(object())


def test_the_default_folder_is_in_the_home_folder(monkeypatch):
    monkeypatch.delenv("SGURINIT_CACHE")
    assert get_cache_folder().name == "sgurinit"
    assert os.fspath(get_cache_folder()).startswith(os.path.expanduser("~"))  # noqa: PTH111
