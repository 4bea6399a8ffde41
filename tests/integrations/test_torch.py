"""Any torch module: tables are found by shape and filled in place, also in wrapped modules."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch import nn

from sgurinit.core import SGURInit, UserStart
from sgurinit.errors import InputError
from sgurinit.integrations.torch import attach, find_tables, initialize_shard_

WIDTH = 8


class TwoTower(nn.Module):
    def __init__(self, n_users, n_items, width=WIDTH):
        super().__init__()
        self.user_table = nn.Embedding(n_users, width)
        self.item_table = nn.Embedding(n_items, width)
        self.user_bias = nn.Embedding(n_users, 1)

    def forward(self, users, items):
        return (self.user_table(users) * self.item_table(items)).sum(1) + self.user_bias(users)[
            :, 0
        ]


@pytest.fixture
def model(data):
    torch.manual_seed(0)
    return TwoTower(data.n_users, data.n_items)


def assert_proportional(table, rows):
    """Compare a table with rows, up to one common factor."""
    table = table.detach().numpy()
    factor = np.linalg.norm(table) / np.linalg.norm(rows)
    np.testing.assert_allclose(table, factor * rows, atol=1e-5)


def test_tables_are_found_by_shape_and_filled(model, start, caplog):
    bias = model.user_bias.weight.detach().clone()
    with caplog.at_level("INFO", logger="sgurinit.integrations.torch"):
        (report,) = attach(model, start)
    assert report.table == "user_table.weight"
    assert report.items_filled
    assert report.norm_after == pytest.approx(4 * report.norm_before, rel=1e-4)
    assert_proportional(model.user_table.weight, start.joint(WIDTH).users)
    assert_proportional(model.item_table.weight, start.joint(WIDTH).items)
    assert torch.equal(bias, model.user_bias.weight)
    assert "user_table.weight" in caplog.text


def test_a_table_can_be_named_and_the_items_left(model, start):
    before = model.item_table.weight.detach().clone()
    (report,) = attach(model, start, tables={"user_table.weight": None}, scale="table")
    assert torch.equal(before, model.item_table.weight)
    assert report.norm_after == pytest.approx(report.norm_before, rel=1e-4)


def test_steps_that_no_table_sees_are_an_error(model, data):
    start = SGURInit(n_clusters=4, preprocess=("center",), random_state=0).fit(data).start_
    before = model.user_table.weight.detach().clone()
    with pytest.raises(InputError, match=r"preprocess=\('center',\) has no effect"):
        attach(model, start)
    assert torch.equal(before, model.user_table.weight)


def test_a_loaded_start_fills_tables_of_its_width_and_refuses_others(model, data, tmp_path):
    start = SGURInit(n_clusters=4, joint_dim=WIDTH, random_state=0).fit(data).start_
    start.save(tmp_path / "start.safetensors")
    loaded = UserStart.load(tmp_path / "start.safetensors")
    attach(model, loaded)
    assert_proportional(model.user_table.weight, start.joint(WIDTH).users)
    assert_proportional(model.item_table.weight, start.joint(WIDTH).items)
    with pytest.raises(InputError, match=r"no joint space of width 4 \(saved: 8\): fit SGURInit"):
        attach(TwoTower(data.n_users, data.n_items, 4), loaded)


def test_several_tables_of_different_widths_are_all_filled(data, start):
    model = nn.ModuleDict({
        "a": TwoTower(data.n_users, data.n_items, 4), "b": TwoTower(data.n_users, data.n_items, 6),
    })  # fmt: skip
    found = find_tables(model, start)
    assert [table.name for table in found] == ["a.user_table.weight", "b.user_table.weight"]
    assert [table.items.shape[1] for table in found] == [4, 6]


def test_tables_of_one_width_are_ambiguous_and_listed(data, start):
    model = nn.ModuleList(TwoTower(data.n_users, data.n_items) for _ in range(2))
    with pytest.raises(InputError, match="which user table") as raised:
        attach(model, start)
    for name in ("0.user_table.weight (90, 8)", "1.item_table.weight (60, 8)", "tables={"):
        assert name in str(raised.value)
    pairs = {f"{n}.user_table.weight": f"{n}.item_table.weight" for n in range(2)}
    assert len(attach(model, start, tables=pairs)) == 2


def test_a_user_table_without_an_item_table_is_refused_unless_it_is_named(data, start):
    model = nn.ModuleDict({
        "a": TwoTower(data.n_users, data.n_items), "content": nn.Embedding(data.n_users, 6),
    })  # fmt: skip
    before = model["content"].weight.detach().clone()
    message = r"user table content.weight \(90, 6\) has no item table of its width among a\.item_ta"
    with pytest.raises(InputError, match=message) as raised:
        attach(model, start)
    assert "leave out of tables=" in str(raised.value)
    assert "space='projected'" in str(raised.value)
    attach(model, start, tables={"a.user_table": "a.item_table"})
    assert torch.equal(model["content"].weight, before)
    attach(model, start, tables={"content.weight": None})
    assert_proportional(model["content"].weight, start.joint(6).users)


def test_an_item_table_with_a_row_for_padding_names_what_fills_it(data, start):
    with pytest.raises(InputError, match=r"no item table of its width among none; .* for padding"):
        attach(TwoTower(data.n_users, data.n_items + 1), start)


def test_a_table_is_named_by_its_layer(model, start):
    (report,) = attach(model, start, tables={"user_table": "item_table.weight"})
    assert report.table == "user_table.weight"
    assert report.items_filled


def test_one_table_of_users_and_items_names_what_fills_it(start):
    nodes = nn.ModuleDict({"nodes": nn.Embedding(start.n_users + start.n_items, WIDTH)})
    with pytest.raises(
        InputError, match=r"nodes\.weight seems .*integrations\.pyg\.initialize_nodes_"
    ):
        attach(nodes, start)


def test_as_many_users_as_items_is_ambiguous():
    square = SGURInit(n_clusters=2).fit([[0], [1], [2]], {"text": np.eye(3)}).start_
    model = TwoTower(3, 3)
    with pytest.raises(InputError, match="as many users as items"):
        find_tables(model, square)


@pytest.mark.parametrize(
    ("users", "tables", "message"),
    [
        (
            91,
            None,
            r"no table has 90 rows.* user_table.weight \(91, 8\).*; if one row is for padding",
        ),
        (90, {"users": None}, "no table 'users'"),
        (90, {"user_table.weight": "items"}, "no table 'items'"),
    ],
)
def test_a_table_that_is_not_there_is_an_error(users, tables, message, data, start):
    with pytest.raises(InputError, match=message):
        attach(TwoTower(users, data.n_items), start, tables=tables)


def test_an_optimizer_made_before_goes_on_from_the_start(model, start):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    attach(model, start)
    first = model.user_table.weight.detach().clone()
    model(torch.arange(90), torch.arange(60).repeat(2)[:90]).sum().backward()
    optimizer.step()
    moved = (model.user_table.weight - first).abs()
    assert 0 < moved.max() <= 1.01e-3


@pytest.mark.slow
def test_a_compiled_module_sees_the_start(model, start):
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    users, items = torch.arange(60), torch.arange(60)
    before = compiled(users, items)
    (report,) = attach(compiled, start)
    assert report.table == "user_table.weight"
    torch.testing.assert_close(compiled(users, items), model(users, items))
    assert not torch.allclose(before, compiled(users, items))


def test_a_meta_table_has_to_be_materialized(data, start):
    with torch.device("meta"):
        model = TwoTower(data.n_users, data.n_items)
    with pytest.raises(InputError, match="meta device"):
        attach(model, start)
    model.to_empty(device="cpu")
    for table in model.children():
        table.reset_parameters()
    attach(model, start)
    assert_proportional(model.user_table.weight, start.joint(WIDTH).users)


def test_shards_are_the_slices_of_the_whole(model, start):
    attach(model, start)
    norm = float(model.user_table.weight.detach().norm(dim=1).mean())
    shards = [torch.empty(rows, WIDTH) for rows in (40, 40, 10)]
    for first, shard in zip((0, 40, 80), shards, strict=True):
        initialize_shard_(shard, start, first, norm=norm)
    torch.testing.assert_close(torch.cat(shards), model.user_table.weight.detach())
    own = torch.randn(40, WIDTH)
    before = float(own.norm(dim=1).mean())
    initialize_shard_(own, start, 0)
    np.testing.assert_allclose(
        own.numpy() / np.linalg.norm(own), shards[0].numpy() / np.linalg.norm(shards[0]), atol=1e-6
    )
    assert float(own.norm(dim=1).mean()) > 2 * before


def test_columns_that_a_start_does_not_reach_keep_the_shards_own_values(data):
    narrow = {"text": data.features["text"].values[:, :3]}
    start = SGURInit(n_clusters=4, random_state=0).fit(data.train_matrix(), narrow).start_
    rows = start.joint(WIDTH).users
    assert rows.any(axis=0).tolist() == [True] * 3 + [False] * 5
    shard = torch.randn(data.n_users, WIDTH)
    own = shard[:, 3:].clone()
    norm = 4 * float(shard.norm(dim=1).mean())
    initialize_shard_(shard, start, 0)
    assert_proportional(shard[:, :3], rows[:, :3])
    torch.testing.assert_close(shard[:, 3:], own)  # well below their share of the norm
    assert float(shard.norm(dim=1).mean()) == pytest.approx(norm, rel=0.02)
    small = torch.randn(data.n_users, WIDTH)
    initialize_shard_(small, start, 0, norm=1.0)
    assert float(small[:, 3:].norm(dim=1).mean()) == pytest.approx((5 / 8) ** 0.5, rel=1e-4)


def test_a_shard_of_steps_that_no_table_sees(data):
    start = SGURInit(n_clusters=4, preprocess=("unit",), random_state=0).fit(data).start_
    with pytest.raises(InputError, match=r"preprocess=\('unit',\) has no effect"):
        initialize_shard_(torch.randn(40, WIDTH), start, 0)


@pytest.mark.parametrize(
    ("shard", "first", "norm", "message"),
    [
        (torch.ones(40, WIDTH), 60, 1.0, "first is 60 and the shard has 40 rows"),
        (torch.ones(40, WIDTH), 0, 0.0, "norm is 0.0"),
        (torch.ones(40, WIDTH, device="meta"), 0, 1.0, "meta device"),
    ],
)
def test_a_shard_that_cannot_be_filled(shard, first, norm, message, start):
    with pytest.raises(InputError, match=message):
        initialize_shard_(shard, start, first, norm=norm)


TWO_PROCESSES = """
import os, sys
import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from sgurinit.core import SGURInit
from sgurinit.data import planted
from sgurinit.integrations.torch import attach

