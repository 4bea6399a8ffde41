"""Item features as tensors that a model carries with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sgurinit.errors import InputError

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class Features(nn.Module):
    """Every modality's item features, float32, in the data set's order of modalities.

    Constants: they move between devices with the model and stay out of its saved state. Iterating
    gives the tables ``(n_items, d_m)``. Items without a row in a modality are zero in it.

    Parameters
    ----------
    dataset
        Where the features come from.
    unit_range
        Divide each modality by its largest absolute value.

    Attributes
    ----------
    modalities : list of str
        Names, in the order of the tables.
    """

    def __init__(self, dataset: Dataset, *, unit_range: bool = False) -> None:
        super().__init__()
        if not dataset.features:
            raise InputError(f"{dataset.name}: no features yet, and this model reads them")
        self.modalities = list(dataset.features)
        for position, features in enumerate(dataset.features.values()):
            table = torch.tensor(features.values.astype("float32"))
            if features.present is not None:
                table[~torch.tensor(features.present)] = 0.0
            if unit_range:
                table /= table.abs().max().clamp(min=torch.finfo(table.dtype).tiny)
            # By position: a modality may have any name, an attribute of a module may not.
            self.register_buffer(f"table_{position}", table, persistent=False)

    def __getitem__(self, position: int) -> Tensor:
        return self.get_buffer(f"table_{position}")

    def __len__(self) -> int:
        return len(self.modalities)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[position] for position in range(len(self)))


def is_narrow(table: Tensor, width: int) -> bool:
    """Whether a modality may be propagated once ahead of training, ``(A F) W`` for ``A (F W)``.

    That saves a propagation per step and costs a copy of the features for every node, which is
    worth it up to a few times the vectors' width, not for features of thousands of columns.
    """
    return table.shape[1] <= 8 * width
