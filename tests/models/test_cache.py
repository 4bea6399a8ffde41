"""Graphs on disk: found again for the same arguments, never for others."""

from __future__ import annotations

import logging
import os

import numpy as np
import pytest
import scipy.sparse as sp

from sgurinit.core import ItemFeatures
from sgurinit.models.blocks.cache import cached_graph
from sgurinit.runtime import cache_folder

VALUES = np.random.default_rng(0).normal(size=(6, 3))
MATRIX = sp.csr_array(np.eye(6))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SGURINIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "graphs"


@pytest.fixture
def built():
    """Arguments that the builder was really called with."""
    return []


@pytest.fixture
def build(built):
    @cached_graph(version=1)
    def a_graph(features, matrix, k=2, *, weighted=False):
        built.append(k)
        return sp.csr_array(features.rows()[:, :1] * k + weighted)

    return a_graph


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
def test_any_other_argument_builds_anew(build, built, args, fields):
    build(ItemFeatures(VALUES), MATRIX)
    build(*args, **fields)
    assert len(built) == 2


def test_what_absent_rows_hold_does_not_matter(build, built):
    other = VALUES.copy()
    other[5] = np.nan
    build(ItemFeatures(VALUES, HIDDEN), MATRIX)
    build(ItemFeatures(other, HIDDEN), MATRIX)
    assert len(built) == 1


def test_another_version_of_the_builder_builds_anew(folder):
    for version in (1, 2):

        @cached_graph(version)
        def a_graph(k, version=version):
            return sp.csr_array(np.full((1, 1), version * k))

        assert a_graph(3).toarray() == 3 * version
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("content", [b"", b"no zip", None], ids=["empty", "other", "cut"])
def test_a_broken_file_is_made_anew(build, built, folder, content):
    whole = build(ItemFeatures(VALUES), MATRIX)
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    again = build(ItemFeatures(VALUES), MATRIX)
    assert (whole != again).nnz == 0
    assert len(built) == 2
    build(ItemFeatures(VALUES), MATRIX)
    assert len(built) == 2


def test_a_folder_that_cannot_be_made_means_no_cache(build, built, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SGURINIT_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING, "sgurinit"):
        for _ in range(2):
            build(ItemFeatures(VALUES), MATRIX)
    assert len(built) == 2
    assert "cannot be kept here" in caplog.text


def test_an_argument_without_content_to_hash_is_refused():
    @cached_graph(version=1)
    def a_graph(thing):
        return sp.csr_array((1, 1))

    with pytest.raises(TypeError, match="thing is a object"):
        a_graph(object())


def test_the_folder_is_the_users_own_by_default(monkeypatch):
    monkeypatch.delenv("SGURINIT_CACHE")
    assert cache_folder().name == "sgurinit"
    assert os.fspath(cache_folder()).startswith(os.path.expanduser("~"))  # noqa: PTH111
