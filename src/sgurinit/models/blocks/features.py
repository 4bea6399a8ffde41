"""Item features as tensors of a model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sgurinit.core.inputs.training_data import require_features

if TYPE_CHECKING:
    from sgurinit.data import Dataset


class Features(nn.Module):
    """The item features of all modalities, as float32 tensors in the data set's order.

    They are constants: they move between devices with the model and are not part of its state
    dict. Iterating yields the tables ``(n_items, d_m)``. Items without a row in a modality have a
    row of zeros.

    Parameters
    ----------
    dataset : Dataset
        Data set whose features are copied.
    unit_range : bool, default False
        Divide each modality by its largest absolute value.

    Attributes
    ----------
    modalities : list of str
        Names, in the order of the tables.

    Raises
    ------
    InputError
        The data set has no features.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> features = Features(planted(200, 100))
    >>> len(features) == len(features.modalities)
    True
    """

    def __init__(self, dataset: Dataset, *, unit_range: bool = False) -> None:
        super().__init__()
        require_features(dataset)
        self.modalities = list(dataset.features)
        for position, features in enumerate(dataset.features.values()):
            table = torch.from_numpy(features.values.astype("float32"))  # the only copy
            if features.present is not None:
                table[~torch.tensor(features.present)] = 0.0
            if unit_range:
                table /= table.abs().max().clamp(min=torch.finfo(table.dtype).tiny)
            # By position, because not every modality's name can be an attribute's name.
            self.register_buffer(f"table_{position}", table, persistent=False)

    def __getitem__(self, position: int) -> Tensor:
        return self.get_buffer(f"table_{position}")

    def __len__(self) -> int:
        return len(self.modalities)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[position] for position in range(len(self)))


def is_narrow(table: Tensor, width: int) -> bool:
    """Return whether to propagate a modality once before training: ``(A F) W`` for ``A (F W)``.

    That saves a propagation per step but needs a row of features for every node. It pays off up to
    a few times the vectors' width, but not for features with thousands of columns.
    """
    return table.shape[1] <= 8 * width
