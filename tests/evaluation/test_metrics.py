"""Metrics against `ranx` and known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from sgurinit.errors import InputError
from sgurinit.evaluation import CUTOFFS, METRICS, compute_metrics


def compute_with_ranx(ranked: np.ndarray, positives: sparse.csr_array) -> dict[str, np.ndarray]:
    """Evaluate the same lists with `ranx`, which orders items by descending scores."""
    from ranx import Qrels, Run, evaluate  # noqa: PLC0415 (takes seconds)

    users = [f"u{row:06d}" for row in range(len(ranked))]
    qrels = Qrels(
        {
            user: {f"i{item}": 1 for item in positives[[row]].indices}
            for row, user in enumerate(users)
        }
    )
    runs = {}
    for row, user in enumerate(users):
        shown = [item for item in ranked[row] if item >= 0]
        # ranx needs a non-empty list; an unknown item counts as a miss.
        runs[user] = {f"i{item}": 1.0 - rank / 1000 for rank, item in enumerate(shown)} or {"x": 1}
    names = [f"{metric}@{k}" for metric in METRICS for k in CUTOFFS]
    found = evaluate(qrels, Run(runs), names, return_mean=False)
    return {name: np.asarray(found[name]) for name in names}


@st.composite
def rankings(draw: st.DrawFn) -> tuple[np.ndarray, sparse.csr_array]:
    n_users = draw(st.integers(1, 8))
    n_items = draw(st.integers(1, 120))
    depth = draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ranked = np.full((n_users, depth), -1, dtype=np.int64)
    right = np.zeros((n_users, n_items), dtype=np.float32)
    for row in range(n_users):
        length = rng.integers(0, min(depth, n_items) + 1)
        ranked[row, :length] = rng.permutation(n_items)[:length]
        right[row, rng.permutation(n_items)[: rng.integers(1, n_items + 1)]] = 1
    return ranked, sparse.csr_array(right)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(rankings())
def test_every_metric_agrees_with_ranx(case: tuple[np.ndarray, sparse.csr_array]) -> None:
    ranked, positives = case
    ours = compute_metrics(ranked, positives)
    theirs = compute_with_ranx(ranked, positives)
    assert set(ours) == set(theirs) == {f"{metric}@{k}" for metric in METRICS for k in CUTOFFS}
    for name, values in ours.items():
        assert values.dtype == np.float64
        np.testing.assert_allclose(values, theirs[name], rtol=0, atol=1e-9, err_msg=name)


def test_known_answer_of_one_user() -> None:
    ranked = np.array([[4, 0, 2, 1, 3]])
    positives = sparse.csr_array(np.array([[1, 0, 0, 1, 0, 1]]))  # ranks 2, 5 and never
    found = {name: float(v[0]) for name, v in compute_metrics(ranked, positives, [3, 5]).items()}
    ideal = 1 + 1 / np.log2(3) + 1 / 2
    assert found == pytest.approx(
        {
            "recall@3": 1 / 3,
            "recall@5": 2 / 3,
            "ndcg@3": (1 / np.log2(3)) / ideal,
            "ndcg@5": (1 / np.log2(3) + 1 / np.log2(6)) / ideal,
            "precision@3": 1 / 3,
            "precision@5": 2 / 5,
            "map@3": (1 / 2) / 3,
            "map@5": (1 / 2 + 2 / 5) / 3,
            "mrr@3": 1 / 2,
            "mrr@5": 1 / 2,
            "hit_rate@3": 1.0,
            "hit_rate@5": 1.0,
        }
    )


def test_more_positives_than_places_reach_the_best_ndcg_and_precision() -> None:
    positives = sparse.csr_array(np.ones((1, 80)))
    found = compute_metrics(np.arange(80)[None, :], positives)
    for k in CUTOFFS:
        assert found[f"ndcg@{k}"] == 1.0
        assert found[f"precision@{k}"] == 1.0
        assert found[f"recall@{k}"] == k / 80


def test_unsorted_and_repeated_entries_count_once() -> None:
    positives = sparse.csr_array((np.ones(3), np.array([5, 2, 5]), np.array([0, 3])), shape=(1, 6))
    found = compute_metrics(np.array([[2, 5, 1]]), positives, [3])
    assert found["recall@3"] == 1.0


def test_a_user_without_positives_is_rejected() -> None:
    positives = sparse.csr_array(np.array([[1, 0], [0, 0]]))
    with pytest.raises(InputError, match="row 1 of positives is empty"):
        compute_metrics(np.zeros((2, 1), dtype=np.int64), positives)


@pytest.mark.parametrize("cutoffs", [[], [0], [5, -1]])
def test_cutoffs_below_one_are_rejected(cutoffs: list[int]) -> None:
    with pytest.raises(InputError, match="cutoffs"):
        compute_metrics(np.zeros((1, 1), dtype=np.int64), sparse.csr_array([[1]]), cutoffs)


def test_numbers_of_rows_must_agree() -> None:
    with pytest.raises(InputError, match="ranked has 2 rows, expected 1"):
        compute_metrics(np.zeros((2, 1), dtype=np.int64), sparse.csr_array([[1]]))


def test_all_metrics_have_double_precision() -> None:
    positives = sparse.csr_array(np.array([[0, 0, 1, 1, 1]]))
    found = compute_metrics(np.array([[0, 1, 2]]), positives, [3])
    assert found["mrr@3"][0] == found["recall@3"][0] == found["precision@3"][0] == 1 / 3
    assert all(values.dtype == np.float64 for values in found.values())
