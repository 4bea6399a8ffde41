"""Torch computes the numbers that NumPy computes, on a device that stands in for a card.

The stand-in is torch on the CPU. `TINY` believes that it has so little memory that every table
passes through it in many blocks.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sgurinit.core import ItemFeatures, SGURInit, UserStart
from sgurinit.core.device import find_processor
from sgurinit.core.steps import kmeans
from sgurinit.core.steps.aggregate import count_item_degrees
from sgurinit.core.steps.clusters import cluster_rows
from sgurinit.core.steps.collaborative import PartSums, find_directions
from sgurinit.core.steps.item_model import fit_item_model, reduce_item_model
from sgurinit.core.steps.joint import reduce_modality
from sgurinit.core.steps.new_items import place_by_content
from sgurinit.data import load_dataset
from sgurinit.errors import InputError, MemoryInputError

torch = pytest.importorskip("torch")

from sgurinit.core.steps._on_device import TorchProcessor  # noqa: E402 - it needs torch

ROOMY, TINY = (TorchProcessor(torch.device("cpu"), memory) for memory in (None, 1 << 14))
KINDS = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, ">f4"]

processors = pytest.mark.parametrize("processor", [ROOMY, TINY], ids=["roomy", "tiny"])


@pytest.fixture
def card(monkeypatch):
    """Let the device "cuda" be `TINY`, and "cuda:1" be `ROOMY`."""
    cards = {"cuda": TINY, "cuda:1": ROOMY}

    def find(device):
        return cards.get(device) or find_processor(device)

    for name in ("estimator", "fit", "partial_fit"):
        monkeypatch.setattr(f"sgurinit.core.{name}.find_processor", find)


def fit(data, device, **parameters):
    estimator = SGURInit(**{"n_clusters": 3, "random_state": 0} | parameters, device=device)
    return estimator.fit(data.matrix, data.features)


def assert_close(found, expected):
    """Compare with the row's norm; rows of rounding errors alone, with that of the others."""
    norms = np.linalg.norm(expected, axis=1)
    difference = np.linalg.norm(found.astype(np.float64) - expected, axis=1)
    assert (difference <= 1e-5 * np.maximum(norms, 1e-3 * norms.mean())).all()


def assert_equal_starts(found, expected):
    for name, users in expected.users.items():
        assert found.users[name].dtype == np.float32
        assert_close(found.users[name], users)
        np.testing.assert_array_equal(found.clusters[name].labels, expected.clusters[name].labels)
        assert_close(found.clusters[name].centroids, expected.clusters[name].centroids)
    for own, other in zip(found.joint_tables or (), expected.joint_tables or (), strict=True):
        assert_close(own, other)


