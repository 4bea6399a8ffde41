"""Losses that several models share. Each returns a scalar."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

# Lowest temperature at which sums of exp(cosine / temperature) stay in float32's range without
# subtracting the maximum first.
MIN_TEMPERATURE = 0.02
BLOCK_ENTRIES = 2**19  # similarities computed at a time: as many floats fit in a core's cache


def bpr_loss(users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """Compute the Bayesian personalized ranking loss, ``-mean ln sigmoid(u·p - u·n)``.

    Parameters
    ----------
    users, positives, negatives : Tensor, shape (batch, d)
        Vectors of the batch's triples.

    Raises
    ------
    ValueError
        The shapes differ. They are not broadcast.

    References
    ----------
    Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.
    """
    if not users.shape == positives.shape == negatives.shape:
        raise ValueError(
            f"BPR needs equal shapes, got {tuple(users.shape)}, {tuple(positives.shape)} "
            f"and {tuple(negatives.shape)}"
        )
    return margin_loss((users * (positives - negatives)).sum(dim=1))


def margin_loss(margins: Tensor) -> Tensor:
    """Compute `bpr_loss` from the margins ``(batch,)``, each triple's ``u·p - u·n``."""
    return -functional.logsigmoid(margins).mean()


def l2_penalty(*tables: Tensor) -> Tensor:
    """Compute half the squared norm of the batch's vectors, per triple: ``sum ||x||^2 / (2 B)``.

    Parameters
    ----------
    *tables : Tensor, shape (batch, d)
        The batch's vectors. The first table's length is B.
    """
    batch = tables[0].shape[0]
    return sum((table.square().sum() for table in tables), start=tables[0].new_zeros(())) / (
        2 * batch
    )


def info_nce_loss(view: Tensor, other: Tensor, temperature: float, counts: Tensor) -> Tensor:
    """Contrast each row of `view` with the same row of `other` against all rows of `other`.

    A batch holds popular nodes several times. Passing each distinct node once, with its count,
    gives the same value and gradient as repeating the rows, with far fewer products.

    Parameters
    ----------
    view, other : Tensor, shape (n, d)
        Two views of the same nodes, compared by cosine.
    temperature : float
        Divides the cosines; at least `MIN_TEMPERATURE`.
    counts : Tensor, shape (n,)
        How often the batch holds each node.

    References
    ----------
    van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018.
    """
    view = functional.normalize(view, dim=1) / temperature
    other = functional.normalize(other, dim=1)
    counts = counts.to(view.dtype)
    # Cosines are bounded, so the maximum need not be subtracted before the exponential.
    total = (view @ other.T).exp() @ counts
    positive = (view * other).sum(dim=1)
    return ((total.log() - positive) * counts).sum() / counts.sum()


class _SumLogSumExp(torch.autograd.Function):
    """Because the result is a scalar, the forward pass computes both gradients up to a factor."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, counts: Tensor) -> Tensor:
        # Products of a long table with a thin one are several times faster with the long side last.
        columns = right.T.contiguous()
        with_ones = torch.cat([columns, columns.new_ones(1, len(right))])
        total = left.new_zeros(())
        for_left = torch.empty_like(left)
        for_columns = torch.zeros_like(columns)
        block = max(1, BLOCK_ENTRIES // len(right))
        for rows, times, grad in zip(
            left.split(block), counts.split(block), for_left.split(block), strict=True
        ):
            raised = (rows @ columns).exp_()
            products = with_ones @ raised.T
            sums = products[-1]
            share = times / sums
            total += times @ sums.log()
            grad.copy_((products[:-1] * share).T)
            for_columns.addmm_((rows * share[:, None]).T, raised)
        ctx.save_for_backward(for_left, for_columns)
        return total

    @staticmethod
    @once_differentiable  # what is saved has no gradient, so a second one would be wrong
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        for_left, for_columns = ctx.saved_tensors
        return grad * for_left, grad * for_columns.T, None


def sum_logsumexp(left: Tensor, right: Tensor, counts: Tensor) -> Tensor:
    """Compute ``sum_i counts_i ln sum_j exp(left_i · right_j)``, the denominator of InfoNCE.

    When all nodes are candidates, their ``(n, m)`` similarities would be the largest table of a
    training step. Here they are computed a few rows at a time and not stored.

    Parameters
    ----------
    left : Tensor, shape (n, k)
        The batch's nodes.
    right : Tensor, shape (m, k)
        All candidates. The products must stay well below 80, as cosines over a temperature do,
        because the maximum is not subtracted before the exponential.
    counts : Tensor, shape (n,)
        How often the batch holds each node.
    """
    return cast(Tensor, _SumLogSumExp.apply(left, right, counts.to(left.dtype)))  # type: ignore[no-untyped-call]
