"""Atomic writes, and folders that are claimed for one set of settings."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sgurinit import SGURInit, compare, load_dataset
from sgurinit.data import planted, write_native
from sgurinit.errors import InputError
from sgurinit.experiments import load_comparison
from sgurinit.files import (
    claim,
    read_arrays,
    read_json,
    write_arrays,
    write_json,
    write_table,
)
from sgurinit.integrations.vectors import VectorStore


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": math.nan})
    with pytest.raises(pl.exceptions.ComputeError):
        write_table(tmp_path / "b.csv", pl.DataFrame({"x": [[1]]}))
    assert read_json(path) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_name_that_the_system_does_not_take_is_one_line(tmp_path: Path) -> None:
    data, place = planted(60, 40), tmp_path / ("a" * 300)
    for call in (
        lambda: write_native(data, place),
        lambda: VectorStore.from_start(SGURInit().fit(data).start_).save(place),
        lambda: compare(data, ["bprmf"], ["random"], 1, out=place),
        lambda: load_dataset(place),
        lambda: load_comparison(place),
    ):
        with pytest.raises(InputError, match="File name too long") as error:
            call()
        assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_numbers_survive_a_table_exactly(tmp_path: Path, suffix: str) -> None:
    table = pl.DataFrame({"x": [0.1 + 0.2, 1 / 3, 1e-300, 5e-324, 0.0, 123456789.123456789]})
    path = tmp_path / f"t{suffix}"
    write_table(path, table)
    read = pl.read_csv(path) if suffix == ".csv" else pl.read_parquet(path)
    assert read["x"].to_list() == table["x"].to_list()


def test_a_claim_names_the_first_field_that_differs(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    settings = {"train": {"max_epochs": 5, "patience": 3}, "arms": {"random": {}}}
    claim(path, settings)
    claim(path, settings)
    with pytest.raises(InputError, match=r"train\.max_epochs is 5 there and 6 now"):
        claim(path, {**settings, "train": {"max_epochs": 6, "patience": 4}})
    with pytest.raises(InputError, match=r"arms\.local is absent there and \{\} now"):
        claim(path, {**settings, "arms": {"random": {}, "local": {}}})
    with pytest.raises(InputError, match=r"train\.patience is 3 there and absent now"):
        claim(path, {**settings, "train": {"max_epochs": 5}})


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"settings\.json: expected a JSON"):
        claim(path, {"a": 1})


def test_arrays_are_read_as_they_were_written(tmp_path: Path) -> None:
    arrays = [np.arange(5), np.array(["a", "\u00e9"]), np.zeros((0, 3), np.float32)]
    write_arrays(tmp_path / "a.npy", *arrays)
    for found, array in zip(read_arrays(tmp_path / "a.npy", 3), arrays, strict=True):
        np.testing.assert_array_equal(found, array, strict=True)


def test_a_damaged_file_of_arrays_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    write_arrays(path, np.arange(5))
    whole = path.read_bytes()
    cut = [whole[:size] for size in (0, 3, 4, 60, len(whole) - 1)]
    changed = [bytes([*whole[:at], whole[at] ^ 1, *whole[at + 1 :]]) for at in range(len(whole))]
    for content in (*cut, *changed, whole + b"\0"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.npy: wrong checksum"):
            read_arrays(path, 1)
