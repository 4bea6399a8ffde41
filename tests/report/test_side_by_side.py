"""Two comparisons side by side: numbers of the table, differences, and refused folders."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sgurinit.data import Dataset
from sgurinit.errors import InputError
from sgurinit.evaluation import bootstrap_lift
from sgurinit.experiments import Comparison, compare
from sgurinit.report.page.side_by_side import write_side_by_side
from sgurinit.training import TrainSettings

pytestmark = pytest.mark.slow  # three comparisons


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, data: Dataset) -> Comparison:
    """A comparison on the same data, with other settings of one model and another arm."""
    return compare(
        data,
        ["lightgcn"],
        ["random", "local"],
        2,
        out=tmp_path_factory.mktemp("other") / "out",
        settings=TrainSettings(max_epochs=2, patience=2),
        overrides={"lightgcn": {"n_layers": 1}},
    )


@pytest.fixture(scope="module")
def written(
    comparison: Comparison, other: Comparison, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("side-by-side") / "page"
    return write_side_by_side(comparison.folder, other.folder, out)


def test_the_table_has_both_means_and_the_interval_of_their_change(
    written: Path, comparison: Comparison, other: Comparison
) -> None:
    table = pl.read_csv(written.with_name("side_by_side.csv"))
    pairs = {(e["model"], e["arm"]) for one in (comparison, other) for e in one.summary["results"]}
    assert set(table.select("model", "arm", "metric").rows()) == {
        (*pair, metric) for pair in pairs for metric in ("recall@20", "ndcg@20")
    }
    (row,) = table.filter(model="lightgcn", arm="random", metric="recall@20").to_dicts()
    scores = []
    for found, name in ((comparison, "first"), (other, "second")):
        own = found.results.filter(
            model="lightgcn", arm="random", metric="recall", k=20, group="all", split="test"
        )["value"]
        assert row[f"{name}_mean"] == pytest.approx(own.mean())
        assert row[f"{name}_sd"] == pytest.approx(own.std())
        runs = found.folder / "runs" / "lightgcn" / "random"
        seeds = [pl.read_parquet(runs / f"seed-{seed}" / "users.parquet") for seed in range(2)]
        scores.append(np.stack([part["recall@20"].to_numpy() for part in seeds]))
    assert row["change"] == pytest.approx(row["second_mean"] / row["first_mean"] - 1)
    expected = bootstrap_lift(scores[1], scores[0])
    for field in ("low", "high", "p_value"):
        assert row[field] == pytest.approx(getattr(expected, field), abs=1e-6)
    assert row["p_holm"] == pytest.approx(row["p_value"])  # only one pair is tested
    alone = table.filter(pl.col("arm") == "local")
    assert alone["first_mean"].null_count() == alone["p_value"].null_count() == 2


def test_the_page_lists_differences_and_escapes_names(written: Path) -> None:
    text = written.read_text(encoding="utf-8")
    differing = text[text.index('id="differing"') :]
    assert "settings.models.lightgcn.n_layers" in differing
    assert "settings.train.max_epochs" in differing
    assert "settings.seeds" not in differing
    assert "alert(1)</script>" not in text
    assert re.findall(r'(?:src|href)="(?!#)', text) == []


def test_comparisons_on_different_users_are_not_tested_against_each_other(
    comparison: Comparison, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(comparison.folder, copy)
    for file in copy.glob("runs/*/*/*/users.parquet"):
        users = pl.read_parquet(file).with_columns(pl.col("user_id") + "x")
        users.write_parquet(file)
    write_side_by_side(comparison.folder, copy, tmp_path / "out")
    table = pl.read_csv(tmp_path / "out" / "side_by_side.csv")
    assert table["p_value"].null_count() == table.height
    assert table["change"].to_list() == [0.0] * table.height


def test_two_equal_folders_are_refused(comparison: Comparison, tmp_path: Path) -> None:
    for second, out in ((comparison.folder, tmp_path), (tmp_path, comparison.folder)):
        with pytest.raises(InputError):
            write_side_by_side(comparison.folder, second, out)
    assert list(tmp_path.iterdir()) == []
