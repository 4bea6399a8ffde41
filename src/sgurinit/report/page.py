"""The page of a comparison: one HTML file that asks nothing of the network."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.io import to_html
from plotly.offline import get_plotlyjs

from sgurinit.experiments import Comparison, ComparisonSettings, load_comparison
from sgurinit.experiments.reproduce import command
from sgurinit.files import write_text
from sgurinit.report import wording
from sgurinit.report.figures import convergence, sweep
from sgurinit.report.scores import group_scores, test_scores
from sgurinit.report.sweeps import find_sweeps, without_cells

_STYLE = """
:root { color-scheme: light; --ink: #1a1a1a; --soft: #5c5c5c; --line: #dcdcdc; --accent: #0072b2; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); margin: 0 auto; max-width: 72rem;
  padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: 0; }
p { max-width: 48rem; }
.lead { font-size: 1.15rem; border-left: 4px solid var(--accent); padding-left: 1rem;
  margin: 1.25rem 0; }
.note, .sub { color: var(--soft); font-size: .9rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
th, td { padding: .35rem .55rem; text-align: right; border-bottom: 1px solid var(--line); }
th { font-weight: 600; font-size: .85rem; color: var(--soft); vertical-align: bottom; }
th:first-child, td:first-child, th.left, td.left { text-align: left; }
th:first-child, td:first-child { padding-left: 0; }
tr.first td { border-top: 2px solid #999; }
td.best { font-weight: 700; }
td.model { font-weight: 600; }
.small { color: var(--soft); font-size: .8em; font-weight: 400; }
/* auto-fill: figures are drawn while the page is read, before the grid knows how many. */
.grid > div { min-width: 0; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(26rem, 1fr)); gap: 1.5rem; }
.facts td { white-space: normal; text-align: left; vertical-align: top; }
.facts td:first-child { color: var(--soft); white-space: nowrap; }
pre { background: #f5f5f5; padding: .75rem 1rem; overflow-x: auto; border-radius: 4px;
  font-size: .85rem; white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 34rem) { .grid { grid-template-columns: 1fr; } }
"""


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` into the folder of a finished comparison.

    Parameters
    ----------
    folder
        Where `compare` left its tables.

    Returns
    -------
    Path
        The page, self-contained.

    Raises
    ------
    InputError
        There is no finished comparison in the folder.
    """
    comparison = load_comparison(folder)
    path = comparison.folder / "report.html"
    write_text(path, _page(comparison))
    return path


def _page(comparison: Comparison) -> str:
    summary = comparison.summary
    data, entries = summary["data"], summary["results"]
    settings = ComparisonSettings.model_validate(summary["settings"])
    shown = without_cells(entries)
    listed = list(dict.fromkeys(entry["arm"] for entry in shown))
    title = f"User starts compared on {data['name']}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="sub">{_size(data)}</p>',
        f'<p class="lead">{escape(wording.headline(entries, settings.seeds))}</p>',
        "<h2>Test results</h2>",
        test_scores(shown),
        f'<p class="note">{escape(_protocol(settings))}</p>',
        *_swept(comparison, settings),
        *_by_group(shown),
        "<h2>Convergence</h2>",
        '<p class="note">Validation Recall@20 by epoch. Thin: one seed. Thick: their mean, up to '
        "where the first seed stops. Dots: best epochs.</p>",
        _curves(comparison, settings, listed),
        "<h2>Data and settings</h2>",
        _facts(_described(summary, settings)),
        "<h2>Make it again</h2>",
        f"<pre>{escape(_command(comparison, settings))}</pre>",
    ]
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>",
            f"<script>{get_plotlyjs()}</script>\n</head>\n<body>",
            *body,
            "</body>\n</html>\n",
        ]
    )


def _command(comparison: Comparison, settings: ComparisonSettings) -> str:
    summary = comparison.summary
    return command(settings, summary["data"]["source"], str(comparison.folder), summary["file"])


def _protocol(settings: ComparisonSettings) -> str:
    seeds = f"{settings.seeds} seed{'s' if settings.seeds > 1 else ''}"
    left_out = (
        "validation items are left out as well"
        if settings.mask_valid
        else ("validation items stay in, as is usual in the literature")
    )
    return (
        f"Mean ± standard deviation over {seeds}; best mean of each model in bold. Lift is "
        "relative to the random start, p is from a paired t-test over users on scores averaged "
        "over the seeds, adjusted for being several models (Holm); both are of Recall@20. All "
        f"items that a user has not trained on are ranked; {left_out}. Test data was read once "
        "per run, at the best validation epoch. "
        "“Epochs to random’s best” counts the epochs until validation reached the random arm’s "
        "best score of the same seed."
    )


