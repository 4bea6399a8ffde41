"""Sweeps: found by the names of their arms, and drawn as heat maps."""

from __future__ import annotations

import polars as pl
import pytest

from sgurinit.experiments.sweeps import drop_sweep_cells, find_sweeps
from sgurinit.report.page.figures.scores import draw_sweep

ARMS = [
    "random",
    "my-arm",
    "one-local_weight=0.5",
    "ours-n_clusters=2-local_weight=0.1",
    "ours-n_clusters=2-local_weight=0.5",
    "ours-n_clusters=4-local_weight=0.1",
    "ours-n_clusters=4-local_weight=0.5",
    "ours-n_clusters=8-local_weight=0.1",
    "ours-n_clusters=8-local_weight=0.5",
]


@pytest.fixture
def results() -> pl.DataFrame:
    rows = [
        ("lightgcn", arm, seed, split, "all", "recall", 20, (at + 1 + 2 * seed) / 100 * factor)
        for at, arm in enumerate(ARMS)
        for seed in range(2)
        for split, factor in (("valid", 1), ("test", 7))
    ]
    columns = ["model", "arm", "seed", "split", "group", "metric", "k", "value"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def test_a_sweep_over_two_fields_is_found_and_others_are_not():
    (found,) = find_sweeps(ARMS)
    assert (found.name, found.fields) == ("ours", ("n_clusters", "local_weight"))
    assert found.arms["4", "0.5"] == "ours-n_clusters=4-local_weight=0.5"
    assert len(found.arms) == 6
    assert find_sweeps(ARMS[:3]) == []


def test_the_field_with_more_values_is_shown_in_columns():
    turned = [f"a-local_weight={w}-n_clusters={k}" for w in (0, 1) for k in (2, 4, 8)]
    (found,) = find_sweeps(turned)
    assert found.fields == ("n_clusters", "local_weight")
    assert found.arms["8", "1"] == "a-local_weight=1-n_clusters=8"


def test_cells_hold_validation_means_and_their_gain_over_random(results):
    (found,) = find_sweeps(ARMS)
    valid = results.filter(split="valid")
    (heat,) = draw_sweep(valid, found).data
    assert (list(heat.x), list(heat.y)) == (["2", "4", "8"], ["0.1", "0.5"])
    at = ARMS.index("ours-n_clusters=4-local_weight=0.5")
    assert heat.z[1][1] == pytest.approx((at + 2) / 100)
    assert heat.text[1][1] == f"{100 * ((at + 2) / 2 - 1):+.0f} %"
    (plain,) = draw_sweep(valid.filter(pl.col("arm") != "random"), found).data
    assert plain.text[1][1] == f"{(at + 2) / 100:.3f}"


def test_an_incomplete_grid_is_not_a_sweep():
    assert find_sweeps(ARMS[:-1]) == []


def test_cells_of_a_sweep_are_dropped_from_tables():
    entries = [{"model": model, "arm": arm} for model in ("a", "b") for arm in ARMS]
    listed = [(entry["model"], entry["arm"]) for entry in drop_sweep_cells(entries)]
    assert listed == [(model, arm) for model in ("a", "b") for arm in ARMS[:3]]
    cells = [entry for entry in entries if "n_clusters" in entry["arm"]]
    assert drop_sweep_cells(cells) == cells  # nothing else could be listed
