"""Rows of unit length: values and gradients against torch's own function."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from sgurinit.models.blocks.unit_rows import scale_rows


def test_values_and_gradients_are_those_of_normalize():
    torch.manual_seed(0)
    table = (torch.randn(40, 7) * torch.logspace(-6, 6, 40)[:, None]).requires_grad_()
    grad = torch.randn(40, 7)
    found, expected = scale_rows(table), functional.normalize(table)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(result, table, grad)[0] for result in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


def test_gradients_agree_with_differences():
    torch.manual_seed(1)
    table = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(scale_rows, table)


def test_a_second_gradient_is_refused():
    table = torch.randn(5, 3, requires_grad=True)
    loss = scale_rows(table).pow(3).sum()
    (gradient,) = torch.autograd.grad(loss, table, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()


def test_rows_of_zeros_stay_zeros():
    table = torch.zeros(3, 4, requires_grad=True)
    scaled = scale_rows(table)
    assert torch.equal(scaled, torch.zeros(3, 4))
    scaled.sum().backward()
    assert table.grad.isfinite().all()


def test_an_empty_table_stays_empty():
    assert scale_rows(torch.zeros(0, 4)).shape == (0, 4)
