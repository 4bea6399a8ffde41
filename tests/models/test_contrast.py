"""Sums over all candidates against the table of all similarities."""

from __future__ import annotations

import pytest
import torch

from sgurinit.models.blocks import contrast
from sgurinit.models.blocks.contrast import log_sums


@pytest.mark.parametrize("cached", [1, 20, 2**19])
def test_value_and_gradients_equal_those_of_the_whole_table(monkeypatch, cached):
    monkeypatch.setattr(contrast, "CACHED", cached)
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(n, 3, generator=generator, dtype=torch.double) for n in (7, 9))
    counts = torch.tensor([1, 2, 1, 3, 1, 1, 5])
    mine = [left.clone().requires_grad_(), right.clone().requires_grad_()]
    plain = [left.clone().requires_grad_(), right.clone().requires_grad_()]
    value = log_sums(*mine, counts)
    expected = ((plain[0] @ plain[1].T).exp().sum(dim=1).log() * counts).sum()
    torch.testing.assert_close(value, expected)
    (value**2).backward()
    (expected**2).backward()
    for one, other in zip(mine, plain, strict=True):
        torch.testing.assert_close(one.grad, other.grad)