class TestStarts:
    @pytest.mark.usefixtures("card")
    @pytest.mark.parametrize("device", ["cuda", "cuda:1"])
    @pytest.mark.parametrize("gaps", [False, True])
    @pytest.mark.parametrize(
        "parameters",
        [
            {"joint_dim": 4},
            {"local_norm": "sym", "local_weight": 0.1, "preprocess": ["center", "unit"]},
            {"local_weight": 0.0},
            {"local_weight": 1.0, "kmeans": "minibatch"},
            {"joint_dim": 4, "local_weight": 0.9, "collaborative": True},
            {"joint_dim": 3, "collaborative": True, "penalty": 3.0, "content_weight": 0.0},
        ],
        ids=["published", "stair", "global", "local", "hybrid", "interactions"],
    )
    def test_every_number_is_that_of_numpy(self, parameters, gaps, device, made):
        case = made(n_users=150, gaps=gaps)
        expected = fit(case, "cpu", **parameters).start_
        assert_equal_starts(fit(case, device, **parameters).start_, expected)

    @pytest.mark.usefixtures("card")
    @pytest.mark.parametrize("kind", KINDS)
    def test_features_of_every_type(self, kind, made, tmp_path):
        case = made()
        for name, table in case.features.items():
            path = tmp_path / f"{name}.npy"
            rows = np.asfortranarray(table.values).astype(kind)
            np.save(path, rows)
            mapped = np.load(path, mmap_mode="r")  # read-only
            case.features[name] = ItemFeatures(mapped if name == "m0" else rows[:, ::-1])
        expected = fit(case, "cpu", joint_dim=4).start_
        assert_equal_starts(fit(case, "cuda", joint_dim=4).start_, expected)

    @pytest.mark.usefixtures("card")
    def test_a_fit_from_a_card_continues_without_it(self, made, monkeypatch):
        case = made(gaps=True)
        own, wanted = (fit(case, device, joint_dim=4) for device in ("cuda", "cpu"))
        monkeypatch.undo()  # the card is gone
        moved = pickle.loads(pickle.dumps(own)).set_params(device="cpu")  # noqa: S301
        vectors = np.random.default_rng(0).normal(size=(case.matrix.shape[1], 5))
        assert_close(moved.on(vectors), wanted.on(vectors))
        assert_close(moved.on(vectors, case.matrix[:3]), wanted.on(vectors, case.matrix[:3]))
        later = np.array([[case.matrix.shape[0], 0]])  # a new user
        assert_equal_starts(moved.partial_fit(later).start_, wanted.partial_fit(later).start_)

    @pytest.mark.usefixtures("card")
    def test_users_that_come_later(self, made):
        case = made(gaps=True)
        on_cpu, on_card = (fit(case, device, joint_dim=4) for device in ("cpu", "cuda"))
        later = sp.csr_array(case.matrix[::-1][:20])
        vectors = np.random.default_rng(0).normal(size=(case.matrix.shape[1], 5))
        for found, expected in (
            (on_card.transform(later), on_cpu.transform(later)),
            ({"on": on_card.on(vectors, later)}, {"on": on_cpu.on(vectors, later)}),
            ({"own": on_card.start_.on(vectors)}, {"own": on_cpu.start_.on(vectors)}),
        ):
            for name, rows in expected.items():
                assert_close(found[name], rows)
        more = np.array([[0, 1], [3, 4], [70, 2]])
        found, expected = (one.partial_fit(more).start_ for one in (on_card, on_cpu))
        assert_equal_starts(found, expected)

    @pytest.mark.usefixtures("card")
    @pytest.mark.parametrize("collaborative", [False, True])
    def test_streams_are_those_of_numpy(self, collaborative, made, tmp_path):
        case = made()
        pairs = case.matrix.tocoo()
        np.save(tmp_path / "edges.npy", np.stack([pairs.row, pairs.col], axis=1))
        tables = {}
        for device in ("cpu", "cuda"):
            estimator = SGURInit(
                n_clusters=3,
                joint_dim=4,
                collaborative=collaborative,
                random_state=0,
                n_jobs=2,
                device=device,
            )
            out = tmp_path / device
            estimator.stream(str(tmp_path / "edges.npy"), case.features, out)
            tables[device] = {path.name: np.load(path) for path in (out / "users").iterdir()}
            assert device == "cpu" or "cuda" not in (out / "start.json").read_text()
        assert tables["cpu"].keys() == tables["cuda"].keys() == {"m0.npy", "m1.npy", "joint.npy"}
        for name, rows in tables["cpu"].items():
            assert_close(tables["cuda"][name], rows)

    @pytest.mark.usefixtures("card")
    def test_a_saved_start_does_not_record_the_device(self, made, tmp_path):
        case, path = made(), tmp_path / "start.safetensors"
        start = fit(case, "cuda", joint_dim=4).start_
        start.save(path)
        assert b"cuda" not in path.read_bytes()
        assert b"device" not in path.read_bytes()
        loaded = UserStart.load(path)
        for name, rows in start.users.items():
            np.testing.assert_array_equal(loaded.users[name], rows)

    @pytest.mark.slow
    @pytest.mark.usefixtures("card")
    @pytest.mark.parametrize("device", ["cuda", "cuda:1"])
    @pytest.mark.parametrize("preset", ["published", "stair"])
    def test_on_tiktok(self, tiktok_case, device, preset, monkeypatch):
        monkeypatch.setattr(TINY, "_memory", 1 << 23)
        parameters = SGURInit.from_preset(preset, n_clusters=8, joint_dim=16).get_params()
        del parameters["device"], parameters["random_state"]
        expected = fit(tiktok_case, "cpu", **parameters).start_
        assert_equal_starts(fit(tiktok_case, device, **parameters).start_, expected)

    @pytest.mark.slow
    @pytest.mark.usefixtures("card")
    def test_hybrid_on_lastfm(self, data_root, monkeypatch):
        if not (data_root / "lastfm").is_dir():
            pytest.skip("no lastfm")
        monkeypatch.setattr(TINY, "_memory", 1 << 23)
        data = load_dataset(data_root / "lastfm")
        settings_of_both = {"penalty": 10.0, "content_weight": 0.3, "joint_dim": 64}
        estimator = SGURInit.from_preset("hybrid", **settings_of_both, random_state=0)
        expected, found = (
            estimator.set_params(device=device).fit(data).start_ for device in ("cpu", "cuda")
        )
        assert_equal_starts(found, expected)


