"""A training step neither waits for its device nor exchanges data with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sgurinit.data import planted
from sgurinit.models import Batch, LightGCN, model_resolver
from sgurinit.models.blocks import _csr, distinct
from sgurinit.training.run import build_model
from sgurinit.training.sampler import TripleSampler

# Operations whose result, or its shape, the host has to read.
WAITING = {
    "_local_scalar_dense", "item", "is_nonzero", "equal", "allclose", "nonzero", "nonzero_numpy",
    "argwhere", "where.default", "masked_select", "bincount", "histc", "_unique", "_unique2",
    "unique_dim", "unique_consecutive", "unique_dim_consecutive", "repeat_interleave.Tensor",
}  # fmt: skip
# Operations that bring data from the host.
COPYING = {"lift_fresh", "_to_copy", "copy_", "_copy_from"}


class Watch(TorchDispatchMode):
    """Collects the operations that would make the host wait for a device, or copy between them."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function).removeprefix("aten.")
        plain = name.partition(".")[0]
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        if {name, plain} & WAITING:
            self.found.append(name)
        elif plain in ("index", "index_put", "index_put_") and any(
            leaf.dtype in (torch.bool, torch.uint8) for leaf in tree_leaves(args[1])
            if isinstance(leaf, torch.Tensor)
        ):  # fmt: skip
            self.found.append(f"{name} with a mask")
        result = function(*args, **(kwargs or {}))
        if plain in COPYING:
            devices = {tensor.device for tensor in [*tensors, result]}
            if plain == "lift_fresh" or len(devices) > 1:
                self.found.append(name)
        return result


@contextmanager
def watch() -> Iterator[list[str]]:
    """Collect what a step must not do, by name, in the block."""
    with Watch() as mode, pytest.MonkeyPatch.context() as patch:

        def notice(owner, name):
            plain = getattr(owner, name)

            def wrapped(*args, **kwargs):
                mode.found.append(f"{owner.__name__}.{name}")
                return plain(*args, **kwargs)

            patch.setattr(owner, name, wrapped)

        for name in ("numpy", "tolist", "cpu", "__array__"):
            notice(torch.Tensor, name)
        for name in ("from_numpy", "tensor", "as_tensor", "asarray"):
            notice(torch, name)
        yield mode.found


@pytest.fixture
def fixed_shapes(monkeypatch):
    """The form of a step that a CUDA device gets, on the CPU."""
    use_fixed_shapes(monkeypatch)


def use_fixed_shapes(monkeypatch):
    monkeypatch.setattr(distinct, "needs_fixed_shapes", lambda _: True)
    monkeypatch.setattr(_csr, "multiply_by_rows", _csr.multiply_by_entries)


def make_steps(model_class, dataset, epoch=0):
    """Make the batches of an epoch and a function that takes a training step."""
    model = build_model(model_class, dataset, model_class.Config(width=8), seed=0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=True)
    model.begin_epoch(epoch)

    def step(batch):
        optimizer.zero_grad()
        loss = model.loss(batch)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return TripleSampler(dataset, 128, seed=0).epoch(epoch), step


@pytest.fixture(scope="module")
def dataset():
    return planted(200, 100, seed=3)


@pytest.mark.parametrize("name", sorted(model_resolver.options))
def test_a_step_does_not_wait_for_the_device(name, dataset, fixed_shapes):
    batches, step = make_steps(model_resolver.lookup(name), dataset)
    for batch in batches[:3]:  # the first of an epoch can differ
        with watch() as found:
            step(batch)
        assert not found, f"{name}: {', '.join(sorted(set(found)))}"


class Shapes(TorchDispatchMode):
    """Lists the operations of a step with the shapes and types of their results."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.seen.append((str(function), *((tuple(t.shape), t.dtype) for t in tensors)))
        return result


@pytest.mark.parametrize(
    "name", sorted(n for n in model_resolver.options if model_resolver.lookup(n).fixed_shapes)
)
def test_steps_of_a_model_with_fixed_shapes_do_the_same_operations(name, dataset, fixed_shapes):
    model_class = model_resolver.lookup(name)
    n_other = model_class.n_other_steps
    batches, step = make_steps(model_class, dataset)
    alike = Batch(*(torch.zeros_like(column) for column in batches[0]))  # one triple repeated
    seen = []
    for batch in (*batches[: n_other + 1], *batches[n_other + 1 : 4], alike):
        with Shapes() as mode:
            step(batch)
        seen.append(mode.seen)
    # The first step of all creates the optimizer's state.
    assert all(one == seen[-1] for one in seen[n_other + 1 :])


@pytest.mark.parametrize("name", sorted(model_resolver.options))
def test_fixed_shapes_change_no_number(name, dataset, monkeypatch):
    """Apart from rounding, and from the masks of a dropout, which have another shape."""
    model_class = model_resolver.lookup(name)
    off = {"dropout": 0.0, "noise": 0.0}
    config = model_class.Config(
        width=8, **{field: off[field] for field in off if field in model_class.Config.model_fields}
    )
    losses, weights = [], []
    for fixed in (False, True):
        if fixed:
            use_fixed_shapes(monkeypatch)
        model = build_model(model_class, dataset, config, seed=0)
        # Not Adam, whose first steps amplify the rounding of gradients near zero.
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        torch.manual_seed(0)
        model.begin_epoch(0)
        for batch in TripleSampler(dataset, 128, seed=0).epoch(0):
            optimizer.zero_grad()
            loss = model.loss(batch)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        weights.append([parameter.detach() for parameter in model.parameters()])
    half = len(losses) // 2
    torch.testing.assert_close(losses[:half], losses[half:], rtol=1e-4, atol=1e-5)
    for one, other in zip(*weights, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


class Talking(LightGCN):
    """Does everything that a step must not do."""

    def loss(self, batch):
        loss = super().loss(batch)
        if loss > 0:
            batch.users.unique()
        self.user_embedding[self.user_embedding[:, 0] > 0]
        torch.from_numpy(np.ones(1)).to(loss)
        batch.users.bincount()
        return loss * torch.tensor(1.0) + 0 * loss.item()


def test_what_a_step_must_not_do_is_noticed(dataset):
    batches, step = make_steps(Talking, dataset)
    with watch() as found:
        step(batches[0])
    assert set(found) >= {
        "_unique2.default", "index.Tensor with a mask", "torch.from_numpy", "bincount.default",
        "torch.tensor", "lift_fresh.default", "_local_scalar_dense.default",
    }  # fmt: skip
