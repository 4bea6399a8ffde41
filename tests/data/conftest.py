"""A small data set, and writers of it in the public layouts with single files replaced."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from sgurinit.core.inputs.features import ItemFeatures
from sgurinit.data import Dataset, Interactions

N_USERS, N_ITEMS = 4, 5
PAIRS = {
    "train": [(0, 0), (0, 1), (1, 1), (2, 3)],
    "valid": [(0, 2)],
    "test": [(1, 4), (2, 0)],
}

MakeDataset = Callable[..., Dataset]
WriteFolder = Callable[..., Path]


def feature_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "image": rng.normal(size=(N_ITEMS, 3)).astype(np.float16),
        "text": rng.normal(size=(N_ITEMS, 2)).astype(np.float32),
    }


@pytest.fixture
def make_dataset() -> MakeDataset:
    """Build the small data set, any field replaced by keyword."""

    def make(**changes: object) -> Dataset:
        splits = {split: Interactions(*np.array(pairs).T) for split, pairs in PAIRS.items()}
        fields: dict[str, object] = {
            "name": "small",
            "layout": "memory",
            **splits,
            "features": {m: ItemFeatures(values) for m, values in feature_arrays().items()},
            "user_ids": np.arange(N_USERS),
            "item_ids": np.arange(N_ITEMS),
        }
        return Dataset(**(fields | changes))  # type: ignore[arg-type]

    return make


@pytest.fixture
def write_hkuds(tmp_path: Path) -> WriteFolder:
    """Write the small data set in the HKUDS layout; bytes, an array or None replace a file."""

    def write(**changes: object) -> Path:
        folder = tmp_path / "hk"
        folder.mkdir()
        names = {"train": "trnMat", "valid": "valMat", "test": "tstMat"}
        files: dict[str, object] = {f"{m}_feat": v for m, v in feature_arrays().items()}
        for split, pairs in PAIRS.items():
            rows, columns = np.array(pairs).T
            matrix = sparse.coo_matrix((np.ones(len(rows)), (rows, columns)), (N_USERS, N_ITEMS))
            files[names[split]] = pickle.dumps(matrix)
        for name, content in (files | changes).items():
            if isinstance(content, np.ndarray):
                np.save(folder / f"{name}.npy", content)
            elif content is not None:
                suffix = "npy" if name.endswith("_feat") else "pkl"
                (folder / f"{name}.{suffix}").write_bytes(content)  # type: ignore[arg-type]
        return folder

    return write


@pytest.fixture
def write_mmrec(tmp_path: Path) -> WriteFolder:
    """Write the small data set in the MMRec layout, its table replaced by `lines`."""

    def write(lines: list[str] | None = None, **extra: str) -> Path:
        folder = tmp_path / "mm"
        folder.mkdir()
        if lines is None:
            lines = ["userID\titemID\trating\ttimestamp\tx_label"]
            for label, pairs in enumerate(PAIRS.values()):
                lines += [f"{u}\t{i}\t5.0\t99\t{label}" for u, i in pairs]
        (folder / "small.inter").write_text("\n".join(lines) + "\n")
        for modality, values in feature_arrays().items():
            np.save(folder / f"{modality}_feat.npy", values)
        for name, text in extra.items():
            (folder / f"{name}.csv").write_text(text)
        return folder

    return write
