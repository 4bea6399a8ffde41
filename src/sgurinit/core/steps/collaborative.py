"""Directions of the interactions: a low-rank basis of who uses which items."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from joblib import effective_n_jobs
from threadpoolctl import threadpool_limits

from sgurinit.core.inputs.arrays import FloatArray
from sgurinit.core.steps.processor import (
    NUMPY,
    Own,
    Processor,
    multiply_columns,
    multiply_rows,
)

# Interactions of some users per part: each callable returns a binary matrix, shape (some, n_items).
InteractionParts = Sequence[Callable[[], sp.csr_array]]

# Added to every degree: one more interaction, as in Laplace's rule.
_REGULARIZER = 1.0
# Multiplications of the block by the Gram matrix. Ranking hardly changes with more of them.
_POWERS = 4
# Multiplications of a vector of ones, which give every item a number that depends on its users.
_WALKS = 3
# Standard deviation of the frequencies of the first block. Lower ones leave it with fewer
# directions than columns. Higher ones enlarge the rounding errors of the items' numbers.
_FREQUENCY = 1e6
# Users at a time: at least so many, and a share of the number of items, so that the dense rows of
# the users take less than those of the items.
_BLOCK_USERS = 1 << 14
_USERS_PER_ITEM = 0.25
# Size of a dense block of items by columns that users are multiplied by.
_BLOCK_BYTES = 1 << 29


class Directions(NamedTuple):
    """Interactions, reduced to some directions.

    Attributes
    ----------
    columns : ndarray of float64, shape (n_items, rank)
        C, with the Gram matrix ``X^T X`` near ``C C^T``; zero for an item without interactions.
    squares : ndarray of float64, shape (n_items,)
        Diagonal of ``X^T X``.
    keys : ndarray of float64, shape (n_items,)
        A number in [0, 1] per item that depends on its users but not on the order of the data.
    """

    columns: FloatArray
    squares: FloatArray
    keys: FloatArray


class PartSums:
    """Sums over the parts of the interactions, on several threads.

    A context manager. The result does not depend on the number of threads.

    Parameters
    ----------
    parts : sequence of callables
        Each returns the interactions of some users.
    n_jobs : int or None
        Threads, as in scikit-learn: None is 1, -1 all cores.
    on_pass : callable, optional
        Called with the number of passes over the interactions so far.
    processor : Processor
        What computes.
    """

    def __init__(
        self,
        parts: InteractionParts,
        n_jobs: int | None = None,
        on_pass: Callable[[int], object] | None = None,
        processor: Processor = NUMPY,
    ) -> None:
        self._parts = parts
        self.processor = processor
        self._on_pass = on_pass
        self._passes = count(1)
        n_threads = effective_n_jobs(processor.count_threads(n_jobs))
        self._threads = ThreadPoolExecutor(min(n_threads, len(parts)))
        self._entered = ExitStack()

    def __enter__(self) -> PartSums:
        # One thread per product: the order of its sums is then always the same.
        self._entered.enter_context(threadpool_limits(limits=1))
        self._entered.enter_context(self._threads)
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.close()

    def sum(
        self,
        compute: Callable[[sp.csr_array, Processor], Own],
        processor: Processor | None = None,
    ) -> FloatArray:
        """Sum what `compute` returns for the users of every part, an array of the processor's."""
        total: FloatArray | None = None
        add_up = partial(_sum_blocks, compute=compute, processor=processor or self.processor)
        for product in self._threads.map(add_up, self._parts):
            total = _add(total, product)
        if self._on_pass is not None:
            self._on_pass(next(self._passes))
        assert total is not None  # noqa: S101 - there is at least one part
        return total

    def multiply(
        self,
        compute: Callable[[sp.csr_array, Processor, Own], Own],
        block: FloatArray,
        scales: FloatArray | None = None,
        processor: Processor | None = None,
    ) -> FloatArray:
        """Sum ``compute(users, processor, block)``, a block, over the users of every part.

        A large block is multiplied by some columns at a time, each a pass over the interactions.
        With `scales`, the rows of the block and of the result are multiplied by them.
        """
        processor = processor or self.processor
        step = max(1, processor.choose_table_bytes(_BLOCK_BYTES) // (8 * len(block)))
        product = np.empty_like(block)
        for first in range(0, block.shape[1], step):
            columns = processor.put(block[:, first : first + step])
            if scales is not None:
                columns = processor.put(scales)[:, None] * columns
            columns = processor.lay_out(columns)
            found = self.sum(
                lambda users, on, columns=columns: compute(users, on, columns),  # type: ignore[misc]
                processor,
            )
            if scales is not None:
                found *= scales[:, None]
            product[:, first : first + step] = found
        return product


def find_directions(sums: PartSums, degrees: FloatArray, rank: int) -> Directions:
    r"""Find the leading directions of the interactions.

    With degrees :math:`D_U, D_I` and binary interactions R, the normalized interactions are
    :math:`X = (D_U + 1)^{-1/2} R (D_I + 1)^{-1/4}`. Adding one to the degrees is Zhang and Rohe's
    regularization (Understanding Regularized Spectral Clustering via Graph Conductance, NeurIPS
    2018). The columns are the Nyström approximation of :math:`X^T X` from a block of vectors after
    four power iterations (Halko, Martinsson and Tropp, SIAM Review 2011). They are exact where
    `rank` is at least the number of items.

    Parameters
    ----------
    sums : PartSums
        Sums over the interactions, of which there is at least one.
    degrees : ndarray of float64, shape (n_items,)
        Number of users of each item.
    rank : int >= 1
        Number of directions.

    Returns
    -------
    Directions
    """
    scales = (degrees + _REGULARIZER) ** -0.25

    def gram(block: FloatArray, processor: Processor | None = None) -> FloatArray:
        """Multiply by ``X^T X``, shape (n_items, n_items)."""
        return sums.multiply(_multiply_gram, block, scales, processor)

    # All that leads to the first basis is computed by NumPy: the frequencies enlarge rounding
    # errors, which differ by processor.
    squares = scales**2 * sums.sum(_sum_user_weights, NUMPY)
    keys = np.ones((len(degrees), 1))
    for _ in range(_WALKS):
        keys = gram(keys, NUMPY) + squares[:, None]
        keys /= keys.max()
    basis: FloatArray
    if rank >= len(degrees):
        block = gram(basis := np.eye(len(degrees)))
    else:
        frequencies = np.random.default_rng(0).normal(scale=_FREQUENCY, size=rank)
        block = gram(np.cos(keys * frequencies), NUMPY)
        for power in range(_POWERS):
            basis = (sums.processor if power else NUMPY).find_basis(block)
            del block  # memory: the largest data need it
            block = gram(basis)
    inner = multiply_columns(sums.processor, basis, block)
    values, vectors = np.linalg.eigh((inner + inner.T) / 2)
    kept = values > values.max() * 1e-10
    columns = multiply_rows(sums.processor, block, vectors[:, kept] / np.sqrt(values[kept]))
    return Directions(columns, squares, keys[:, 0])


def _sum_blocks(
    part: Callable[[], sp.csr_array],
    compute: Callable[[sp.csr_array, Processor], Own],
    processor: Processor,
) -> FloatArray:
    total: Own | None = None
    for users in _iter_user_blocks(part()):
        total = _add(total, compute(users, processor))
    assert total is not None  # noqa: S101 - a matrix has at least one block
    found: FloatArray = processor.get(total)
    return found


def _add(total: Own | None, product: Own) -> Own:
    """Add to a total in place."""
    if total is None:
        return product
    total += product
    return total


def _iter_user_blocks(matrix: sp.csr_array) -> Iterator[sp.csr_array]:
    """Split a matrix into blocks of users, at least one."""
    n_users, n_items = matrix.shape
    size = max(_BLOCK_USERS, int(_USERS_PER_ITEM * n_items))
    for first in range(0, max(n_users, 1), size):
        yield sp.csr_array(matrix[first : first + size])


def _multiply_gram(users: sp.csr_array, processor: Processor, block: Own) -> Own:
    """Multiply by ``R^T (D_U + 1)^-1 R`` of some users."""
    weights = processor.put(1.0 / (np.diff(users.indptr) + _REGULARIZER))
    matrix = processor.put_sparse(users)
    return matrix.T @ (weights[:, None] * (matrix @ block))


def _sum_user_weights(users: sp.csr_array, processor: Processor) -> Own:
    weights = processor.put(1.0 / (np.diff(users.indptr) + _REGULARIZER))
    return processor.put_sparse(users).T @ weights
