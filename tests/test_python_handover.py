"""What people hand over with a start: taken where it is clear, else refused in one line."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from torch import nn

from sgurinit import SGURInit, hand_over, initialize_, recommend
from sgurinit.core import UserStart
from sgurinit.data import planted
from sgurinit.errors import InputError
from sgurinit.handover import freeze_
from sgurinit.integrations.torch import attach, find_tables, initialize_shard_
from sgurinit.integrations.vectors import VectorStore
from sgurinit.models import VBPR, LightGCN
from sgurinit.models.checkpoint import save_model

ODD = [
    [[1.0, 2.0]],
    object(),
    np.ones(3),
    np.ones((60, 8), complex),
    np.full((60, 8), np.nan),
    np.full((60, 8), 1e39),
    sp.eye_array(60),
    torch.ones(60, 8).to_sparse(),
    torch.empty(60, 8, device="meta"),
    pl.LazyFrame({"user": [1]}),
    nn.Linear(3, 3),
]


@pytest.fixture(scope="module")
def data():
    return planted(90, 60)


@pytest.fixture(scope="module")
def start(data):
    return SGURInit(random_state=0).fit(data).start_


@pytest.fixture(scope="module")
def model(data):
    return VBPR(data)


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: type(odd).__name__)
def test_odd_arguments_are_one_line(odd, model, start, tmp_path):
    users, towers = nn.Embedding(90, 8), nn.ModuleDict({"user": nn.Embedding(90, 8)})
    calls = [
        lambda: initialize_(odd, start),
        lambda: initialize_(users, odd),
        lambda: initialize_(users, start, items=odd),
        lambda: initialize_(users, start, scale=odd),
        lambda: initialize_(users, start, space="raw", modality=odd),
        lambda: initialize_(
            users, start, space="projected", modality="text", item_vectors=odd
        ),
        lambda: initialize_(users, start, space=odd),
        lambda: hand_over(odd, start),
        lambda: hand_over(model, odd),
        lambda: hand_over(model, start, tables=odd),
        lambda: hand_over(model, start, projected=odd),
        lambda: hand_over(model, start, target=odd),
        lambda: hand_over(model, start, fill_items=odd),
        lambda: attach(odd, start),
        lambda: attach(towers, odd),
        lambda: attach(towers, start, tables=odd),
        lambda: attach(towers, start, tables={"user": None}, fill_items=odd),
        lambda: find_tables(odd, start),
        lambda: find_tables(towers, odd),
        lambda: initialize_shard_(odd, start, 0),
        lambda: initialize_shard_(torch.ones(9, 8), odd, 0),
        lambda: initialize_shard_(torch.ones(9, 8), start, odd),
        lambda: initialize_shard_(torch.ones(9, 8), start, 0, norm=odd),
        lambda: recommend(odd),
        lambda: recommend(start, odd),
        lambda: start.on(odd),
        lambda: start.carry_to(odd),
        lambda: start.features(odd),
        lambda: start.joint(odd),
        lambda: VectorStore.from_start(odd),
        lambda: VectorStore.from_start(start, metric=odd),
        lambda: VectorStore.from_start(start, index=odd),
        lambda: VectorStore.from_start(start, model_vectors=odd),
        lambda: VectorStore.from_start(start, model_vectors=(odd, np.ones((60, 8)))),
        lambda: VectorStore.from_start(start, model_vectors=(np.ones((90, 8)), odd)),
        lambda: freeze_(odd),
        lambda: save_model(odd, tmp_path / "m.safetensors"),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(InputError) as error:
            call()
        assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_tables_of_another_model_are_refused(data, start, model):
    other = VBPR(data).user_tables()
    for tables in (other, model.user_tables()[:1] + other[1:], LightGCN(data).user_tables()):
        with pytest.raises(InputError, match=r"is not a table of this model; expected those of"):
            hand_over(model, start, tables=tables)


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
def test_both_layers_that_hold_a_table_are_filled(kind, start):
    users, items = kind(90, 8), kind(60, 8)
    assert initialize_(users, start, items=items, scale=None).items_filled
    torch.testing.assert_close(users.weight.detach(), torch.from_numpy(start.joint(8).users))


def test_the_items_vectors_come_in_any_form(start):
    rows = torch.randn(60, 8).bfloat16()
    filled = []
    for vectors in (
        nn.Parameter(rows),
        rows.float().numpy(),
        rows.double(),
        rows.float().tolist(),
        pl.DataFrame(rows.float().numpy()),
    ):
        users = nn.Embedding(90, 8)
        initialize_(
            users, start, space="projected", modality="text", item_vectors=vectors, scale="items"
        )
        filled.append(users.weight.detach())
    for other in filled[1:]:
        torch.testing.assert_close(filled[0], other)


def test_numbers_that_a_table_cannot_hold_are_refused(start):
    for kind, scale in ((torch.float32, 1e39), (torch.float16, 1e6)):
        users = nn.Embedding(90, 8).to(kind)
        before = users.weight.detach().clone()
        with pytest.raises(InputError, match="choose a smaller scale"):
            initialize_(users, start, scale=scale)
        torch.testing.assert_close(users.weight.detach(), before)


def test_a_users_id_may_be_a_tensor():
    estimator = SGURInit(n_clusters=2, joint_dim=2).fit([[0], [1], [2]], {"text": np.eye(3)})
    found = recommend(estimator, torch.tensor([2, 0]), k=1)
    assert found["user"].to_list() == [2, 0]
    assert isinstance(estimator.start_, UserStart)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: initialize_(torch.randn(1, 8).expand(90, 8), s), "rows share memory"),
        (lambda s: initialize_(torch.zeros(90, 8), s), "would stay zero: scale=4.0 multiplies"),
        (lambda s: initialize_(torch.randn(90, 8), s, scale=10**400), "scale is 1000"),
        (lambda s: initialize_shard_(torch.ones(9, 8, dtype=torch.int64), s, 0), "torch.int64"),
        (lambda s: initialize_shard_(torch.ones(9, 8, dtype=torch.complex64), s, 0), "complex64"),
        (lambda s: VectorStore.from_start(s).save(3), "folder is 3, expected a path"),
        (lambda _: VectorStore.load(None), "folder is None, expected a path"),
        (lambda s: VectorStore.from_start(s).find_for_clicks(np.array(3)), "a list of item ids"),
    ],
)
def test_what_torch_or_python_would_refuse_late_is_one_line(call, message, start):
    with pytest.raises(InputError, match=message) as error:
        call(start)
    assert "\n" not in str(error.value)


def test_a_table_of_zeros_takes_the_start_as_it_is(start):
    users = torch.zeros(90, 8)
    initialize_(users, start, scale=None)
    torch.testing.assert_close(users, torch.from_numpy(start.joint(8).users))


def test_a_model_without_values_is_refused(data):
    with pytest.raises(InputError, match="on the meta device, which holds no values"):
        recommend(VBPR(data).to("meta"), data=data)