class TestKMeans:
    @processors
    @settings(deadline=None)
    @given(
        points=hnp.arrays(
            np.float32,
            st.tuples(st.integers(3, 40), st.integers(1, 4)),
            elements=st.integers(-3, 3).map(float),
        ),
        n_clusters=st.integers(1, 5),
    )
    def test_the_first_of_equally_near_means_is_taken(self, processor, points, n_clusters):
        # Products of small whole numbers are exact, so equal distances are equal.
        means = points[:n_clusters].astype(np.float64)
        squares = np.square(points[:, None] - means).sum(axis=2)
        labels, nearness = kmeans._find_nearest(processor.hold(points), means, processor)
        np.testing.assert_array_equal(labels, squares.argmin(axis=1))
        expected = (np.square(points).sum(axis=1) - squares.min(axis=1)) / 2
        np.testing.assert_array_equal(nearness, expected)

    @processors
    @settings(deadline=None)
    @given(
        n_rows=st.integers(8, 200),
        width=st.integers(1, 20),
        n_clusters=st.integers(1, 8),
        kind=st.sampled_from(KINDS),
        seed=st.integers(0, 2**16),
    )
    def test_labels_and_centroids(self, processor, n_rows, width, n_clusters, kind, seed):
        rows = np.random.default_rng(seed).normal(size=(n_rows, width)).astype(kind)
        if len(np.unique(rows.astype(np.float64), axis=0)) < n_clusters:
            return
        expected, means = cluster_rows(rows, n_clusters, 0)
        labels, centroids = cluster_rows(rows, n_clusters, 0, processor=processor)
        np.testing.assert_array_equal(labels, expected)
        np.testing.assert_allclose(centroids, means, rtol=1e-9, atol=1e-12)

    @processors
    def test_iterations_on_all_rows_after_those_on_a_sample(self, processor, monkeypatch):
        monkeypatch.setattr(kmeans, "_SAMPLE_CELLS", 3000)
        monkeypatch.setattr(kmeans, "_SAMPLE_PER_CLUSTER", 20)
        rng = np.random.default_rng(0)
        rows = rng.normal(size=(12, 16))[rng.integers(0, 12, 3000)] + rng.normal(size=(3000, 16))
        expected, _ = cluster_rows(rows, 12, 0)
        np.testing.assert_array_equal(cluster_rows(rows, 12, 0, processor=processor)[0], expected)

    @processors
    def test_clusters_that_lose_all_are_filled(self, processor):
        rng = np.random.default_rng(0)
        points = (rng.normal(size=(5, 3))[rng.integers(0, 5, 400)] * 9).astype(np.float32)
        points += rng.normal(size=points.shape).astype(np.float32)
        means = np.array([points.mean(axis=0), [1e3, 0, 0], points[7]])
        expected = kmeans.refine(points, means, 5)
        np.testing.assert_array_equal(kmeans.refine(points, means, 5, processor), expected)


