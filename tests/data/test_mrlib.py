"""Features of MRLib may be tensors. Only a tensor is read from their files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from sgurinit.data import load_dataset, write_native
from sgurinit.data.convert import convert
from sgurinit.errors import InputError


@pytest.fixture
def folder(make_dataset, tmp_path) -> Path:
    write_native(make_dataset(), tmp_path / "n")
    convert(tmp_path / "n", tmp_path / "mr", "mrlib")
    return tmp_path / "mr"


def as_tensor(folder: Path, modality: str, kind: torch.dtype | None = None) -> Path:
    array = folder / f"{modality}_feat.npy"
    torch.save(torch.tensor(np.load(array)).to(kind), array.with_suffix(".pt"))
    array.unlink()
    return array.with_suffix(".pt")


def test_tensors_give_the_same_data_as_arrays(folder, write_mmrec):
    for place in (folder, write_mmrec()):
        expected = load_dataset(place)
        for modality in ("image", "text"):
            as_tensor(place, modality)
        assert load_dataset(place).fingerprint == expected.fingerprint


def test_bfloat16_becomes_float32(folder):
    expected = load_dataset(folder).features["text"].values
    as_tensor(folder, "text", torch.bfloat16)
    found = load_dataset(folder).features["text"].values
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0.01)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("ran",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (Evil(), "not a complete file of one tensor"),
        ({"text": torch.ones(5, 2)}, "holds dict; one dense tensor is expected"),
        (torch.eye(5).to_sparse(), "one dense tensor is expected"),
        (torch.ones(5, 2, dtype=torch.int64), "a 2-D array"),
        (torch.ones(4, 2), "4 rows but the data has 5 items"),
        (torch.full((5, 2), torch.nan), "row 0, column 0 is nan"),
    ],
)
def test_other_contents_are_refused_and_not_run(folder, monkeypatch, content, says):
    monkeypatch.chdir(folder.parent)
    torch.save(content, as_tensor(folder, "text"))
    with pytest.raises(InputError, match=says) as error:
        load_dataset(folder)
    assert "text_feat.pt" in str(error.value)
    assert not (folder.parent / "ran").exists()


def test_a_truncated_file_and_two_files_of_one_modality_are_refused(folder):
    both = as_tensor(folder, "text")
    whole = both.read_bytes()
    both.write_bytes(whole[:100])
    with pytest.raises(InputError, match="not a complete file of one tensor"):
        load_dataset(folder)
    both.write_bytes(whole)
    np.save(both.with_suffix(".npy"), np.ones((5, 2)))
    with pytest.raises(InputError, match=r"text_feat\.npy is also there; keep one"):
        load_dataset(folder)
