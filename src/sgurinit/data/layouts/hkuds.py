"""The layout of DiffMM, MMSSL and related projects: three pickled matrices and feature files.

``trnMat.pkl``, ``valMat.pkl`` and ``tstMat.pkl`` are sparse matrices users x items of one shape.
Every stored value other than zero is an interaction. ``<modality>_feat.npy`` has one row per item.
The layout has no external ids, so positions are used instead.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sgurinit.data.dataset import Dataset, Interactions
from sgurinit.data.layouts.base import Layout
from sgurinit.data.layouts.feature_files import find_feature_files, read_features
from sgurinit.data.layouts.pickles import read_sparse
from sgurinit.errors import InputError

_FILES = {"train": "trnMat.pkl", "valid": "valMat.pkl", "test": "tstMat.pkl"}
_USERS_PER_INTERACTION = 1000  # a larger shape is damaged or made up


class Hkuds(Layout):
    """`trnMat.pkl`, `valMat.pkl`, `tstMat.pkl` and `<modality>_feat.npy`."""

    name = "hkuds"
    expected_files = "trnMat.pkl, valMat.pkl, tstMat.pkl"

    def find_evidence(self, folder: Path) -> str | None:
        """Name the matrices in the folder."""
        return ", ".join(file for file in _FILES.values() if (folder / file).is_file()) or None

    def read(self, folder: Path) -> Dataset:
        """Read the data set. For errors, see `Layout.read`."""
        splits: dict[str, Interactions] = {}
        shapes: dict[str, tuple[int, int]] = {}
        for split, file in _FILES.items():
            if not (folder / file).is_file():
                raise InputError(f"{folder / file}: file is missing")
            shapes[file], users, items = read_sparse(folder / file)
            splits[split] = Interactions(users, items)
        if len(set(shapes.values())) > 1:
            found = ", ".join(f"{file} {shape}" for file, shape in shapes.items())
            raise InputError(
                f"{folder}: the matrices must have the same shape, users x items: {found}"
            )
        n_users, n_items = shapes[_FILES["train"]]
        _check_users(folder, n_users, sum(len(split) for split in splits.values()))
        features = read_features(find_feature_files(folder), n_items)
        return Dataset(
            name=folder.name,
            layout=self.name,
            **splits,
            features=features,
            user_ids=np.arange(n_users),
            item_ids=np.arange(n_items),
        )


def _check_users(folder: Path, n_users: int, n_interactions: int) -> None:
    """Refuse an implausible number of users before memory is allocated for them."""
    most = _USERS_PER_INTERACTION * max(n_interactions, 1)
    if n_users > most:
        raise InputError(
            f"{folder / _FILES['train']}: the shape has {n_users} users for {n_interactions} "
            f"interactions in total, expected {most} at most; save the matrix again"
        )
