"""Tables whose vectors after a model's linear layers are a start."""

from __future__ import annotations

import torch
from torch import Tensor

from sgurinit.models.base import Recommender, UserTable

# Steps of the conjugate gradients; they stop before where the residual is small.
_STEPS = 50
_SMALL = 1e-3
# Relative deviation from linearity that rounding explains.
_ROUNDING = 1e-3


def solve_tables_(model: Recommender, table: UserTable) -> bool:
    r"""Replace a filled free table by one whose final vectors are the filled rows, in place.

    With the tables T and the model's final vectors ``A T + b``, this is the least-squares solution
    of :math:`A T + b = X`, where X are the filled rows of users and items. Conjugate gradients on
    the normal equations (CGLS; Björck, Numerical Methods for Least Squares Problems, 1996) only
    need the model's `embed` and its gradient.

    Parameters
    ----------
    model : Recommender
        The model.
    table : UserTable
        One of its user tables in a free space, filled with its items.

    Returns
    -------
    bool
        Whether the tables were replaced. They are kept where the final vectors have another shape,
        do not depend on both tables, do not depend on them linearly, or mix their columns: training
        does not keep what was solved through a random layer, such as the predictor of BM3.

    See Also
    --------
    hand_over : Does this with ``target="vectors"``.
    """
    assert table.items is not None  # noqa: S101 - the caller fills both
    tables = [table.parameter, table.items]
    was_training, trained = model.training, [rows.requires_grad for rows in tables]
    model.eval()
    try:
        for rows in tables:
            rows.requires_grad_(True)
        return _Solver(model, tables).solve_()
    finally:
        for rows, flag in zip(tables, trained, strict=True):
            rows.requires_grad_(flag)
        model.train(was_training)


class _Solver:
    """Least squares on the tables of a model."""

    def __init__(self, model: Recommender, tables: list[torch.nn.Parameter]) -> None:
        self.model, self.tables = model, tables
        self.filled = [table.detach().clone() for table in tables]
        self.offset = [torch.zeros_like(rows) for rows in self.filled]

    def solve_(self) -> bool:
        solution = None
        try:
            solution = self._solve() if self._is_linear_per_column() else None
        finally:
            self._write_(self.filled if solution is None else solution)
        return solution is not None

    def _solve(self) -> list[Tensor] | None:
        """Find the solution; None if the vectors do not depend on one of the tables."""
        solution = [torch.zeros_like(rows) for rows in self.filled]
        residual = _add(self.filled, self.offset, -1.0)
        gradient = self._multiply_transposed(residual)
        if not all(rows.any() for rows in gradient):
            return None
        direction, norm = gradient, _dot(gradient, gradient)
        first = norm
        for _ in range(_STEPS):
            if norm <= _SMALL**2 * first:
                break
            image = self._multiply(direction)
            step = norm / _dot(image, image)
            solution = _add(solution, direction, step)
            residual = _add(residual, image, -step)
            gradient = self._multiply_transposed(residual)
            last, norm = norm, _dot(gradient, gradient)
            direction = _add(gradient, direction, norm / last)
        return solution

    def _is_linear_per_column(self) -> bool:
        """Whether the vectors depend linearly on the tables, and each column on the same column."""
        zeros = [torch.zeros_like(rows) for rows in self.filled]
        vectors = self._embed(zeros)
        if [rows.shape for rows in vectors] != [rows.shape for rows in self.filled]:
            return False
        self.offset = vectors
        once, twice = (self._multiply(_add(zeros, self.filled, factor)) for factor in (1.0, 2.0))
        moved = self._multiply([rows.roll(1, dims=1) for rows in self.filled])
        linear = _add(twice, once, -2.0)
        per_column = _add(moved, [rows.roll(1, dims=1) for rows in once], -1.0)
        small = _ROUNDING**2 * _dot(twice, twice)
        return _dot(linear, linear) <= small and _dot(per_column, per_column) <= small

    def _multiply(self, rows: list[Tensor]) -> list[Tensor]:
        """Multiply by A."""
        return _add(self._embed(rows), self.offset, -1.0)

    def _multiply_transposed(self, rows: list[Tensor]) -> list[Tensor]:
        """Multiply by the transpose of A, which is the same at all tables."""
        with torch.enable_grad():
            vectors = self.model.embed()
            seen = [n for n, values in enumerate(vectors) if values.requires_grad]
            if not seen:
                return [torch.zeros_like(table) for table in self.filled]
            outputs, weights = [vectors[n] for n in seen], [rows[n] for n in seen]
            return list(
                torch.autograd.grad(
                    outputs, self.tables, weights, allow_unused=True, materialize_grads=True
                )
            )

    def _embed(self, rows: list[Tensor]) -> list[Tensor]:
        self._write_(rows)
        with torch.no_grad():
            return [vectors.detach().clone() for vectors in self.model.embed()]

    @torch.no_grad()
    def _write_(self, rows: list[Tensor]) -> None:
        for table, values in zip(self.tables, rows, strict=True):
            table.copy_(values)


def _add(left: list[Tensor], right: list[Tensor], factor: float) -> list[Tensor]:
    return [a + factor * b for a, b in zip(left, right, strict=True)]


def _dot(left: list[Tensor], right: list[Tensor]) -> float:
    return sum(float((a * b).sum()) for a, b in zip(left, right, strict=True))
