"""Exact top-k, masks, and the ranking of a whole split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from sgurinit import data
from sgurinit._device_top_k import count_rows
from sgurinit.errors import InputError
from sgurinit.evaluation import FullRanking, compute_metrics, top_k
from sgurinit.evaluation import ranking as ranking_module
from sgurinit.evaluation._on_device import rank_scores


def sort_top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """Sort every row by (-score, position), leave out -inf, and pad with -1."""
    out = []
    for row in scores.tolist():
        order = sorted((p for p, s in enumerate(row) if s != -np.inf), key=lambda p: (-row[p], p))
        out.append((order + [-1] * k)[:k])
    return np.array(out, dtype=np.int64).reshape(len(scores), k)


@settings(max_examples=150, deadline=None)
@given(
    n=st.integers(0, 6),
    n_items=st.integers(1, 300),
    k=st.integers(1, 70),
    levels=st.sampled_from([1, 2, 5, 1000]),
    masked=st.sampled_from([0.0, 0.3, 0.97, 1.0]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.float16]),
    seed=st.integers(0, 2**32 - 1),
)
def test_top_k_is_the_full_sort_by_score_then_position(
    n: int, n_items: int, k: int, levels: int, masked: float, dtype: torch.dtype, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(-levels, levels, (n, n_items)).astype(np.float64) / 7
    scores[rng.random((n, n_items)) < masked] = -np.inf
    scores[rng.random((n, n_items)) < 0.01] = np.inf
    tensor = torch.from_numpy(scores).to(dtype)
    found = top_k(tensor, k)
    assert found.dtype == torch.int64
    np.testing.assert_array_equal(found.numpy(), sort_top_k(tensor.double().numpy(), k))


def test_equal_scores_prefer_the_lower_position_at_the_end_of_the_list() -> None:
    scores = torch.tensor([[0.0, 2.0, 1.0, 1.0, 1.0, 2.0]])
    assert top_k(scores, 3).tolist() == [[1, 5, 2]]


def test_nan_scores_are_rejected_with_the_row() -> None:
    for column in (0, 57, 99):  # within the groups and in the remainder
        scores = torch.zeros(3, 100)
        scores[2, column] = torch.nan
        with pytest.raises(InputError, match="row 2 holds NaN"):
            top_k(scores, 7)


def rank_on_device(monkeypatch: pytest.MonkeyPatch, rows: int = 11) -> None:
    """Take the code for a CUDA device, on the CPU."""
    monkeypatch.setattr(ranking_module, "is_ranked_there", lambda scores: True)
    monkeypatch.setattr(ranking_module, "count_rows", lambda n_items, device: rows)


@settings(max_examples=150, deadline=None)
@given(
    n=st.integers(1, 6),
    n_items=st.integers(1, 300),
    k=st.integers(1, 70),
    levels=st.sampled_from([1, 2, 5, 1000]),
    hidden=st.sampled_from([0.0, 0.3, 0.97, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_device_chooses_and_orders_the_same_items(
    n: int, n_items: int, k: int, levels: int, hidden: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = (rng.integers(-levels, levels, (n, n_items)) / 7).astype(np.float32)
    scores[rng.random((n, n_items)) < 0.1] *= -0.0
    scores[rng.random((n, n_items)) < 0.01] = np.inf
    scores[rng.random((n, n_items)) < 0.01] = -np.inf
    scores[rng.random((n, n_items)) < 0.05] *= 1e-40  # below the smallest normal number
    mask = rng.random((n, n_items)) < hidden
    tensor = torch.from_numpy(scores)
    before = tensor.clone()
    found = rank_scores(tensor, k, tuple(torch.from_numpy(at) for at in np.nonzero(mask)))
    expected = top_k(torch.from_numpy(np.where(mask, -np.inf, scores)), k)
    assert torch.equal(found, expected)
    assert torch.equal(tensor, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_device_finds_the_same_metrics(monkeypatch, split: str, dtype: torch.dtype) -> None:
    toy = random_toy(9, 1100, 60)
    toy.train[3] = False  # a user without a hidden item
    scores = torch.randn(1100, 60).to(dtype)
    options = {"positives": np.arange(60) % 3 > 0, "candidates": np.arange(60) % 7 > 0}
    for chosen in ({}, options):
        here = FullRanking(toy, split, mask_valid=True, **chosen).evaluate(scores.__getitem__)
        with monkeypatch.context() as patched:
            rank_on_device(patched)
            sizes = []

            def score(users, sizes=sizes):
                sizes.append(len(users))
                return scores[users]

            ranking = FullRanking(toy, split, mask_valid=True, **chosen)
            there = ranking.evaluate(score)
        assert sizes[:2] == [1024, 11] or len(ranking.users) <= 1024
        assert list(here) == list(there)
        for name, values in here.items():
            np.testing.assert_array_equal(there[name], values)


@pytest.mark.parametrize("n_items", [60, 1100])  # ranked whole, and by groups with a remainder
@pytest.mark.parametrize("sign", [1, -1])
def test_a_device_refuses_nan(monkeypatch, n_items: int, sign: int) -> None:
    rank_on_device(monkeypatch)
    toy = random_toy(3, n_items=n_items)
    ranking = FullRanking(toy, "valid")
    user = ranking.users[0]
    shown = np.flatnonzero(~toy.train[user])
    for item in (shown[0], shown[len(shown) // 2], shown[-1]):
        scores = torch.zeros(40, n_items)
        scores[user, item] = sign * torch.nan
        with pytest.raises(InputError, match="NaN, expected numbers; the model has diverged"):
            ranking.evaluate(scores.__getitem__)


def test_a_device_leaves_the_scores_and_other_users_as_they_are(monkeypatch) -> None:
    ranking = FullRanking(random_toy(4), "test")
    one = torch.randn(60)
    own = ranking.evaluate(lambda users: one.expand(len(users), -1).clone())
    rank_on_device(monkeypatch)
    kept = one.clone()
    with torch.inference_mode():
        inferred = one.clone()
    for row in (one, inferred):
        shared = ranking.evaluate(lambda users, row=row: row.expand(len(users), -1))
        for name, values in shared.items():
            np.testing.assert_array_equal(values, own[name])
        assert torch.equal(row, kept)


def test_blocks_hold_a_bounded_number_of_scores(monkeypatch) -> None:
    toy = random_toy(3)
    asked: list[int] = []

    def score(users: torch.Tensor) -> torch.Tensor:
        asked.append(len(users))
        return torch.arange(60.0).expand(len(users), -1)

    whole = FullRanking(toy, "test").evaluate(score)
    monkeypatch.setattr(ranking_module, "_BLOCK_SCORES", 10 * 60)
    blocks = FullRanking(toy, "test").evaluate(score)
    assert asked[:2] == [sum(asked[1:]), 10]
    assert max(asked[1:]) == 10
    for name, values in blocks.items():
        np.testing.assert_array_equal(values, whole[name])


@pytest.mark.parametrize(("share", "left"), [(1.0, 48), (0.125, 9)])
def test_blocks_on_a_device_fit_into_the_share_of_a_process(monkeypatch, share, left) -> None:
    """Half of 96 GiB is free, an eighth is the share, and 3 GiB are taken."""
    gib = 1 << 30
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (48 * gib, 96 * gib))
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda device: share)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 * gib)
    assert count_rows(200_000, torch.device("cuda:0")) == left * gib // 4 // 24 // 200_000


@dataclass
class Toy:
    """The part of a data set that a ranking reads."""

    train: np.ndarray
    valid_: np.ndarray
    test_: np.ndarray
    name: str = "toy"

    @property
    def n_users(self) -> int:
        return len(self.train)

    @property
    def n_items(self) -> int:
        return self.train.shape[1]

    def train_matrix(self) -> sparse.csr_array:
        return sparse.csr_array(self.train.astype(np.float32))

    @property
    def valid(self) -> Edges:
        return Edges(self.valid_)

    @property
    def test(self) -> Edges:
        return Edges(self.test_)


@dataclass
class Edges:
    dense: np.ndarray

    def matrix(self, n_users: int, n_items: int) -> sparse.csr_array:
        assert self.dense.shape == (n_users, n_items)
        return sparse.csr_array(self.dense.astype(np.float32))


def random_toy(seed: int, n_users: int = 40, n_items: int = 60) -> Toy:
    split = np.random.default_rng(seed).choice(4, (n_users, n_items), p=[0.7, 0.2, 0.05, 0.05])
    return Toy(split == 1, split == 2, split == 3)


def rank_slowly(
    toy: Toy, scores: np.ndarray, split: str, mask_valid: bool
) -> dict[str, np.ndarray]:
    positives = toy.valid_ if split == "valid" else toy.test_
    hidden = toy.train | (toy.valid_ if mask_valid and split == "test" else False)
    users = np.flatnonzero(positives.any(axis=1))
    ranked = sort_top_k(np.where(hidden, -np.inf, scores)[users], 50)
    return compute_metrics(ranked, sparse.csr_array(positives[users].astype(np.float32)))


@pytest.mark.parametrize("split", ["valid", "test"])
@pytest.mark.parametrize("mask_valid", [False, True])
@pytest.mark.parametrize("block_size", [1, 7, 1024])
def test_a_split_is_ranked_without_the_items_trained_on(
    split: str, mask_valid: bool, block_size: int
) -> None:
    toy = random_toy(3)
    scores = np.random.default_rng(0).integers(0, 9, (40, 60)).astype(np.float32)
    ranking = FullRanking(toy, split, mask_valid=mask_valid, block_size=block_size)
    found = ranking.evaluate(lambda users: torch.from_numpy(scores)[users])
    expected = rank_slowly(toy, scores, split, mask_valid)
    assert list(found) == list(expected)
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name])


def test_masking_changes_neither_the_given_scores_nor_other_users() -> None:
    toy = random_toy(4)
    ranking = FullRanking(toy, "test")
    one = torch.randn(60)
    kept = one.clone()
    shared = ranking.evaluate(lambda users: one.expand(len(users), -1))
    own = ranking.evaluate(lambda users: one.expand(len(users), -1).clone())
    assert torch.equal(one, kept)
    for name, values in shared.items():
        np.testing.assert_array_equal(values, own[name])
    scores = torch.randn(40, 60)
    before = scores.clone()
    whole = FullRanking(Toy(toy.train, toy.valid_, np.ones((40, 60), bool) & ~toy.train), "test")
    whole.evaluate(lambda users: scores)
    assert torch.equal(scores, before)


def test_scores_can_have_gradients_or_come_from_inference_mode() -> None:
    ranking = FullRanking(random_toy(5), "valid")
    weight = torch.nn.Parameter(torch.randn(40, 60))
    with_gradient = ranking.evaluate(lambda users: weight[users])
    with torch.inference_mode():
        inferred = ranking.evaluate(lambda users: weight[users])
    np.testing.assert_array_equal(with_gradient["ndcg@10"], inferred["ndcg@10"])


def test_a_user_who_has_trained_on_every_other_item_finds_the_rest_first() -> None:
    train = np.ones((1, 30), dtype=bool)
    test = np.zeros((1, 30), dtype=bool)
    train[0, 29], test[0, 29] = False, True
    found = FullRanking(Toy(train, ~train & False, test), "test").evaluate(
        lambda users: torch.arange(30.0).flip(0).expand(len(users), -1)
    )
    assert found["mrr@5"] == 1.0
    assert found["precision@50"] == 1 / 50


def test_users_are_those_with_a_positive_in_the_split() -> None:
    toy = random_toy(6)
    toy.test_[[0, 7]] = False
    ranking = FullRanking(toy, "test", block_size=11)
    np.testing.assert_array_equal(ranking.users, np.flatnonzero(toy.test_.any(axis=1)))
    asked = []
    ranking.evaluate(lambda users: asked.append(users) or torch.zeros(len(users), 60))
    assert [len(users) for users in asked[:-1]] == [11] * (len(asked) - 1)
    np.testing.assert_array_equal(torch.cat(asked).numpy(), ranking.users)


def test_invalid_arguments_are_rejected_with_what_was_expected() -> None:
    toy = random_toy(7)
    with pytest.raises(InputError, match="split is 'train'"):
        FullRanking(toy, "train")
    with pytest.raises(InputError, match="block_size is 0"):
        FullRanking(toy, "test", block_size=0)
    with pytest.raises(InputError, match="no user has a test interaction"):
        FullRanking(Toy(toy.train, toy.valid_, toy.test_ & False), "test")
    with pytest.raises(InputError, match=r"shape \(3, 59\), expected \(3, 60\)"):
        FullRanking(toy, "test", block_size=3).evaluate(lambda users: torch.zeros(3, 59))


def test_popularity_on_tiktok_gives_the_known_figures(tiktok_path: Path) -> None:
    dataset = data.load_dataset(tiktok_path)
    popular = torch.from_numpy(np.asarray(dataset.train_matrix().sum(axis=0)).ravel())
    ranking = FullRanking(dataset, "test")
    found = ranking.evaluate(lambda users: popular.expand(len(users), -1))
    # Published with four digits. Ties in popularity at rank 20 affect the fourth.
    assert found["recall@20"].mean() == pytest.approx(0.0596, abs=2e-4)
    assert found["ndcg@20"].mean() == pytest.approx(0.0254, abs=2e-4)
    again = ranking.evaluate(lambda users: popular.expand(len(users), -1))
    for name, values in found.items():
        np.testing.assert_array_equal(values, again[name])
