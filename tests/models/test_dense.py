"""Dense products: the same result from either library."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from sgurinit.models.blocks import dense

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this build of torch has no oneDNN"
)


@pytest.fixture(autouse=True)
def slow_mkl(monkeypatch):
    monkeypatch.setattr(dense, "_has_slow_mkl", lambda: True)


def draw(n, k, m):
    torch.manual_seed(3)
    shapes = (n, k), (m, k), (m,), (n, m)
    return [torch.randn(shape, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize(("n", "k", "m"), [(2048, 64, 64), (999, 193, 7), (1025, 130, 1)])
@pytest.mark.parametrize("has_bias", [False, True])
def test_values_and_gradients_are_those_of_the_plain_product(n, k, m, has_bias):
    x, weight, bias, grad = draw(n, k, m)
    inputs = (x, weight, bias) if has_bias else (x, weight)
    assert dense.is_onednn_faster(x) == (n * k >= dense.MIN_ENTRIES)
    result = dense.linear(*inputs)
    exact = [each.detach().double().requires_grad_() for each in inputs]
    expected = functional.linear(*exact)
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-4)
    gradients = torch.autograd.grad(result, inputs, grad)
    for found, right in zip(
        gradients, torch.autograd.grad(expected, exact, grad.double()), strict=True
    ):
        assert (found - right).norm() <= 1e-5 * right.norm()


def test_part_of_a_weight_and_changes_in_place():
    x, weight, _, grad = draw(2048, 64, 96)
    part = weight.T[:, :48].T
    result = functional.leaky_relu_(dense.linear(x, part))
    expected = functional.leaky_relu(x @ part.T)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-4)
    found, right = (
        torch.autograd.grad(product, weight, grad[:, :48])[0] for product in (result, expected)
    )
    assert (found - right).norm() <= 1e-5 * right.norm()


def test_tables_of_any_layout():
    x, weight, bias, grad = draw(2048, 64, 96)
    layouts = {
        "transposed": lambda t: t.movedim(0, -1).contiguous().movedim(-1, 0),
        "every second number": lambda t: t.repeat_interleave(2, dim=-1)[..., ::2],
        "one number": lambda t: t[..., :1].expand(t.shape),
    }
    for name, lay_out in layouts.items():
        inputs = [lay_out(each.detach()).requires_grad_() for each in (x, weight, bias)]
        assert name == "transposed" or not inputs[2].is_contiguous()
        products = dense.linear(*inputs), functional.linear(*inputs)
        torch.testing.assert_close(*products, rtol=1e-5, atol=1e-4)
        gradients = [torch.autograd.grad(product, inputs, grad) for product in products]
        for found, right in zip(*gradients, strict=True):
            assert (found - right).norm() <= 1e-5 * right.norm()


def test_frozen_inputs_have_no_gradient():
    x, weight, bias, _ = draw(2048, 64, 8)
    dense.linear(x.detach(), weight, bias.detach()).sum().backward()
    assert weight.grad is not None
    assert x.grad is None
    assert bias.grad is None


def test_equal_rows_have_equal_products():
    x, weight, _, _ = draw(2048, 65, 1001)
    with torch.no_grad():
        weight[[0, 17, 500, 999, 1000]] = weight[3].clone()
        x[[1, 700, 2047]] = x[5].clone()
        result = dense.linear(x, weight)
    for column in (0, 17, 500, 999, 1000):
        assert torch.equal(result[:, column], result[:, 3])
    for row in (1, 700, 2047):
        assert torch.equal(result[row], result[5])


@pytest.mark.parametrize("n", [0, 1, 2048])
@pytest.mark.parametrize("m", [3, 4001])
def test_prepared_tables_give_the_same_product(n, m):
    x, table, _, _ = draw(n, 64, m)
    with torch.no_grad():
        result = dense.prepare_product(table)(x)
        torch.testing.assert_close(result, x @ table.T, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(0, 64),
        torch.zeros(8, 64),
        torch.zeros(4096, 64, dtype=torch.float64),
        torch.zeros(4096, 64, dtype=torch.bfloat16),
        torch.zeros(4096, 64, device="meta"),
    ],
    ids=["empty", "small", "float64", "bfloat16", "other device"],
)
def test_other_tables_are_multiplied_as_usual(x):
    assert not dense.is_onednn_faster(x)
    weight = torch.zeros(3, 64, dtype=x.dtype, device=x.device)
    assert dense.linear(x, weight).shape == (len(x), 3)


def test_autocast_keeps_its_precision():
    x, weight, bias, _ = draw(4096, 64, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not dense.is_onednn_faster(x)
        assert dense.linear(x, weight, bias).dtype == torch.bfloat16


def test_other_processors_multiply_as_usual(monkeypatch):
    monkeypatch.setattr(dense, "_has_slow_mkl", lambda: False)
    assert not dense.is_onednn_faster(torch.zeros(4096, 64))
