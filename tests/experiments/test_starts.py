"""Tables on starts: measures use the true interactions, clusters list their nearest items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sgurinit.arms import (
    HybridInitializer,
    PermutedInitializer,
    RandomInitializer,
    SGURInitInitializer,
)
from sgurinit.data import Dataset, item_titles, write_native
from sgurinit.experiments.start_tables import write_start_tables

ARMS = {
    "random": RandomInitializer(),
    "ours": SGURInitInitializer(n_clusters=4),
    "permuted": PermutedInitializer(n_clusters=4),
    "hybrid": HybridInitializer(n_clusters=4),
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory, small: Dataset) -> dict[str, pl.DataFrame]:
    folder = tmp_path_factory.mktemp("starts") / "starts"
    write_start_tables(ARMS, small, None, folder)
    return {file.stem: pl.read_csv(file) for file in folder.iterdir()}


@pytest.mark.slow
def test_users_are_aligned_with_their_items_unless_the_meaning_is_removed(
    tables: dict[str, pl.DataFrame],
) -> None:
    alignment = dict(tables["gap"].filter(measure="alignment").select("arm", "value").iter_rows())
    assert list(alignment) == list(ARMS)
    assert abs(alignment["random"]) < 0.05
    assert alignment["ours"] > alignment["permuted"] + 0.2
    assert alignment["hybrid"] > alignment["permuted"] + 0.2


def test_histograms_of_cosines_sum_to_one_and_own_items_are_nearer(
    tables: dict[str, pl.DataFrame],
) -> None:
    shares = tables["cosines"]
    sums = shares.group_by("arm", "pairs").agg(pl.col("share").sum())["share"]
    assert sums.to_list() == pytest.approx([1.0] * 2 * len(ARMS))
    middle = (shares["low"] + shares["high"]) / 2
    means = shares.with_columns(mean=middle * shares["share"]).group_by("arm", "pairs")
    found = {(arm, pairs): mean for arm, pairs, mean in means.agg(pl.col("mean").sum()).iter_rows()}
    assert found["ours", "own"] > found["ours", "random"] + 0.2
    assert abs(found["random", "own"] - found["random", "random"]) < 0.1


def test_every_arm_shows_the_same_users_and_items(tables: dict[str, pl.DataFrame]) -> None:
    points = tables["points"]
    ids = [part.select("kind", "id") for _, part in points.group_by("arm", maintain_order=True)]
    assert all(part.equals(ids[0]) for part in ids)
    assert points["x"].is_finite().all()
    assert points["y"].is_finite().all()


def test_clusters_list_the_items_nearest_to_the_mean_of_their_members(
    tables: dict[str, pl.DataFrame], small: Dataset
) -> None:
    clusters = tables["clusters"]
    assert clusters["space"].unique(maintain_order=True).to_list() == ["joint", *small.features]
    start = ARMS["ours"].compute_start(small, 0)
    for (space, cluster), part in clusters.group_by("space", "cluster"):
        if space == "joint":
            joint = start.joint(64)
            rows, labels = joint.items, joint.clusters.labels
        else:
            rows, labels = small.features[space].values, start.clusters[space].labels
        members = np.flatnonzero(labels == cluster)
        assert part["size"].unique().to_list() == [len(members)]
        distances = np.linalg.norm(rows[members] - rows[members].mean(axis=0), axis=1)
        nearest = members[np.argsort(distances)[: part.height]]
        assert part.sort("rank")["item"].to_list() == small.item_ids[nearest].tolist()


def test_without_a_start_nothing_is_written(tmp_path: Path, small: Dataset) -> None:
    write_start_tables({"random": RandomInitializer()}, small, None, tmp_path / "starts")
    assert not (tmp_path / "starts").exists()


def test_titles_of_the_native_layout_reach_the_clusters(tmp_path: Path, small: Dataset) -> None:
    folder = write_native(small, tmp_path / "data")
    assert item_titles(folder) == item_titles(None) == {}
    items = pl.read_parquet(folder / "items.parquet")
    items.with_columns(title=pl.format("Film {}", "item")).write_parquet(folder / "items.parquet")
    write_start_tables({"ours": ARMS["ours"]}, small, folder, tmp_path / "starts")
    clusters = pl.read_csv(tmp_path / "starts" / "clusters.csv")
    assert (clusters["title"] == "Film " + clusters["item"].cast(pl.String)).all()
