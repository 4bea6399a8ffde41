"""Tables of scores as the page shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from sgurinit.report import wording

METRICS = {"recall@10": "Recall@10", "recall@20": "Recall@20"} | {
    "ndcg@10": "NDCG@10",
    "ndcg@20": "NDCG@20",
}


def test_scores(entries: Sequence[wording.Entry]) -> str:
    """Test metrics of every model and arm, what sets it apart from random, and its epochs."""
    best = {
        (entry["model"], metric): max(
            e["test"][metric]["mean"] for e in entries if e["model"] == entry["model"]
        )
        for entry in entries
        for metric in METRICS
    }
    heads = [
        "model",
        "arm",
        *METRICS.values(),
        "lift",
        "p",
        "best<br>epoch",
        "epochs to<br>random’s best",
    ]
    head = "".join(f"<th{' class=left' if name == 'arm' else ''}>{name}</th>" for name in heads)
    rows, shown = [], None
    for entry in entries:
        is_new = entry["model"] != shown
        shown = entry["model"]
        test = entry["test"]
        cells = [
            f'<td class="model">{escape(entry["model"]) if is_new else ""}</td>',
            f'<td class="left">{escape(entry["arm"])}</td>',
        ]
        cells += [
            _score_cell(test[metric], is_best=test[metric]["mean"] == best[entry["model"], metric])
            for metric in METRICS
        ]
        cells += [f"<td>{text}</td>" for text in _against_random(entry)]
        rows.append(f"<tr{' class=first' if is_new else ''}>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table id="results"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _score_cell(metric: Mapping[str, Any], *, is_best: bool) -> str:
    mean, _, spread = wording.score(metric).partition(" ± ")
    small = f' <span class="small">± {spread}</span>' if spread else ""
    # The exact number stays with the cell.
    return f'<td{" class=best" if is_best else ""} title="{metric["mean"]!r}">{mean}{small}</td>'


def _against_random(entry: wording.Entry) -> list[str]:
    recall = entry["test"][wording.HEADLINE_METRIC]
    best = wording.epochs([epoch + 1 for epoch in entry["best_epochs"]])
    reached = wording.epochs(entry.get("epochs_to_random_best"))
    if entry["arm"] == wording.BASELINE:
        return ["", "", best, reached]
    return [wording.lift(recall), escape(wording.p_value(recall)), best, reached]


def group_scores(entries: Sequence[wording.Entry]) -> str:
    """Test Recall@20 of every model and arm by group of users and items."""
    names = list(entries[0]["groups"])
    heads = ["model", "arm", *map(escape, names)]
    head = "".join(f"<th{' class=left' if name == 'arm' else ''}>{name}</th>" for name in heads)
    rows, shown = [], None
    for entry in entries:
        is_new = entry["model"] != shown
        shown = entry["model"]
        cells = [
            f'<td class="model">{escape(entry["model"]) if is_new else ""}</td>',
            f'<td class="left">{escape(entry["arm"])}</td>',
            *(_group_cell(entry, name) for name in names),
        ]
        rows.append(f"<tr{' class=first' if is_new else ''}>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table id="groups"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _group_cell(entry: wording.Entry, name: str) -> str:
    metric = entry["groups"][name][wording.HEADLINE_METRIC]
    gain = "" if entry["arm"] == wording.BASELINE else wording.lift(metric)
    small = f' <span class="small">{gain}</span>' if gain else ""
    return f'<td title="{metric["mean"]!r}">{wording.score(metric, spread=False)}{small}</td>'
