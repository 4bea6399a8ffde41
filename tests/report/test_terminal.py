"""Tables and progress in the terminal, and the format of numbers."""

from __future__ import annotations

import io
import re
import time
from dataclasses import replace

import pytest
from rich.console import Console

from sgurinit.core import SGURInit
from sgurinit.core.content_agreement import ContentAgreement
from sgurinit.data import planted, summarize
from sgurinit.data.prepare import Card, Step
from sgurinit.experiments import Comparison, RunEvent
from sgurinit.report.content_agreement import MEANING_OF_AGREEMENT
from sgurinit.report.formatting import (
    INTERVAL_TEXT,
    format_convergence,
    format_epoch_limit,
    format_epochs,
)
from sgurinit.report.headline import format_headline
from sgurinit.report.terminal.card import card_table
from sgurinit.report.terminal.dataset import data_table
from sgurinit.report.terminal.progress import RunProgress, StageProgress, _short
from sgurinit.report.terminal.scores import comparison_table, run_table
from sgurinit.report.terminal.start import start_table


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


def test_long_names_are_folded_and_never_cut(comparison: Comparison) -> None:
    arm = "collaborative-local_weight=0.5-n_clusters=16-local_norm=mean"
    results = [{**entry, "model": "averylongname" * 2} for entry in comparison.summary["results"]]
    results[1] = {**results[1], "arm": arm}
    lines = printed(comparison_table({**comparison.summary, "results": results}))
    assert max(map(len, lines)) <= 80
    assert "…" not in "\n".join(lines)
    # The folded name stands in one column, from top to bottom.
    column = lines[1].index("arm")
    assert arm in "".join(line[column:].split(" ")[0] for line in lines)


def test_tables_of_a_large_data_set_fit_80_columns_uncut() -> None:
    data = planted(120, 80, n_topics=6)
    large = summarize(data)
    text = large.modalities["text"]
    assert text.agreement is not None
    many = replace(text.agreement, value=0.000123456, standard_error=0.0000123, n_items=1_234_567)
    wide = replace(text, width=16_384, missing_rows=1_234_567, zero_rows=1_234_567, agreement=many)
    large = replace(
        large,
        n_users=123_456_789,
        users_without_train=12_345_678,
        n_train=12_345_678_901,
        modalities={"clip_vit_large_patch14_titles": wide, "text": text},
    )
    found = SGURInit(n_clusters=4, joint_dim=8, random_state=0).fit(data).start_.diagnostics
    own = replace(found.modalities["text"], cluster_sizes=(123_456, 1_234_567))
    own = replace(own, items_without_features=1_234_567)
    start = replace(found, n_users=123_456_789, modalities={"clip_vit_large_patch14_titles": own})
    steps = tuple(Step(name, 123_456_789, 12_345_678, 1_234_567) for name in ("as read", "5-core"))
    card = Card(
        name="large",
        source="reviews.json.gz",
        recognized_as="Amazon reviews: user from reviewerID, item from asin, value from overall",
        options={"split": "leave-one-out", "ratios": [80, 10, 10], "seed": 123_456},
        steps=steps,
        splits=dict.fromkeys(("train", "valid", "test"), steps[0]),
        test_pairs_on_untrained_items=12_345_678,
        test_pairs_of_untrained_users=12_345_678,
        items_described=1_234_567,
        versions={},
    )
    for table in (data_table(large), start_table(start), card_table(card)):
        lines = printed(table)
        assert max(map(len, lines)) <= 80
        assert "…" not in "\n".join(lines)


def test_the_agreement_of_each_modality_is_shown_with_its_meaning() -> None:
    facts = summarize(planted(120, 80, n_topics=6))
    text = facts.modalities["text"]
    agreement = ContentAgreement(
        value=0.40249, standard_error=0.01234, chance=0.0095, ratio=42.367, k=10, n_items=1_234,
        n_sampled=1_234,
    )  # fmt: skip
    shown = replace(facts, modalities={"text": replace(text, agreement=agreement)})
    lines = [" ".join(line.split()) for line in printed(data_table(shown))]
    assert "text 0.402 ± 0.01 0.00950 42.4 1,234" in lines
    assert MEANING_OF_AGREEMENT in " ".join(lines)
    unknown = replace(facts, modalities={"text": replace(text, agreement=None)})
    assert not any("chance" in line for line in printed(data_table(unknown)))


