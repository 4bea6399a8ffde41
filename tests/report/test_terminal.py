"""Tables and progress in the terminal, and the wording of figures."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sgurinit.core import SGURInit
from sgurinit.data import planted, summary
from sgurinit.experiments import Comparison, RunEvent
from sgurinit.report import wording
from sgurinit.report.inspection import data_table, start_table
from sgurinit.report.progress import RunProgress
from sgurinit.report.table import comparison_table, run_table


def printed(table: object, width: int = 80) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue().splitlines()


def test_the_comparison_fits_80_columns_uncut(comparison: Comparison) -> None:
    lines = printed(comparison_table(comparison.summary))
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "…" not in text
    for entry in comparison.summary["results"]:
        recall = entry["test"]["recall@20"]
        assert f"{recall['mean']:.4f}±{recall['sd']:.4f}" in text


def test_the_other_tables_fit_80_columns_uncut(comparison: Comparison) -> None:
    data = planted(120, 80, n_topics=6)
    start = SGURInit(n_clusters=4, reduce_to=8, random_state=0).fit(data).start_
    values = comparison.summary["results"][0]["test"]
    means = {name: metric["mean"] for name, metric in values.items()}
    for table in (
        data_table(summary(data)),
        start_table(start.diagnostics),
        run_table({"valid": means, "test": means}),
    ):
        lines = printed(table)
        assert max(map(len, lines)) <= 80
        assert "…" not in "\n".join(lines)


def entry(model: str, arm: str, mean: float, lift: float | None, p: float | None) -> dict:
    metric = {"mean": mean, "sd": None, "lift": lift, "p_value": p}
    metric["mean_difference"] = 0.0 if lift is None else lift * mean
    return {"model": model, "arm": arm, "test": {"recall@20": metric}}


def test_the_headline_says_what_came_out_whichever_way() -> None:
    entries = [
        entry("a", "random", 0.1, 0.0, 1.0),
        entry("a", "sgurinit", 0.09, -0.1, 0.0001),
        entry("a", "permuted", 0.1, None, None),
    ]
    text = wording.headline(entries, 1).replace("\u00a0", " ")
    assert (
        "0 of 1 models reach a higher test Recall@20 (mean of 1 seed): a −10.0 % (p < 0.001)."
        in text
    )
    assert text.endswith("not the meaning: a n/a.")
    assert "Highest test Recall@20: a from global, 0.2000." in wording.headline(
        [entry("a", "global", 0.2, None, None)], 3
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (None, ""),
        ([None, None], "never"),
        ([3, 5], "4"),
        ([3, None, 5], "4 (1/3 never)"),
    ],
)
def test_epochs_say_how_often_the_goal_was_missed(values: list | None, expected: str) -> None:
    assert wording.epochs(values) == expected


def test_progress_tells_of_every_run_once() -> None:
    console = Console(file=io.StringIO(), width=100)
    row = {"epoch": 0, "seconds": 0.5, "recall@20": 0.1}
    done = {"recall@20": 0.25, "best_epoch": 0, "epochs": 1, "seconds": 3.0}
    with RunProgress(console, 2, 10) as progress:
        progress(RunEvent("a/random/seed-0", "kept"))
        progress(RunEvent("a/[x]/seed-0", "start"))
        progress(RunEvent("a/[x]/seed-0", "epoch", row))
        task = progress.progress.tasks[0]
        assert task.completed == pytest.approx(1.1)
        progress(RunEvent("a/[x]/seed-0", "done", done))
        assert task.completed == 2
    text = console.file.getvalue()
    assert text.count("a/random/seed-0") == 1
    assert "a/[x]/seed-0" in text
    assert "test recall@20 0.2500, best epoch 1 of 1, 3 s" in text


def test_the_headline_of_many_models_says_how_they_spread() -> None:
    lifts = [-0.1, 0.02, 0.03, 0.05, 0.3]
    entries = [entry(f"m{n}", "random", 0.1, 0.0, None) for n in range(5)]
    entries += [entry(f"m{n}", "sgurinit", 0.1, lift, 0.5) for n, lift in enumerate(lifts)]
    entries[-1]["test"]["recall@20"]["p_holm"] = 0.01
    text = wording.headline(entries, 3).replace("\u00a0", " ")
    assert "4 of 5 models" in text
    assert "median +3.0 %, from −10.0 % (m0) to +30.0 % (m4); adjusted p < 0.05 for 1." in text
