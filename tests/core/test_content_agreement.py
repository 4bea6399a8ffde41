"""Content agreement, against loops over all items, known answers and real data."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from sgurinit.core import ItemFeatures, content_agreement
from sgurinit.core.content_agreement import ContentAgreement, compute_content_agreement
from sgurinit.core.inputs import features as feature_blocks
from sgurinit.data import load_dataset, planted, xwines
from sgurinit.errors import InputError


def reference(matrix: np.ndarray, values: np.ndarray, present: np.ndarray, k: int) -> dict:
    """Value, standard error, chance and number of items, item by item in float64."""
    filled = [i for i in range(len(values)) if present[i] and np.any(values[i] != 0)]
    mean = sum(values[i].astype(float) for i in filled) / len(filled)
    users = {i: set(np.flatnonzero(matrix[:, i])) for i in filled if matrix[:, i].any()}
    rows = {i: values[i].astype(float) - mean for i in users}
    k = min(k, len(users) - 1)

    def cosine(i: int, j: int) -> float:
        return rows[i] @ rows[j] / np.sqrt((rows[i] @ rows[i]) * (rows[j] @ rows[j]))

    shares, pairs = [], []
    for i, own in users.items():
        others = sorted((j for j in users if j != i), key=lambda j: -cosine(i, j))
        shares.append(np.mean([bool(own & users[j]) for j in others[:k]]))
        pairs += [bool(own & users[j]) for j in others]
    error = np.std(shares, ddof=1) / np.sqrt(len(shares))
    return {
        "value": np.mean(shares),
        "standard_error": error,
        "chance": np.mean(pairs),
        "k": k,
        "n_items": len(users),
        "n_sampled": len(users),
    }


def random_world(seed: int, n_items: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Interactions, rows and which are present: with cold items, absent and zero rows."""
    generator = np.random.default_rng(seed)
    matrix = generator.random((30, n_items)) < 0.06
    matrix[:, -2:] = False
    values = generator.normal(size=(n_items, 5)) + 3
    present = generator.random(n_items) < 0.8
    present[:4] = True
    matrix[0, :3] = True
    values[~present] = np.nan
    values[3] = 0
    return matrix, values, present


def measure(matrix: object, values: np.ndarray, present: object = None, **options: int):
    return compute_content_agreement(sp.csr_array(matrix), ItemFeatures(values, present), **options)


