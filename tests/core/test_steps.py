"""Clustering, preprocessing, principal axes and the semantic gap, against known answers."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from sgurinit.core import SGURInit
from sgurinit.core.diagnostics import Diagnostics
from sgurinit.core.inputs import features
from sgurinit.core.semantic_gap import compute_gaps
from sgurinit.core.steps import kmeans, pca
from sgurinit.core.steps.clusters import cluster_rows
from sgurinit.core.steps.pca import compute_principal_rows
from sgurinit.core.steps.preprocess import preprocess_rows
from sgurinit.errors import InputError


def inertia(rows, labels):
    return sum(np.square(rows[labels == k] - rows[labels == k].mean(0)).sum() for k in set(labels))


class TestClusters:
    def test_separated_groups_are_found(self):
        rng = np.random.default_rng(0)
        truth = rng.integers(0, 4, 200)
        rows = rng.normal(size=(4, 6))[truth] * 20 + rng.normal(size=(200, 6))
        labels, centroids = cluster_rows(rows, 4, 0)
        assert len({(t, found) for t, found in zip(truth, labels, strict=True)}) == 4
        for k in range(4):
            np.testing.assert_allclose(centroids[k], rows[labels == k].mean(axis=0), rtol=1e-12)

    def test_inertia_is_that_of_plain_scikit_learn(self, tiktok_case):
        rows = tiktok_case.features["audio"].values.astype(np.float64)
        labels, _ = cluster_rows(rows, 8, 0)
        with threadpool_limits(limits=1):
            plain = KMeans(8, n_init=10, random_state=1).fit(rows).inertia_
        assert inertia(rows, labels) <= 1.01 * plain

    @pytest.mark.slow
    @pytest.mark.parametrize(("n", "width"), [(900, 400), (6000, 20), (6000, 400)])
    @pytest.mark.parametrize("backend", ["lloyd", "minibatch", "faiss"])
    def test_many_rows_and_columns_cost_no_inertia(self, backend, n, width, monkeypatch):
        if backend == "faiss":
            pytest.importorskip("faiss")
        monkeypatch.setattr(kmeans, "_SAMPLE_CELLS", 24_000)
        monkeypatch.setattr(kmeans, "_SAMPLE_PER_CLUSTER", 20)
        rng = np.random.default_rng(0)
        topics = rng.normal(size=(12, 16))[rng.integers(0, 12, n)] + rng.normal(size=(n, 16))
        rows = np.maximum(topics @ rng.normal(size=(16, width)) + rng.normal(size=(n, width)), 0)
        labels, centroids = cluster_rows(rows, 12, 0, backend)
        with threadpool_limits(limits=1):
            plain = KMeans(12, n_init=10, random_state=1).fit(rows).inertia_
        assert (
            inertia(rows, labels) <= {"minibatch": 1.1, "faiss": 1.05}.get(backend, 1.005) * plain
        )
        np.testing.assert_array_equal(cluster_rows(rows, 12, 0, backend)[0], labels)
        assert (cluster_rows(rows, 12, 1, backend)[0] != labels).any()
        for k in range(12):
            np.testing.assert_allclose(centroids[k], rows[labels == k].mean(axis=0), rtol=1e-10)

    @pytest.mark.slow
    @pytest.mark.parametrize("backend", ["lloyd", "minibatch", "faiss"])
    def test_a_thousand_clusters_are_the_same_for_a_seed(self, backend):
        if backend == "faiss":
            pytest.importorskip("faiss")
        rows = np.random.default_rng(0).normal(size=(2500, 4))
        labels, centroids = cluster_rows(rows, 1000, 0, backend)
        assert len(set(labels)) > 950
        order = np.random.default_rng(1).permutation(len(rows))
        np.testing.assert_array_equal(cluster_rows(rows[order], 1000, 0, backend)[0], labels[order])
        used = np.unique(labels)
        means = np.stack([rows[labels == k].mean(axis=0) for k in used])
        np.testing.assert_allclose(centroids[used], means, rtol=1e-9, atol=1e-12)

    def test_a_sample_without_enough_distinct_rows_is_no_obstacle(self, monkeypatch):
        monkeypatch.setattr(kmeans, "_SAMPLE_CELLS", 200)
        monkeypatch.setattr(kmeans, "_SAMPLE_PER_CLUSTER", 1)
        rows = np.repeat([[1.0, 0], [0, 1], [9, 9], [0, -9]], [997, 1, 1, 1], axis=0)
        labels, centroids = cluster_rows(rows, 4, 0)
        np.testing.assert_allclose(centroids[labels], rows)

    def test_refinement_is_that_of_scikit_learn_from_the_same_means(self):
        rng = np.random.default_rng(0)
        points = (rng.normal(size=(6, 30))[rng.integers(0, 6, 3000)] / 3).astype(np.float32)
        points += rng.normal(size=points.shape).astype(np.float32) / 3
        means = points[:6].astype(np.float64)
        plain = KMeans(6, init=means, n_init=1, max_iter=kmeans._REFINEMENTS, tol=0).fit(points)
        found = kmeans.refine(points, means, 6)
        assert (found == plain.labels_).mean() > 0.999
        assert inertia(points, found) == pytest.approx(plain.inertia_, rel=1e-4)

    def test_refinement_fills_clusters_that_lose_all(self):
        rng = np.random.default_rng(0)
        points = (rng.normal(size=(5, 3))[rng.integers(0, 5, 400)] * 9).astype(np.float32)
        points += rng.normal(size=points.shape).astype(np.float32)
        # The second is nobody's nearest, and two are missing.
        means = np.array([points.mean(axis=0), [1e3, 0, 0], points[7]])
        assert sorted(set(kmeans.refine(points, means, 5))) == [0, 1, 2, 3, 4]

    def test_a_backend_that_is_not_installed_says_so(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "faiss", None)
        with pytest.raises(InputError, match=r"pip install 'sgurinit\[faiss\]'"):
            cluster_rows(np.eye(4), 2, 0, "faiss")

    @pytest.mark.parametrize("threads", [1, 2])
    def test_threads_do_not_matter(self, threads, planted_case):
        rows = planted_case.features["image"].values
        expected, _ = cluster_rows(rows, 5, 0)
        with threadpool_limits(limits=threads):
            found, _ = cluster_rows(rows, 5, 0)
        np.testing.assert_array_equal(found, expected)

    def test_as_many_clusters_as_distinct_rows(self):
        rows = np.array([[1.0, 0], [0, 1], [1, 0], [5, 5]])
        labels, centroids = cluster_rows(rows, 3, 0)
        np.testing.assert_array_equal(centroids[labels], rows)

    def test_negative_zero_is_zero(self):
        rows = np.array([[0.0, 1], [0, 2], [-0.0, 1], [-0.0, 2]])
        with pytest.raises(InputError, match="the 2 distinct"):
            cluster_rows(rows, 3, 0)

    def test_one_cluster_is_the_mean(self):
        rows = np.arange(12.0).reshape(4, 3)
        labels, centroids = cluster_rows(rows, 1, 0)
        assert not labels.any()
        np.testing.assert_array_equal(centroids, [rows.mean(axis=0)])

    @pytest.mark.parametrize("scale", [1e-150, 1e-30, 1e30, 1e150])
    def test_tiny_and_huge_values_cluster_alike(self, scale):
        rows = np.repeat([[1.0, 0], [0, 1], [9, 9]], 4, axis=0)
        labels, _ = cluster_rows(rows * scale, 3, 0)
        np.testing.assert_array_equal(labels, cluster_rows(rows, 3, 0)[0])


class TestPreprocessing:
    rows = np.random.default_rng(0).normal(size=(50, 4)) @ np.diag([5, 2, 1, 0.1]) + 3

    def test_no_step_returns_the_rows_themselves(self):
        assert preprocess_rows(self.rows, ()) is self.rows

    def test_center_unit_whiten(self):
        np.testing.assert_allclose(
            preprocess_rows(self.rows, ("center",)).mean(axis=0), 0, atol=1e-14
        )
        np.testing.assert_allclose(
            np.linalg.norm(preprocess_rows(self.rows, ("unit",)), axis=1), 1, rtol=1e-14
        )
        whitened = preprocess_rows(self.rows, ("whiten",))
        np.testing.assert_allclose(np.cov(whitened.T), np.eye(4), atol=1e-10)

    def test_order_of_steps_counts(self):
        one = preprocess_rows(self.rows, ("center", "unit"))
        two = preprocess_rows(self.rows, ("unit", "center"))
        np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1)
        np.testing.assert_allclose(two.mean(axis=0), 0, atol=1e-14)

    def test_whitening_leaves_degenerate_directions_at_zero(self):
        flat = np.hstack([self.rows, self.rows[:, :2]])
        whitened = preprocess_rows(flat, ("whiten",))
        assert whitened.shape == flat.shape
        assert not whitened[:, 4:].any()
        np.testing.assert_allclose(np.cov(whitened[:, :4].T), np.eye(4), atol=1e-10)

    def test_zero_rows_stay_zero_and_do_not_count(self):
        holed = np.vstack([self.rows, np.zeros((3, 4))])
        for steps in (("center",), ("unit",), ("whiten",), ("center", "unit", "whiten")):
            prepared = preprocess_rows(holed, steps)
            assert not prepared[50:].any()
            np.testing.assert_allclose(
                prepared[:50], preprocess_rows(self.rows, steps), rtol=1e-9, atol=1e-12
            )

    def test_all_zero_rows_are_left_alone(self):
        assert not preprocess_rows(np.zeros((3, 2)), ("center", "unit", "whiten")).any()

    def test_equal_rows_have_nothing_to_whiten(self):
        assert not preprocess_rows(np.full((5, 3), 7.7), ("whiten",)).any()


class TestPrincipalRows:
    def test_a_large_mean_costs_no_precision(self):
        rows = np.random.default_rng(0).normal(size=(300, 5)) @ np.diag([4, 3, 2, 1, 0.5])
        near, far = compute_principal_rows(rows), compute_principal_rows(rows + 1e6)
        np.testing.assert_allclose(far.rows, near.rows, atol=1e-7)
        np.testing.assert_allclose(far.deviations, near.deviations, rtol=1e-7)

    @pytest.mark.slow
    @pytest.mark.parametrize("shape", [(40, 3), (10, 60), (1100, 1200), (1300, 1200)])
    @pytest.mark.parametrize("held", [0, 1 << 31], ids=["streamed", "held"])
    def test_every_solver_gives_the_same_axes(self, shape, held, reference, monkeypatch):
        monkeypatch.setattr(pca, "_HELD_BYTES", held)
        monkeypatch.setattr(features, "_BLOCK_BYTES", 8 * shape[1] * 7)
        rng = np.random.default_rng(1)
        rows = rng.normal(size=(shape[0], 6)) * [9, 7, 5, 4, 3, 2] @ rng.normal(size=(6, shape[1]))
        found = compute_principal_rows(rows, 3)
        expected, deviations = reference.pca(rows, 3)
        np.testing.assert_allclose(found.rows, expected, atol=1e-8 * np.abs(expected).max())
        np.testing.assert_allclose(found.deviations, deviations, rtol=1e-8)

    def test_a_step_is_done_to_every_block_first(self, monkeypatch):
        monkeypatch.setattr(features, "_BLOCK_BYTES", 8 * 5 * 7)
        rows = np.random.default_rng(0).normal(size=(300, 5)) @ np.diag([4, 3, 2, 1, 0.5])
        found, expected = (
            compute_principal_rows(rows, transform=np.tanh),
            compute_principal_rows(np.tanh(rows)),
        )
        np.testing.assert_allclose(found.rows, expected.rows, atol=1e-12)

    def test_a_single_row_spans_no_direction(self):
        assert compute_principal_rows(np.ones((1, 4))).rows.shape == (1, 0)


class TestGap:
    def test_users_that_are_their_items_share_the_space(self):
        rng = np.random.default_rng(0)
        items = rng.normal(size=(400, 8))
        before, after = compute_gaps(sp.eye_array(400).tocsr(), items, items.copy(), 0)
        assert after.alignment == pytest.approx(1.0, abs=0.05)
        assert after.centroid_distance < 0.1
        assert abs(after.separability - 0.5) < 0.15
        assert abs(before.alignment) < 0.05

    def test_users_far_from_the_items_are_told_apart(self):
        rng = np.random.default_rng(0)
        items = rng.normal(size=(400, 8)) + 10
        _, after = compute_gaps(sp.eye_array(400).tocsr(), items, -items, 0)
        assert after.separability == 1.0
        assert after.centroid_distance == pytest.approx(2.0, rel=0.05)

    def test_alignment_equals_the_mean_over_all_pairs(self):
        rng = np.random.default_rng(3)
        dense = rng.random((15, 12)) < 0.3
        dense[:, 0] |= ~dense.any(axis=1)
        items, users = rng.normal(size=(12, 4)), rng.normal(size=(15, 4))
        _, after = compute_gaps(sp.csr_array(dense.astype(float)), items, users, 0)
        expected = []
        for u in range(15):
            cosines = [
                users[u] @ row / np.linalg.norm(users[u]) / np.linalg.norm(row) for row in items
            ]
            expected.append(np.mean(np.array(cosines)[dense[u]]) - np.mean(cosines))
        assert after.alignment == pytest.approx(np.mean(expected), rel=1e-9)

    def test_random_users_have_the_mean_norm_of_the_start(self):
        items = np.random.default_rng(0).normal(size=(300, 5)) + 4
        matrix = sp.eye_array(300).tocsr()
        small, _ = compute_gaps(matrix, items, items * 1e-6, 0)
        mean, norm = np.linalg.norm(items.mean(axis=0)), np.linalg.norm(items, axis=1).mean()
        assert small.centroid_distance == pytest.approx(2 * mean / norm, rel=1e-3)

    def test_too_few_rows_to_judge(self):
        _, after = compute_gaps(sp.eye_array(3).tocsr(), np.eye(3), np.eye(3), 0)
        assert after.separability is None

    def test_equal_rows_cannot_be_told_apart(self):
        rows = np.ones((8, 2))
        _, after = compute_gaps(sp.eye_array(8).tocsr(), rows, rows, 0)
        assert after.separability == 0.5

    def test_the_start_closes_the_gap_on_real_data(self, tiktok_case):
        start = SGURInit(random_state=0, joint_dim=64).fit(tiktok_case.matrix, tiktok_case.features)
        facts = start.start_.diagnostics
        # Raw image rows share one direction, so random items are nearly as close as a user's own.
        assert facts.modalities["image"].gap_after.alignment > 0.01
        assert facts.modalities["audio"].gap_after.alignment > 0.3
        assert facts.joint.gap_after.alignment > 0.3
        for space in (*facts.modalities.values(), facts.joint):
            assert abs(space.gap_before.alignment) < 0.01
        for space in facts.modalities.values():
            assert space.gap_after.centroid_distance < space.gap_before.centroid_distance
        assert facts.users_without_interactions == 10
        assert facts.items_without_interactions == 465


class TestDiagnostics:
    def test_dictionary_and_back(self, gappy):
        start = (
            SGURInit(n_clusters=3, random_state=0, joint_dim=3)
            .fit(gappy.matrix, gappy.features)
            .start_
        )
        facts = start.diagnostics
        assert Diagnostics.from_dict(facts.to_dict()) == facts
        assert facts.joint is not None

    def test_norms_and_sizes_are_those_of_the_tables(self, small):
        start = SGURInit(n_clusters=3, random_state=0).fit(small.matrix, small.features).start_
        for name, facts in start.diagnostics.modalities.items():
            users = np.linalg.norm(start.users[name], axis=1).mean()
            items = np.linalg.norm(small.features[name].values, axis=1).mean()
            assert facts.user_mean_norm == pytest.approx(users, rel=1e-6)
            assert facts.item_mean_norm == pytest.approx(items, rel=1e-6)
            sizes = np.bincount(start.clusters[name].labels)
            assert facts.cluster_sizes == tuple(sizes)
            assert sum(facts.cluster_sizes) == start.n_items
