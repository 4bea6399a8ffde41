"""Tables whose vectors after the model's linear layers are the start."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sgurinit.core import SGURInit, UserStart
from sgurinit.data import Dataset, planted
from sgurinit.errors import InputError
from sgurinit.handover import hand_over
from sgurinit.models import BM3, BPRMF, FREEDOM, MGCN, VBPR, LightGCN, Recommender

WIDTH = 8


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return planted(60, 40, seed=2)


@pytest.fixture(scope="module")
def start(dataset: Dataset) -> UserStart:
    return SGURInit.from_preset("hybrid", random_state=0).fit(dataset).start_


def build(kind: type[Recommender], dataset: Dataset, **fields: Any) -> Recommender:
    torch.manual_seed(0)
    return kind(dataset, kind.Config(**{"width": WIDTH} | fields))


def final_vectors(model: Recommender) -> np.ndarray:
    with torch.no_grad():
        return torch.cat(model.eval().embed()).numpy()


def tables(model: Recommender) -> np.ndarray:
    (table,) = model.user_tables()
    assert table.items is not None
    return torch.cat([table.parameter, table.items]).detach().numpy()


def find_matrix(model: Recommender) -> np.ndarray:
    """Find what a model multiplies its tables by, one unit vector per column."""
    (table,) = model.user_tables()
    assert table.items is not None
    with torch.no_grad():
        table.parameter.copy_(torch.eye(100)[:60])
        table.items.copy_(torch.eye(100)[60:])
    return final_vectors(model)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (BPRMF, {}),
        (LightGCN, {"n_layers": 2}),
        (LightGCN, {"n_layers": 4}),
        (FREEDOM, {}),
    ],
)
def test_the_final_vectors_are_the_rows_that_the_tables_would_have(
    kind: type[Recommender], fields: dict[str, Any], dataset: Dataset, start: UserStart
) -> None:
    filled, solved = build(kind, dataset, **fields), build(kind, dataset, **fields)
    (before,) = hand_over(filled, start)
    (after,) = hand_over(solved, start, target="vectors")
    assert (before.target, after.target) == ("tables", "vectors")
    wanted, found = tables(filled), final_vectors(solved)
    assert np.linalg.norm(found - wanted) <= 0.02 * np.linalg.norm(wanted)
    if kind is not BPRMF:
        assert np.linalg.norm(final_vectors(filled) - wanted) > 0.1 * np.linalg.norm(wanted)
    assert after.norm_after == pytest.approx(np.linalg.norm(tables(solved)[:60], axis=1).mean())


def test_the_tables_are_the_shortest_least_squares_solution(
    dataset: Dataset, start: UserStart
) -> None:
    """With one layer the map of LightGCN has no inverse."""
    model = build(LightGCN, dataset, n_layers=1)
    hand_over(model, start)
    wanted = tables(model)
    matrix = find_matrix(build(LightGCN, dataset, width=100, n_layers=1))
    assert np.linalg.matrix_rank(matrix) < 100
    expected = np.linalg.pinv(matrix, rcond=1e-6) @ wanted
    model = build(LightGCN, dataset, n_layers=1)
    hand_over(model, start, target="vectors")
    error = np.linalg.norm(matrix @ tables(model) - wanted)
    best = np.linalg.norm(matrix @ expected - wanted)
    assert error <= best * 1.01 + 1e-3 * np.linalg.norm(wanted)
    assert np.linalg.norm(tables(model)) <= 1.01 * np.linalg.norm(expected)


@pytest.mark.parametrize("kind", [MGCN, VBPR, BM3])
def test_other_models_are_filled_as_ever(
    kind: type[Recommender], dataset: Dataset, start: UserStart
) -> None:
    filled, same = build(kind, dataset), build(kind, dataset)
    hand_over(filled, start)
    reports = hand_over(same, start, target="vectors")
    assert {report.target for report in reports} == {"tables"}
    for name, values in filled.state_dict().items():
        torch.testing.assert_close(same.state_dict()[name], values, rtol=0, atol=0)


class OneTable(LightGCN):
    """Scores with one of the two tables and constants."""

    used: str

    def embed(self) -> tuple[torch.Tensor, torch.Tensor]:
        constants = torch.ones(self.n_users, WIDTH), torch.ones(self.n_items, WIDTH)
        if self.used == "users":
            return self.user_embedding, constants[1]
        return constants[0], self.item_embedding


class Detached(LightGCN):
    """Returns vectors without a gradient."""

    def embed(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.user_embedding.detach(), self.item_embedding.detach()


class Failing(LightGCN):
    """Fails after some calls."""

    calls = 0

    def embed(self) -> tuple[torch.Tensor, torch.Tensor]:
        self.calls += 1
        if self.calls > 5:
            raise RuntimeError("no memory left")
        return super().embed()


@pytest.mark.parametrize(
    ("kind", "used"), [(OneTable, "users"), (OneTable, "items"), (Detached, "")]
)
def test_tables_that_the_vectors_do_not_depend_on_are_filled_as_ever(
    kind: type[LightGCN], used: str, dataset: Dataset, start: UserStart
) -> None:
    filled, same = build(kind, dataset), build(kind, dataset)
    for model in (filled, same):
        model.__dict__["used"] = used
    hand_over(filled, start)
    (report,) = hand_over(same, start, target="vectors")
    assert report.target == "tables"
    np.testing.assert_array_equal(tables(same), tables(filled))


def test_a_model_that_fails_keeps_the_filled_tables(dataset: Dataset, start: UserStart) -> None:
    filled, failing = build(LightGCN, dataset), build(Failing, dataset)
    hand_over(filled, start)
    with pytest.raises(RuntimeError, match="no memory left"):
        hand_over(failing, start, target="vectors")
    np.testing.assert_array_equal(tables(failing), tables(filled))


def test_nothing_else_of_the_model_changes(dataset: Dataset, start: UserStart) -> None:
    model, untouched = build(FREEDOM, dataset), build(FREEDOM, dataset)
    model.train()
    (table,) = model.user_tables()
    table.parameter.requires_grad_(False)
    state = torch.get_rng_state()
    hand_over(model, start, target="vectors")
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert not table.parameter.requires_grad
    assert table.items is not None
    assert table.items.requires_grad
    others = set(model.state_dict()) - {"user_embedding", "item_embedding"}
    for name in others:
        torch.testing.assert_close(model.state_dict()[name], untouched.state_dict()[name])


def test_without_items_the_tables_are_filled(dataset: Dataset, start: UserStart) -> None:
    model = build(LightGCN, dataset)
    (report,) = hand_over(model, start, fill_items=False, target="vectors")
    assert report.target == "tables"


def test_an_unknown_target_is_refused(dataset: Dataset, start: UserStart) -> None:
    with pytest.raises(InputError, match="target is 'rows', expected one of tables, vectors"):
        hand_over(build(LightGCN, dataset), start, target="rows")  # type: ignore[arg-type]