def topics(n_topics: int = 12, size: int = 25, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Every user uses all items of one topic, whose rows point in one direction."""
    labels = np.repeat(np.arange(n_topics), size)
    matrix = labels == np.arange(3 * n_topics)[:, None] % n_topics
    noise = np.random.default_rng(seed).normal(size=(len(labels), n_topics))
    return matrix, 5 * np.eye(n_topics)[labels] + 0.3 * noise + 7


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**16), k=st.integers(1, 45))
def test_it_is_what_loops_over_all_items_find(seed, k):
    matrix, values, present = random_world(seed)
    found = measure(matrix, values, present, k=k)
    expected = reference(matrix, values, present, k)
    ratio = expected["value"] / expected["chance"]
    assert vars(found) == pytest.approx({**expected, "ratio": ratio})


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32])
def test_every_type_of_features_is_measured_as_float64(dtype):
    matrix, values, present = random_world(1)
    narrow = values.astype(dtype)
    assert measure(matrix, narrow, present) == measure(matrix, narrow.astype(float), present)


def test_blocks_give_what_one_block_gives(monkeypatch):
    matrix, values, present = random_world(2, n_items=120)
    whole = measure(matrix, values, present)
    monkeypatch.setattr(content_agreement, "_BLOCK", 64)
    monkeypatch.setattr(feature_blocks, "_BLOCK_BYTES", 8 * 5 * 7)
    assert measure(matrix, values, present) == whole


def test_planted_topics_are_found_and_shuffled_rows_are_at_chance():
    matrix, values = topics()
    found = measure(matrix, values)
    chance = 24 / 299  # the others of a topic among all others
    assert (found.value, found.standard_error) == (1, 0)
    assert found.chance == pytest.approx(chance)
    assert found.ratio == pytest.approx(1 / chance)
    shuffled = [
        measure(matrix, np.random.default_rng(seed).permutation(values)) for seed in range(20)
    ]
    errors = [one.standard_error for one in shuffled]
    assert {one.chance for one in shuffled} == {found.chance}
    assert np.mean([one.value for one in shuffled]) == pytest.approx(chance, abs=0.01)
    assert np.std([one.value for one in shuffled]) == pytest.approx(np.mean(errors), rel=0.5)


def test_the_noisier_modality_of_generated_data_agrees_less():
    data = planted()
    image, text = (
        compute_content_agreement(data.train_matrix(), data.features[name])
        for name in ("image", "text")
    )
    assert 1.2 < image.ratio < text.ratio
    assert image.chance == text.chance


def test_equal_rows_are_at_chance_wherever_their_items_stand():
    # The first items share a user. Neighbors taken by position would all be among them.
    matrix = np.eye(300, dtype=bool)
    matrix[0, :40] = True
    found = [measure(matrix, np.ones((300, 3)), seed=seed) for seed in range(10)]
    assert np.mean([one.value for one in found]) == pytest.approx(found[0].chance, rel=0.2)
    assert len({one.value for one in found}) > 1


def test_order_and_scale_of_items_and_users_do_not_matter():
    matrix, values, present = random_world(3)
    found = measure(matrix, values, present)
    generator = np.random.default_rng(0)
    users, items = generator.permutation(len(matrix)), generator.permutation(len(values))
    moved = measure(matrix[users][:, items], 40 * values[items], present[items], seed=9)
    assert vars(moved) == pytest.approx(vars(found))
    shift = np.where(values.any(axis=1, keepdims=True), 5.0, 0.0)  # a zero row stays one
    assert vars(measure(matrix, values + shift, present)) == pytest.approx(vars(found))


def test_every_entry_other_than_zero_is_one_interaction():
    matrix, values, present = random_world(4)
    counts = sp.csr_array(matrix * np.random.default_rng(0).integers(1, 6, matrix.shape))
    counts.data[::3] = 0  # stored zeros
    expected = measure(counts.toarray() > 0, values, present)
    for form in (counts, counts.tocsc(), sp.csr_matrix(counts)):
        stored = form.nnz
        assert compute_content_agreement(form, ItemFeatures(values, present)) == expected
        assert form.nnz == stored  # the caller's matrix is unchanged


def test_a_sample_of_items_and_of_pairs_is_close_to_all(monkeypatch):
    data = planted(3000, 1500)
    matrix, text = data.train_matrix(), data.features["text"]
    exact = compute_content_agreement(matrix, text)
    assert exact.n_sampled == exact.n_items
    monkeypatch.setattr(content_agreement, "_WORK", 1)
    monkeypatch.setattr(content_agreement, "_FEWEST", 300)
    monkeypatch.setattr(content_agreement, "_COUNTED", 0)
    sampled = compute_content_agreement(matrix, text)
    assert (sampled.n_sampled, sampled.n_items) == (300, exact.n_items)
    assert sampled.value != exact.value
    assert abs(sampled.value - exact.value) < 4 * sampled.standard_error
    assert sampled.standard_error > exact.standard_error
    assert sampled.chance == pytest.approx(exact.chance, abs=0.003)
    assert compute_content_agreement(matrix, text) == sampled  # the same seed
    assert compute_content_agreement(matrix, text, seed=1) != sampled


def test_with_few_items_all_others_are_neighbors():
    matrix, values = np.array([[1, 1, 0], [0, 0, 1]]), np.eye(3)
    found = measure(matrix, values)
    assert (found.k, found.n_items) == (2, 3)
    assert found.value == found.chance == pytest.approx(1 / 3)


@pytest.mark.parametrize("counted", [content_agreement._COUNTED, 0])
def test_where_no_two_items_share_a_user_there_is_no_ratio(counted, monkeypatch):
    monkeypatch.setattr(content_agreement, "_COUNTED", counted)  # 0: from random pairs
    found = measure(np.eye(5), np.random.default_rng(0).normal(size=(5, 2)))
    assert (found.value, found.chance, found.ratio) == (0, 0, None)


def test_fewer_than_two_items_cannot_be_compared():
    matrix = np.ones((2, 3))
    assert measure(matrix, np.ones((3, 2)), np.array([True, False, False])) is None
    assert measure(matrix, np.array([[1.0], [0.0], [0.0]])) is None
    assert measure(np.array([[1, 0, 0]]), np.ones((3, 2))) is None
    assert measure(matrix, np.zeros((3, 2))) is None


def test_bad_input_is_named():
    with pytest.raises(InputError, match="k is 0, expected at least 1"):
        measure(np.ones((2, 3)), np.ones((3, 2)), k=0)
    with pytest.raises(InputError, match="features have 4 rows but the interactions have 3 items"):
        measure(np.ones((2, 3)), np.ones((4, 2)))


def assert_real(found: ContentAgreement, value: float, chance: float) -> None:
    assert (found.value, found.chance) == pytest.approx((value, chance), abs=0.006)
    assert found.n_sampled == found.n_items


def test_text_of_wines_agrees():
    data = xwines()
    found = compute_content_agreement(data.train_matrix(), data.features["text"])
    assert_real(found, 0.40, 0.246)


@pytest.mark.parametrize(
    ("name", "modality", "value", "chance"),
    [
        ("lastfm", "text", 0.585, 0.177),
        ("lastfm", "audio", 0.305, 0.177),
        ("lastfm", "speech", 0.283, 0.177),
        ("tiktok", "image", 0.244, 0.203),
        ("tiktok", "audio", 0.226, 0.203),
    ],
)
def test_real_data_has_its_known_agreement(data_root: Path, name, modality, value, chance):
    path = data_root / name
    if not path.is_dir():
        pytest.skip(f"real data absent: {path}; SGURINIT_DATA may name the folder that holds it")
    data = load_dataset(path)
    found = compute_content_agreement(data.train_matrix(), data.features[modality])
    assert_real(found, value, chance)