@st.composite
def interactions(draw):
    """Binary interactions, with users and items that have none."""
    n_users, n_items = draw(st.integers(1, 30)), draw(st.integers(2, 15))
    dense = draw(hnp.arrays(np.bool_, (n_users, n_items), fill=st.just(False)))
    dense[0, 0] = True
    return sp.csr_array(dense.astype(np.int8))


class TestSteps:
    @processors
    @settings(deadline=None)
    @given(matrix=interactions(), width=st.integers(1, 5), seed=st.integers(0, 2**16))
    def test_sparse_products(self, processor, matrix, width, seed):
        rng = np.random.default_rng(seed)
        table, other = (rng.normal(size=(n, width)) for n in matrix.shape[::-1])
        weighted = sp.csr_array(matrix * 0.5)
        for own, kind in ((matrix, np.float64), (matrix, np.float32), (weighted, np.float32)):
            left = processor.put_sparse(own)
            found = processor.get(left @ processor.put(table.astype(kind)))
            np.testing.assert_allclose(found, own @ table, rtol=1e-5, atol=1e-5)
            turned = processor.get(left.T @ processor.put(other.astype(kind)))
            np.testing.assert_allclose(turned, own.T @ other, rtol=1e-5, atol=1e-5)
            vector = processor.get(left @ processor.put(table[:, 0].astype(kind)))
            np.testing.assert_allclose(vector, own @ table[:, 0], rtol=1e-5, atol=1e-5)

    @processors
    @settings(deadline=None)
    @given(n_rows=st.integers(1, 400), width=st.integers(1, 12), seed=st.integers(0, 2**16))
    def test_bases_of_tall_tables(self, processor, n_rows, width, seed):
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(n_rows, width)) * 10.0 ** -np.arange(width)
        basis, expected = processor.find_basis(rows), np.linalg.qr(rows)[0]
        assert basis.shape == expected.shape
        np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-12)
        # The leading columns span what the leading columns of the rows span.
        for k in range(1, basis.shape[1] + 1):
            own, other = basis[:, :k] @ basis[:, :k].T, expected[:, :k] @ expected[:, :k].T
            np.testing.assert_allclose(own, other, atol=1e-4 if k > 6 else 1e-8)

    @processors
    @settings(deadline=None, max_examples=20)
    @given(
        n_users=st.integers(15, 60),
        n_items=st.integers(4, 15),
        rank=st.integers(1, 20),
        penalty=st.sampled_from([1.0, 30.0]),
        weight=st.sampled_from([0.0, 0.3]),
        seed=st.integers(0, 2**16),
    )
    def test_the_item_model(self, processor, n_users, n_items, rank, penalty, weight, seed):
        rng = np.random.default_rng(seed)
        matrix = sp.csr_array((rng.random((n_users, n_items)) < 0.3).astype(np.int8))
        degrees = count_item_degrees(matrix)
        content = rng.normal(size=(n_items, 3))
        content /= np.linalg.norm(content, axis=1, keepdims=True)
        found = []
        for on in ({}, {"processor": processor}):
            with PartSums([lambda: matrix[:9], lambda: matrix[9:]], **on) as sums:
                directions = find_directions(sums, degrees, rank)
                model = fit_item_model(directions, content, penalty, weight, **on)
                rows = reduce_item_model(model, sums, 3)
            tables = (directions.columns, model.rows, rows)
            found.append([table @ table.T for table in tables])
        for own, expected in zip(*found, strict=True):
            np.testing.assert_allclose(own, expected, atol=1e-8 * np.abs(expected).max())

    @processors
    @pytest.mark.parametrize("kind", KINDS)
    def test_modalities_are_reduced_alike(self, processor, kind):
        rng = np.random.default_rng(0)
        rows = (rng.normal(size=(200, 4)) @ rng.normal(size=(4, 12))).astype(kind)
        rows[3] = 0
        present = rng.random(200) < 0.8
        table = ItemFeatures(rows, present)
        expected = reduce_modality(table, 3, None)
        assert_close(reduce_modality(table, 3, None, processor), expected)

    @processors
    @settings(deadline=None)
    @given(n_items=st.integers(1, 60), k=st.integers(1, 8), seed=st.integers(0, 2**16))
    def test_new_items_are_placed_alike(self, processor, n_items, k, seed):
        rng = np.random.default_rng(seed)
        content = rng.normal(size=(6, 3))[rng.integers(6, size=n_items)]
        content /= np.linalg.norm(content, axis=1, keepdims=True)
        content[rng.random(n_items) < 0.2] = 0
        degrees = rng.integers(0, 3, size=n_items).astype(np.float64)
        rows = rng.normal(size=(n_items, 3))
        found, expected = (
            place_by_content(rows, content, degrees, k, *on) for on in ((processor,), ())
        )
        np.testing.assert_allclose(found[0], expected[0], atol=1e-9)
        np.testing.assert_array_equal(found[1], expected[1])


