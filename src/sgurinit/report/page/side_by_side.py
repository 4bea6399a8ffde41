"""The page and the table of two finished comparisons side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from sgurinit.errors import InputError
from sgurinit.experiments.folder import ComparisonFolder
from sgurinit.experiments.side_by_side import (
    ChangeRow,
    FolderPair,
    change_rows,
    differing_fields,
)
from sgurinit.experiments.summary import GROUP_METRICS, HEADLINE_METRIC
from sgurinit.experiments.sweeps import drop_sweep_cells
from sgurinit.files import write_parts, write_table
from sgurinit.report.formatting import (
    INTERVAL_TEXT,
    format_interval,
    format_metric,
    format_p_value,
    format_percent,
)
from sgurinit.report.headline import format_headline
from sgurinit.report.page.embed import embed_figure, page_head, page_tail
from sgurinit.report.page.figures.curves import draw_curves_side_by_side
from sgurinit.report.page.figures.style import Colors, arm_colors
from sgurinit.report.page.markup import (
    Cell,
    Section,
    escape,
    figure_grid,
    heading,
    navigation,
    note,
    sortable_table,
    text_cell,
)
from sgurinit.report.page.scores_section import score_cell
from sgurinit.report.page.settings_section import format_size

_DASHES = ("solid", "dot")
_Names = tuple[str, str]


def write_side_by_side(first: str | Path, second: str | Path, out: str | Path) -> Path:
    """Write an HTML page and a table that put two finished comparisons side by side.

    Parameters
    ----------
    first : str or Path
        Folder of the first comparison.
    second : str or Path
        Folder of the second comparison.
    out : str or Path
        Folder to write ``report.html`` and ``side_by_side.csv`` to, created if missing. The table
        has a row per model, arm and metric: mean and standard deviation in both, the relative
        change from the first to the second and, if both tested the same users with equally many
        seeds, ``low`` and ``high`` (its 95 % interval over users and seeds), ``p_value`` and
        ``p_holm``, adjusted for all rows of the metric.

    Returns
    -------
    Path
        The page, a self-contained file.

    Raises
    ------
    InputError
        A folder does not contain a finished comparison, both are the same, or `out` is one of
        them.

    See Also
    --------
    write_report : Report on one comparison.

    Examples
    --------
    >>> from sgurinit import compare
    >>> from sgurinit.data import planted
    >>> from sgurinit.report.page import write_side_by_side
    >>> from sgurinit.training import TrainSettings
    >>> for epochs in (1, 2):
    ...     _ = compare(
    ...         planted(200, 100),
    ...         ["bprmf"],
    ...         ["random"],
    ...         seeds=1,
    ...         out=f"epochs-{epochs}",
    ...         settings=TrainSettings(max_epochs=epochs),
    ...     )
    >>> write_side_by_side("epochs-1", "epochs-2", out="both").name
    'report.html'
    """
    pair = (ComparisonFolder.read(first), ComparisonFolder.read(second))
    folder = Path(out)
    places = [found.path.resolve() for found in pair]
    if places[0] == places[1] or folder.resolve() in places:
        raise InputError(f"{folder}: expected two comparisons and another folder for their page")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: expected a folder that can be created ({error})") from None
    rows = change_rows(pair)
    write_table(folder / "side_by_side.csv", pl.DataFrame(rows, infer_schema_length=None))
    path = folder / "report.html"
    write_parts(path, _page(pair, rows))
    return path


def _page(pair: FolderPair, rows: Sequence[ChangeRow]) -> Iterator[str]:
    names = _names(pair)
    title = f"{names[0]} and {names[1]} side by side"
    sections = _sections(pair, names, rows)
    yield page_head(title)
    yield f"<h1>{escape(title)}</h1>\n"
    for name, found in zip(names, pair, strict=True):
        headline = format_headline(found.entries, found.settings.seeds)
        size = f"{found.summary['data']['name']}: {format_size(found.summary['data'])}"
        yield heading(name)
        yield f'<p class="sub">{escape(size)}</p>\n<p class="lead">{escape(headline)}</p>\n'
    yield navigation(sections)
    for section in sections:
        yield section.html()
    yield from page_tail()


def _names(pair: FolderPair) -> _Names:
    first, second = (found.path.resolve() for found in pair)
    if first.name == second.name:
        return str(first), str(second)
    return first.name, second.name


def _sections(pair: FolderPair, names: _Names, rows: Sequence[ChangeRow]) -> list[Section]:
    shown = [entry for found in pair for entry in drop_sweep_cells(found.entries)]
    colors = arm_colors(list(dict.fromkeys(entry["arm"] for entry in shown)))
    return [
        _make_scores_section(names, rows, colors),
        _make_curves_section(pair, names, colors),
        _make_differences_section(pair, names),
    ]


def _make_scores_section(names: _Names, rows: Sequence[ChangeRow], colors: Colors) -> Section:
    parts = []
    for metric in GROUP_METRICS:
        own = [row for row in rows if row["metric"] == metric and row["arm"] in colors]
        parts += [heading(format_metric(metric)), _scores_table(metric, own, names, colors)]
    parts.append(
        note(
            f"Mean ± standard deviation over the seeds. Change: from {names[0]} to {names[1]}. "
            f"{INTERVAL_TEXT} p: bootstrap over users and seeds, Holm-adjusted for the number of "
            "rows; empty if the two runs did not test the same users with equally many seeds. "
            "Cells of sweeps are only listed in side_by_side.csv."
        )
    )
    return Section("scores", "Test results", tuple(parts), "Scores")


def _scores_table(metric: str, rows: Sequence[ChangeRow], names: _Names, colors: Colors) -> str:
    body = [
        (
            row["model"],
            [
                text_cell(row["arm"], colors[row["arm"]]),
                *(_score_cell(row, which) for which in ("first", "second")),
                Cell(format_percent(row["change"]), row["change"], format_interval(row)),
                Cell(format_p_value(row["p_holm"]), row["p_holm"]),
            ],
        )
        for row in rows
    ]
    heads = ["model", "arm", *names, "change", "p"]
    table = f"scores-{metric.partition('@')[0]}"
    return sortable_table(table, f"{format_metric(metric)} of both comparisons", heads, body)


def _score_cell(row: ChangeRow, which: str) -> Cell:
    mean = row[f"{which}_mean"]
    return Cell("") if mean is None else score_cell({"mean": mean, "sd": row[f"{which}_sd"]})


def _make_curves_section(pair: FolderPair, names: _Names, colors: Colors) -> Section:
    shared = [model for model in pair[0].settings.models if model in pair[1].settings.models]
    parts = (
        note(
            f"Validation Recall@20 by epoch, mean over the seeds. Solid: {names[0]}. Dotted: "
            f"{names[1]}."
        ),
        figure_grid(_curves_figure(pair, names, shared, at, colors) for at in range(len(shared))),
    )
    return Section("convergence", "Convergence", parts, "Convergence")


def _curves_figure(
    pair: FolderPair, names: _Names, models: Sequence[str], at: int, colors: Colors
) -> str:
    curves = (found.headline_curves(models[at]) for found in pair)
    parts = zip(names, _DASHES, curves, strict=True)
    drawn = draw_curves_side_by_side(parts, colors, HEADLINE_METRIC)
    return embed_figure(drawn, f"convergence-{at}", models[at])


def _make_differences_section(pair: FolderPair, names: _Names) -> Section:
    rows = [
        (field, [text_cell(_format(first)), text_cell(_format(second))])
        for field, first, second in differing_fields(pair)
    ]
    part = (
        sortable_table("differing", "Differences of the two", ["field", *names], rows)
        if rows
        else note("None: data, settings, versions and machine are the same.")
    )
    return Section("differences", "Differences", (part,), "Differences")


def _format(value: Any) -> str:
    if value is None:
        return "none"
    return "present" if isinstance(value, dict) else str(value)