def _size(data: Mapping[str, Any]) -> str:
    modalities = ", ".join(f"{m} ({facts['width']}-d)" for m, facts in data["modalities"].items())
    return escape(
        f"{data['n_users']:,} users, {data['n_items']:,} items, {data['n_train']:,} training "
        f"interactions; {modalities}"
    )


def _by_group(entries: Sequence[wording.Entry]) -> Iterator[str]:
    """Section on kinds of users and items, where there are any."""
    if any(entry.get("groups") for entry in entries):
        yield "<h2>Who gains: users and items by kind</h2>"
        yield group_scores(entries)
        yield (
            '<p class="note">Test Recall@20, and what is gained over random. Users by the number '
            "of their training interactions. Items by popularity: the group’s items alone count "
            "as hits, all items are ranked, but for “cold among cold”, where items without any "
            "training interaction alone are ranked.</p>"
        )


def _swept(comparison: Comparison, settings: ComparisonSettings) -> Iterator[str]:
    """Section on each sweep over two fields."""
    for number, found in enumerate(find_sweeps(list(settings.arms))):
        across, down = found.fields
        yield f"<h2>{escape(found.name)}: {escape(down)} by {escape(across)}</h2>"
        yield (
            '<p class="note">Validation Recall@20 at the best epoch, mean over the seeds, and gain '
            "over random where that is an arm.</p>"
        )
        figures = {
            model: sweep(comparison.results, model, found, wording.HEADLINE_METRIC)
            for model in settings.models
        }
        yield _grid(figures, f"sweep-{number}")


def _curves(comparison: Comparison, settings: ComparisonSettings, arms: Sequence[str]) -> str:
    figures = {
        model: convergence(comparison.curves, model, arms, wording.HEADLINE_METRIC)
        for model in settings.models
    }
    return _grid(figures, "convergence")


def _grid(figures: Mapping[str, go.Figure], name: str) -> str:
    """Figures side by side, one per model."""
    parts = []
    for number, (model, figure) in enumerate(figures.items()):
        html = to_html(
            figure,
            full_html=False,
            include_plotlyjs=False,
            div_id=f"{name}-{number}",
            config={"displaylogo": False, "responsive": True, "displayModeBar": False},
        )
        parts.append(f"<div><h3>{escape(model)}</h3>{html}</div>")
    return f'<div class="grid">{"".join(parts)}</div>'


def _described(
    summary: Mapping[str, Any], settings: ComparisonSettings
) -> Iterable[tuple[str, str]]:
    data, environment = summary["data"], summary["environment"]
    yield (
        "data",
        f"{data['name']} ({data['layout']} layout), fingerprint {data['fingerprint'][:16]}",
    )
    yield (
        "interactions",
        f"{data['n_train']:,} train, {data['n_valid']:,} validation, {data['n_test']:,} test",
    )
    yield "training", _fields(settings.train.model_dump(mode="json"))
    for name, fields in settings.models.items():
        yield f"model {name}", _fields(fields)
    for name, fields in settings.arms.items():
        own = {field: value for field, value in fields.items() if field != "kind"}
        kind = "" if fields["kind"] == name else f"{fields['kind']}: "
        yield f"arm {name}", kind + (_fields(own) or "the model’s own start")
    yield "seeds", ", ".join(str(seed) for seed in range(settings.seeds))
    seconds = sum(sum(entry["seconds"]) for entry in summary["results"])
    yield "time", f"{seconds:,.0f} s of training and validation, all runs together"
    git = environment["git"]
    source = (
        ""
        if git is None
        else f", source {git['commit'][:12]}{' (changed)' if git['dirty'] else ''}"
    )
    yield "versions", _fields(environment["versions"], " ") + source
    yield "machine", f"{environment['cpu']}, {environment['cores']} cores"


def _fields(fields: Mapping[str, Any], joint: str = " = ") -> str:
    def word(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value)

    return ", ".join(f"{name}{joint}{word(value)}" for name, value in fields.items())


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td>{escape(a)}</td><td>{escape(b)}</td></tr>" for a, b in rows)
    return f'<table class="facts"><tbody>{cells}</tbody></table>'