@pytest.mark.slow
def test_a_stage_shows_its_rate_and_the_time_left_and_prints_a_line_if_it_was_long() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    with StageProgress(console) as progress:
        progress("short", 0, 0)
        progress("reading", 0, 4_000_000)
        for done in (1_000_000, 2_000_000, 3_000_000):
            time.sleep(0.06)
            progress("reading", done, 4_000_000)
        time.sleep(1)
        progress.progress.refresh()
        progress("reading", 4_000_000, 4_000_000)
    text = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", console.file.getvalue())
    assert re.search(r"reading .* 75 % +[\d.]+[kM]/s +0:00:01 +0:00:0\d", text)
    assert re.search(r"reading +1\.\d s\n", text)
    assert not re.search(r"short +\d\.\d s", text)


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0.25, "0.25"), (12.34, "12.3"), (1_234, "1.23k"), (2.5e6, "2.5M"), (3e9, "3G")],
)
def test_rates_are_short(number: float, expected: str) -> None:
    assert _short(number) == expected


def test_the_other_tables_fit_80_columns_uncut(comparison: Comparison) -> None:
    data = planted(120, 80, n_topics=6)
    start = SGURInit(n_clusters=4, joint_dim=8, random_state=0).fit(data).start_
    values = comparison.summary["results"][0]["test"]
    means = {name: metric["mean"] for name, metric in values.items()}
    for table in (
        data_table(summarize(data)),
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


def test_the_headline_reports_gains_and_losses() -> None:
    entries = [
        entry("a", "random", 0.1, 0.0, 1.0),
        entry("a", "sgurinit", 0.09, -0.1, 0.0001),
        entry("a", "permuted", 0.1, None, None),
    ]
    entries[1]["test"]["recall@20"] |= {"p_holm": 0.0001, "low": -0.12, "high": -0.08}
    text = format_headline(entries, 1).replace("\u00a0", " ")
    assert text.startswith(
        "With sgurinit instead of random initialization, test Recall@20 (1 seed) rises "
        "significantly in 0 of 1 model and falls significantly in 1: a −10.0 % (−12.0, −8.0)*."
    )
    assert text.endswith("meaning removed): a n/a.")
    assert "Highest test Recall@20: 0.2000, by a with global." in format_headline(
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
def test_epochs_show_how_many_seeds_missed_the_goal(values: list | None, expected: str) -> None:
    assert format_epochs(values) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], ""),
        ([None], "never"),
        ([3, 5], "4"),
        ([0, 0], "0 (there before training)"),
        ([0, 4], "2 (1/2 there before training)"),
        ([0, None], "0 (1/2 never) (1/2 there before training)"),
    ],
)
def test_a_start_that_is_there_before_training_is_not_called_fast(
    values: list, expected: str
) -> None:
    assert format_convergence(values) == expected


def test_arms_are_shown_next_to_their_controls_in_80_columns() -> None:
    def compared(lift: float, p: float) -> dict:
        score = {"lift": lift, "low": lift - 0.015, "high": lift + 0.016, "p_holm": p}
        return {"recall@20": {**score, "mean": 0.1, "sd": 0.012}, "ndcg@20": {"mean": 0.05}}

    arms = ["random", "sgurinit", "permuted", "random-scaled", "hybrid", "hybrid-shuffled"]
    results = [
        {"model": model, "arm": arm, "test": compared(0.033, 0.01), "best_epochs": [999, 999]}
        for model in ("lightgcn", "freedom")
        for arm in arms
    ]
    for entry in results:
        others = [arm for arm in arms if arm not in ("random", entry["arm"])]
        entry["against"] = {arm: compared(0.123, 0.2) for arm in others}
    for entry in results:
        if entry["arm"] == "random":
            entry["test"]["recall@20"] = {"mean": 0.1, "sd": 0.012}
    for width in (80, 120):
        lines = printed(comparison_table({"results": results}), width)
        assert max(map(len, lines)) <= width
        assert "…" not in "\n".join(lines)
        words = [" ".join(line.split()) for line in lines]
        assert "lightgcn random 0.1000±0.0120 0.0500 999" in words
        assert "sgurinit 0.1000±0.0120 0.0500 +3.3% (+1.8, +4.9)* 999" in words
        both = "+3.3% (+1.8, +4.9)* +12.3% (+10.8, +13.9)"
        assert f"lightgcn sgurinit permuted {both}" in words
        assert f"random-scaled {both}" in words
        assert f"hybrid hybrid-shuffled {both}" in words
        assert INTERVAL_TEXT in " ".join(words)


