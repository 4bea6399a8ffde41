"""Item-item graphs: nearest neighbors by features, and the frozen graph of FREEDOM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn import functional

from sgurinit._device_top_k import count_rows, find_highest
from sgurinit.core import ItemFeatures
from sgurinit.errors import InputError
from sgurinit.models.blocks._csr import Sparse
from sgurinit.models.blocks.building import get_building_device
from sgurinit.models.blocks.graph_cache import cached_graph
from sgurinit.models.blocks.sparse_graph import invert_roots

if TYPE_CHECKING:
    from sgurinit.data import Dataset

BLOCK_ROWS = 512  # rows compared with all others at a time on the CPU, at most
BLOCK_PRODUCTS = 1 << 27  # products in memory at a time on the CPU
DEVICE_ROWS = 1 << 15  # from so many items on, the graph is built on the device that trains


@torch.no_grad()
def find_nearest(vectors: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Find each row's `k` nearest rows by dot product, the row itself included.

    The n x n products are computed exactly, in blocks of rows that fit in memory: on a CUDA device
    in a quarter of what is free, else in half a gigabyte. Among rows with equal products, a CUDA
    device takes those with the lower positions; the CPU takes any.

    Parameters
    ----------
    vectors : Tensor of float32, shape (n, d)
        Rows to compare. Unit rows give the nearest by cosine.
    k : int
        Neighbors per row, at least 1; at most n are returned.

    Returns
    -------
    products, positions : Tensor, shape (n, min(k, n))
        Dot products and row positions of the neighbors, nearest first.
    """
    n, k = len(vectors), min(k, len(vectors))
    if n == 0:
        return vectors.new_empty(0, 0), vectors.new_empty((0, 0), dtype=torch.int64)
    if is_chosen_there(vectors):
        rows, choose = count_rows(n, vectors.device), _choose_there
    else:
        rows, choose = min(BLOCK_ROWS, max(1, BLOCK_PRODUCTS // n)), _choose_here
    # The tables are allocated once: results that stay between blocks would split freed memory, so
    # that the next block needs new memory.
    block = vectors.new_empty(min(rows, n), n)
    highest, positions = vectors.new_empty(n, k), vectors.new_empty((n, k), dtype=torch.int64)
    for first in range(0, n, rows):
        part = slice(first, first + rows)
        products = block[: len(vectors[part])]
        torch.mm(vectors[part], vectors.T, out=products)
        highest[part], positions[part] = choose(products, k)
    return highest, positions


def is_chosen_there(vectors: Tensor) -> bool:
    """Return whether neighbors are chosen as on a CUDA device; if not, as on the CPU."""
    return vectors.is_cuda


def _choose_here(products: Tensor, k: int) -> tuple[Tensor, Tensor]:
    highest, positions = torch.topk(products, k, dim=1)
    return highest, positions


def _choose_there(products: Tensor, k: int) -> tuple[Tensor, Tensor]:
    positions = find_highest(products, k)
    return products.gather(1, positions), positions


@cached_graph(version=1)
def build_knn_graph(features: ItemFeatures, k: int, *, weighted: bool) -> Sparse:
    """Build the graph of each item's `k` nearest items by cosine, symmetrically normalized.

    As in the code of LATTICE and its successors, an item is among its own neighbors, unless more
    than `k` items equal it. Similarities are computed in blocks of rows, so the dense items x items
    matrix never exists. With 32,768 items or more they are computed on the device of `build_on`,
    which changes them by rounding. The graph is kept on disk, see `cached_graph`.

    Parameters
    ----------
    features : ItemFeatures
        One modality. Items without a row, or with an all-zero row, have no neighbors and are
        nobody's.
    k : int
        Neighbors per item, at least 1, the item itself included; at most the number of items with
        a row.
    weighted : bool
        Use the cosines as weights, with negative ones set to 0. If False, all weights are 1.

    Returns
    -------
    scipy.sparse.csr_array
        ``D^-1/2 S D^-1/2``, ``(n_items, n_items)``, where D has the row sums of S.
    """
    values = features.values
    present = np.flatnonzero(features.mask() & values.any(axis=1))
    rows_present = torch.from_numpy(values[present].astype(np.float32, copy=False))
    unit = functional.normalize(rows_present, dim=1)
    if len(unit) >= DEVICE_ROWS:
        unit = unit.to(get_building_device())
    cosines, neighbors = (found.cpu() for found in find_nearest(unit, k))
    rows = np.repeat(present, neighbors.shape[1])
    columns = present[neighbors.numpy().ravel()]
    kept = cosines.clamp(min=0) if weighted else torch.ones_like(cosines)
    data = kept.numpy().ravel()
    adjacency = sp.csr_array((data, (rows, columns)), shape=(len(values), len(values)))
    root = sp.diags_array(invert_roots(np.asarray(adjacency.sum(axis=1)).ravel()))
    return sp.csr_array(root @ adjacency @ root)


def build_frozen_item_graph(dataset: Dataset, k: int, weights: Mapping[str, float]) -> Sparse:
    """Build FREEDOM's item graph: a weighted sum of the modalities' unweighted kNN graphs.

    DRAGON and MENTOR use the same graph.

    Parameters
    ----------
    dataset : Dataset
        Data set whose features are compared.
    k : int
        Neighbors per item and modality, at least 1.
    weights : mapping of str to float
        Weight of each named modality, in [0, 1]. The others share the rest, see
        `share_graph_weights`.

    Returns
    -------
    scipy.sparse.csr_array
        ``(n_items, n_items)``.
    """
    shares = share_graph_weights(list(dataset.features), weights)
    return sum(
        (
            shares[name] * build_knn_graph(features, k, weighted=False)
            for name, features in dataset.features.items()
        ),
        start=sp.csr_array((dataset.n_items, dataset.n_items)),
    )


def share_graph_weights(modalities: list[str], named: Mapping[str, float]) -> dict[str, float]:
    """Complete the named weights to weights of all modalities that sum to 1.

    Modalities that are not named share the rest equally. Names that the data set does not have are
    ignored, so that one config works for data sets with other modalities. If every modality is
    named, the weights are scaled to sum 1.

    Parameters
    ----------
    modalities : list of str
        The data set's modalities.
    named : mapping of str to float
        Weights of some modalities, each in [0, 1].

    Returns
    -------
    dict of str to float
        Weight of each modality, in the order of `modalities`.

    Raises
    ------
    InputError
        The named weights sum to more than 1 while other modalities remain, or all are zero.

    Examples
    --------
    >>> share_graph_weights(["image", "text"], {"image": 0.1})
    {'image': 0.1, 'text': 0.9}
    """
    given = {modality: named[modality] for modality in modalities if modality in named}
    others = [modality for modality in modalities if modality not in named]
    total = sum(given.values())
    if total > 1 and others:
        raise InputError(
            f"graph_weights of {', '.join(given)} sum to {total:g}, so nothing is left for "
            f"{', '.join(others)}; make them sum to 1 at most"
        )
    if total == 0 and not others:
        raise InputError(f"graph_weights of {', '.join(given)} are all 0; make one larger")
    if others:
        rest = (1 - total) / len(others)
        return {modality: given.get(modality, rest) for modality in modalities}
    return {modality: weight / total for modality, weight in given.items()}
