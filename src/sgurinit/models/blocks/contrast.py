"""Contrast of a batch's nodes with all nodes, without a table of all their similarities."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

CACHED = 2**19  # similarities at a time, floats: they stay in a core's cache


class _LogSums(torch.autograd.Function):
    """The sum is scalar, so both gradients are known up to a factor on the way forward."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, counts: Tensor) -> Tensor:
        # Products of a long table with a thin one are several times faster with the long side last.
        columns = right.T.contiguous()
        with_ones = torch.cat([columns, columns.new_ones(1, len(right))])
        total = left.new_zeros(())
        for_left = torch.empty_like(left)
        for_columns = torch.zeros_like(columns)
        block = max(1, CACHED // len(right))
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
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        for_left, for_columns = ctx.saved_tensors
        return grad * for_left, grad * for_columns.T, None


def log_sums(left: Tensor, right: Tensor, counts: Tensor) -> Tensor:
    """``sum_i counts_i ln sum_j exp(left_i · right_j)``, a scalar: what InfoNCE divides by.

    For all nodes as candidates the ``(n, m)`` similarities are the largest thing in a training
    step; here they exist a few rows at a time and are never read again.

    Parameters
    ----------
    left
        The batch's nodes, ``(n, k)``.
    right
        All candidates, ``(m, k)``. Products must be bounded well below 80, as cosines over a
        temperature are: they are not shifted by their maximum.
    counts
        How often the batch holds each node, ``(n,)``.
    """
    return cast(Tensor, _LogSums.apply(left, right, counts.to(left.dtype)))  # type: ignore[no-untyped-call]