def test_progress_shows_every_run_once() -> None:
    console = Console(file=io.StringIO(), width=100)
    row = {"epoch": 0, "seconds": 0.5, "recall@20": 0.1}
    done = {"recall@20": 0.25, "best_epoch": 0, "epochs": 1, "seconds": 3.0}
    failed = {"recall@20": 0.0, "best_epoch": 0, "epochs": 0, "seconds": 0.0}
    with RunProgress(console, 2, 10) as progress:
        progress(RunEvent("a/random/seed-0", "kept"))
        progress(RunEvent("a/[x]/seed-0", "begin"))
        progress(RunEvent("a/[x]/seed-0", "step", step="initial user vectors"))
        assert progress.progress.tasks[1].fields["status"] == "initial user vectors"
        progress(RunEvent("a/[x]/seed-0", "epoch", row))
        task, own = progress.progress.tasks
        assert own.fields["status"] == "epoch 0, R@20 0.1000"  # the start has no epochs per second
        assert task.completed == 1
        progress(RunEvent("a/[x]/seed-0", "epoch", {**row, "epoch": 1}))
        assert own.fields["status"] == "epoch 1, 2.0/s, R@20 0.1000"
        assert task.completed == pytest.approx(1.1)
        progress(RunEvent("a/[x]/seed-0", "done", done))
        assert task.completed == 2
        progress(RunEvent("", "step", step="tables"))
        assert task.fields["status"] == "tables"
    with RunProgress(console, 2, 10) as progress:
        for run in ("b/x/trial-0", "b/x/trial-1"):
            progress(RunEvent(run, "begin"))
        progress(RunEvent("b/x/trial-0", "done", failed))
    text = console.file.getvalue()
    assert text.count("a/random/seed-0") == 1
    assert "a/[x]/seed-0" in text
    assert "test recall@20 0.2500, best epoch 0 of 1, 3 s" in text
    assert "valid recall@20 0.0000, best epoch 0 of 0, 0 s" in text


def test_progress_fits_80_columns_and_cuts_no_number() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    row = {"epoch": 123, "seconds": 0.1, "recall@20": 0.5}
    with RunProgress(console, 300, 1000) as progress:
        for label in (
            "lightgcn/random/seed-0",
            "lightgcn/k-n_clusters=16-local_weight=0.1/trial-0",
        ):
            progress(RunEvent(label, "begin"))
            progress(RunEvent(label, "epoch", row))
            if label.endswith("seed-0"):
                progress.progress.refresh()
        progress.progress.tasks[0].start_time -= 40_000
        progress.progress.refresh()
    shown = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", console.file.getvalue()).replace("\r", "\n")
    assert max(map(len, shown.splitlines())) <= 80
    assert "lightgcn/random/seed-0 " in shown
    assert "epoch 123, 10.0/s, R@20 0.5000 0:00:00" in shown
    assert re.search(r"all runs .* 0/300 runs +11:06:4\d \S*\d:\d\d:\d\d", shown)
    assert re.search(r"lightgcn/k\S*… .* epoch 123, 10.0/s, R@20 0.5000 0:00:00", shown)


def test_the_headline_of_many_models_reports_their_spread() -> None:
    lifts = [-0.1, 0.02, 0.03, 0.05, 0.3]
    entries = [entry(f"m{n}", "random", 0.1, 0.0, None) for n in range(5)]
    entries += [entry(f"m{n}", "sgurinit", 0.1, lift, 0.5) for n, lift in enumerate(lifts)]
    entries[-1]["test"]["recall@20"]["p_holm"] = 0.01
    text = format_headline(entries, 3).replace("\u00a0", " ")
    assert "significantly in 1 of 5 models and falls significantly in 0: median" in text
    assert "median +3.0 %, from −10.0 % (m0) to +30.0 % (m4)." in text


def test_the_headline_compares_hybrid_with_collaborative() -> None:
    entries = [
        entry("a", "random", 0.1, 0.0, None),
        entry("a", "collaborative", 0.1, 0.1, 0.5),
        entry("a", "hybrid", 0.1, 0.12, 0.5),
    ]
    compared = entry("a", "hybrid", 0.1, 0.018, 0.3)["test"]
    compared["recall@20"] |= {"p_holm": 0.3, "low": -0.02, "high": 0.0604}
    entries[2]["against"] = {"collaborative": compared}
    text = format_headline(entries, 1).replace("\u00a0", " ")
    assert text.endswith("Hybrid against interactions only: a +1.8 % (−2.0, +6.0).")


def test_runs_at_the_epoch_limit_are_named() -> None:
    def limited(model: str, arm: str, n: int) -> dict:
        return {"model": model, "arm": arm, "epochs": [5, 5], "at_epoch_limit": n}

    assert format_epoch_limit([{"model": "a", "arm": "random", "epochs": [5]}]) == ""
    entries = [limited("a", "random", 0), limited("a", "x", 1), limited("b", "x", 2)]
    assert format_epoch_limit(entries) == (
        "x stopped at the epoch limit in 3 of 4 runs of a, b: its score is not final; "
        "raise max_epochs"
    )
    entries[0] = limited("a", "random", 2)
    assert format_epoch_limit(entries) == (
        "random stopped at the epoch limit in 2 of 2 runs of a: its score, and every lift over "
        "it, is not final; raise max_epochs"
    )
