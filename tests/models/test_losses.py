"""Losses that several models share."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from sgurinit.models import MENTOR, MGCN, SMORE, LGMRec
from sgurinit.models.blocks import losses
from sgurinit.models.blocks.losses import (
    MIN_TEMPERATURE,
    bpr_loss,
    info_nce_loss,
    sum_logsumexp,
)


def test_contrast_with_counts_equals_repeated_rows():
    view, other = torch.randn(4, 3), torch.randn(4, 3)
    counts = torch.tensor([1, 3, 2, 1])
    repeated = info_nce_loss(
        view.repeat_interleave(counts, 0), other.repeat_interleave(counts, 0), 0.2, torch.ones(7)
    )
    torch.testing.assert_close(info_nce_loss(view, other, 0.2, counts), repeated)


def test_bpr_rejects_shapes_that_would_broadcast():
    with pytest.raises(ValueError, match="equal shapes"):
        bpr_loss(torch.ones(4, 2), torch.ones(1, 2), torch.ones(4, 2))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_contrast_is_finite_at_the_lowest_temperature(sign):
    n = 4000
    view = torch.ones(n, 2)
    found = info_nce_loss(view, sign * view, MIN_TEMPERATURE, torch.ones(n))
    torch.testing.assert_close(found, torch.tensor(float(n)).log())
    sums = sum_logsumexp(view[:, :1] / MIN_TEMPERATURE, sign * view[:, :1], torch.ones(n))
    torch.testing.assert_close(sums / n, torch.tensor(float(n)).log() + sign / MIN_TEMPERATURE)


@pytest.mark.parametrize("model", [LGMRec, MENTOR, MGCN, SMORE])
def test_a_lower_temperature_is_rejected(model):
    model.Config(temperature=MIN_TEMPERATURE)
    with pytest.raises(ValidationError, match="temperature"):
        model.Config(temperature=MIN_TEMPERATURE / 2)


@pytest.mark.parametrize("entries", [1, 20, 2**19])
def test_sums_and_gradients_equal_those_of_the_dense_table(monkeypatch, entries):
    monkeypatch.setattr(losses, "BLOCK_ENTRIES", entries)
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(n, 3, generator=generator, dtype=torch.double) for n in (7, 9))
    counts = torch.tensor([1, 2, 1, 3, 1, 1, 5])
    mine = [left.clone().requires_grad_(), right.clone().requires_grad_()]
    plain = [left.clone().requires_grad_(), right.clone().requires_grad_()]
    value = sum_logsumexp(*mine, counts)
    expected = ((plain[0] @ plain[1].T).exp().sum(dim=1).log() * counts).sum()
    torch.testing.assert_close(value, expected)
    (value**2).backward()
    (expected**2).backward()
    for one, other in zip(mine, plain, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_a_second_gradient_of_sums_is_refused():
    left, right = torch.randn(2, 4, 3, requires_grad=True)
    loss = sum_logsumexp(left, right, torch.ones(4)).square()
    (gradient,) = torch.autograd.grad(loss, left, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()