torch.set_num_threads(1)
rank = int(os.environ["RANK"])
distributed.init_process_group("gloo", os.environ["STORE"], rank=rank, world_size=2)
data = planted(90, 60, seed=1)
start = SGURInit(n_clusters=4, random_state=rank).fit(data).start_  # differs by process

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.user, self.item = nn.Embedding(90, 8), nn.Embedding(60, 8)
    def forward(self, users):
        return self.user(users) @ self.item.weight.T

def everywhere(rows):
    parts = [torch.empty_like(rows) for _ in range(2)]
    distributed.all_gather(parts, rows.detach().contiguous())
    return parts

torch.manual_seed(rank)
model = DistributedDataParallel(Two())
before = model.module.user.weight.detach().clone()
(report,) = attach(model, start)
assert report.table == "user.weight" and not torch.equal(before, model.module.user.weight)
assert torch.equal(*everywhere(model.module.user.weight))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
model(torch.arange(rank, 90, 2)).square().mean().backward()
optimizer.step()
assert torch.equal(*everywhere(model.module.user.weight))

start = SGURInit(n_clusters=4, random_state=0).fit(data).start_
torch.manual_seed(0)
whole, spread = Two(), Two()
spread.load_state_dict(whole.state_dict())
mesh = init_device_mesh("cpu", (2,))
for layer in (spread.user, spread.item):
    layer.weight = nn.Parameter(distribute_tensor(layer.weight.detach(), mesh, [Shard(0)]))
attach(whole, start)
(report,) = attach(spread, start)
torch.testing.assert_close(spread.user.weight.full_tensor(), whole.user.weight)
torch.testing.assert_close(spread.item.weight.full_tensor(), whole.item.weight)
assert spread.user.weight.to_local().shape == (45, 8)
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_end_with_one_start_whole_or_spread(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(TWO_PROCESSES)],
            env={
                **os.environ, "RANK": str(rank), "OMP_NUM_THREADS": "1",
                "STORE": (tmp_path / "store").as_uri(),
            },
            stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