class TestDevices:
    @pytest.mark.parametrize(
        "device", ["gpu", "cpu:1", "mps", "cuda:", "cuda:x", "cuda:-1", "", None, 0]
    )
    def test_an_unknown_device_is_named(self, device, made):
        with pytest.raises(InputError, match="device must be 'cpu', 'cuda', 'cuda:N' or 'auto'"):
            fit(made(), device)

    @pytest.mark.parametrize(
        ("n_cards", "device", "there"),
        [(0, "cuda", "'cpu'"), (0, "cuda:0", "'cpu'"), (2, "cuda:2", "'cpu', 'cuda:0', 'cuda:1'")],
    )
    def test_a_missing_device_lists_those_that_are_there(
        self, n_cards, device, there, made, monkeypatch
    ):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: n_cards > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: n_cards)
        with pytest.raises(InputError, match=f"^device is '{device}'.* it finds {there}$"):
            fit(made(), device)

    @pytest.mark.parametrize(
        ("device", "index"),
        [("auto", None), ("cuda", None), ("cuda:0", 0), ("cuda:1", 1), ("cuda:01", 1)],
    )
    def test_cards_are_found_by_name(self, device, index, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        assert find_processor(device).device == torch.device("cuda", index)

    def test_blocks_follow_the_free_memory_of_the_card(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (3 << 30, 8 << 30))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 2 << 30)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 1 << 30)
        found = TorchProcessor(torch.device("cuda"))
        assert found.choose_table_bytes(0) == (4 << 30) // 6
        sizes = {where.stop - where.start for where in found.iter_slices(np.zeros((9, 3)))}
        assert sizes == {found.choose_block_bytes(0) // 24}

    def test_auto_is_the_cpu_where_there_is_no_card(self, made, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        case = made()
        found, expected = (fit(case, device).start_ for device in ("auto", "cpu"))
        for name, rows in expected.users.items():
            np.testing.assert_array_equal(found.users[name], rows)

    @pytest.mark.usefixtures("card")
    @pytest.mark.parametrize("step", ["sum_groups", "put_sparse", "sum_rows"])
    def test_a_device_without_enough_memory_says_what_helps(self, step, made, monkeypatch):
        def refuse(*_):
            raise torch.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr(TINY, step, refuse)
        with pytest.raises(MemoryInputError, match="device is 'cpu', which is out of memory:"):
            fit(made(), "cuda", joint_dim=3, collaborative=True)

    @pytest.mark.parametrize(("device", "code"), [("cuda", 1), ("auto", 0), ("cpu", 0)])
    def test_without_torch(self, device, code):
        program = f"""
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

sys.meta_path.insert(0, Refuse())
import numpy as np
from sgurinit.core import SGURInit
from sgurinit.errors import InputError
try:
    SGURInit(n_clusters=2, device={device!r}).fit([[0], [1]], {{"text": np.eye(2)}})
except InputError as error:
    sys.exit(str(error))
"""
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ,
        )
        assert done.returncode == code, done.stderr
        if code:
            assert done.stderr.strip() == (
                "device is 'cuda', which needs torch: pip install 'sgurinit[train]', or set "
                "`device` to 'cpu'"
            )
