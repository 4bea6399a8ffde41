"""Distinct nodes of a batch: both forms describe the same batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sgurinit.models.blocks import distinct
from sgurinit.models.blocks.distinct import find_distinct

NODES = st.lists(st.integers(0, 6), min_size=1, max_size=12)


@given(NODES)
def test_the_rows_give_back_the_batch_and_the_counts_add_up(nodes):
    batch = torch.tensor(nodes)
    found = find_distinct(batch)
    assert found.nodes.tolist() == sorted(set(nodes))
    assert torch.equal(found.nodes[found.rows], batch)
    assert found.counts.tolist() == [nodes.count(node) for node in sorted(set(nodes))]


@given(NODES)
def test_with_fixed_shapes_the_same_nodes_come_first_and_the_rest_has_no_count(nodes):
    batch = torch.tensor(nodes)
    expected = find_distinct(batch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distinct, "needs_fixed_shapes", lambda _: True)
        found = find_distinct(batch)
    n = len(expected.nodes)
    assert torch.equal(found.nodes[:n], expected.nodes)
    assert torch.equal(found.rows, expected.rows)
    assert torch.equal(found.counts[:n], expected.counts)
    assert found.counts[n:].tolist() == [0] * (len(nodes) - n)
    assert sorted(found.nodes.tolist()) == sorted(nodes)  # no node is repeated more than it was


def test_only_a_cuda_device_needs_fixed_shapes():
    assert not distinct.needs_fixed_shapes(torch.zeros(1))
