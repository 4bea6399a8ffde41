"""Two finished comparisons side by side: one page and one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sgurinit.errors import InputError
from sgurinit.evaluation import holm, paired_test
from sgurinit.experiments.folder import Finished
from sgurinit.experiments.lifts import HEADLINE_METRIC
from sgurinit.experiments.sweeps import without_cells
from sgurinit.files import write_parts, write_table
from sgurinit.report import formatting
from sgurinit.report.page import figures
from sgurinit.report.page.embed import figure, head, tail
from sgurinit.report.page.markup import Cell, grid, note, section, table, text
from sgurinit.report.page.settings_section import size

_METRICS = ("recall@20", "ndcg@20")
_DASHES = ("solid", "dot")
_COMPARED = ("data", "settings", "chosen", "environment")
# What is bound to differ and says nothing of why scores do.
_IGNORED = ("data.source", "environment.platform")
Pair = tuple[Finished, Finished]
Row = dict[str, Any]


def write_side_by_side(first: str | Path, second: str | Path, out: str | Path) -> Path:
    """Write a page and a table that put two finished comparisons side by side.

    Parameters
    ----------
    first, second
        Where `compare` left its tables.
    out
        Folder to write to, made if absent: ``report.html`` and ``beside.csv``, a row per model, arm
        and metric with mean and standard deviation in both, the relative change from the first to
        the second and, where both tested the same users, p of a paired t-test over them on scores
        averaged over the seeds, and that adjusted for all rows of a metric (Holm).

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        One of the two is no finished comparison, both are the same folder, or `out` is one of them.
    """
    pair = (Finished.read(first), Finished.read(second))
    folder = Path(out)
    places = [found.folder.resolve() for found in pair]
    if places[0] == places[1] or folder.resolve() in places:
        raise InputError(f"{folder}: expected two comparisons and another folder for their page")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: expected a folder that can be made ({error})") from None
    rows = [row for metric in _METRICS for row in _adjusted(_rows(pair, metric))]
    write_table(folder / "beside.csv", pl.DataFrame(rows, infer_schema_length=None))
    path = folder / "report.html"
    write_parts(path, _page(pair, rows))
    return path


def _rows(pair: Pair, metric: str) -> list[Row]:
    """Scores of every model and arm that either has."""
    entries = [{(e["model"], e["arm"]): e["test"][metric] for e in found.entries} for found in pair]
    rows = []
    pairs = list(dict.fromkeys([*entries[0], *entries[1]]))
    models = list(dict.fromkeys(model for model, _ in pairs))
    for model, arm in sorted(pairs, key=lambda known: models.index(known[0])):
        one, two = (own.get((model, arm)) for own in entries)
        row: Row = {"model": model, "arm": arm, "metric": metric}
        for name, found in (("first", one), ("second", two)):
            row[f"{name}_mean"] = found and found["mean"]
            row[f"{name}_sd"] = found and found["sd"]
        row["change"] = two["mean"] / one["mean"] - 1 if one and two and one["mean"] else None
        row["p_value"] = _p_value(pair, model, arm, metric) if one and two else None
        rows.append(row)
    return rows


def _adjusted(rows: list[Row]) -> list[Row]:
    known = [row for row in rows if row["p_value"] is not None]
    adjusted = dict(zip(map(id, known), holm([row["p_value"] for row in known]), strict=True))
    return [{**row, "p_holm": adjusted.get(id(row))} for row in rows]


def _p_value(pair: Pair, model: str, arm: str, metric: str) -> float | None:
    """Of the difference over users; None where the two did not test the same users."""
    scores = [_per_user(found, model, arm, metric) for found in pair]
    one, two = scores
    if one is None or two is None or not one["user_id"].equals(two["user_id"]):
        return None
    p = paired_test(two["score"].to_numpy(), one["score"].to_numpy()).p_value
    return None if np.isnan(p) else p


def _per_user(found: Finished, model: str, arm: str, metric: str) -> pl.DataFrame | None:
    """Test scores by user, averaged over the seeds; None where the runs are not kept."""
    runs = found.folder / "runs" / model / arm
    files = [runs / f"seed-{seed}" / "users.parquet" for seed in range(found.settings.seeds)]
    if not all(file.is_file() for file in files):
        return None
    seeds = [pl.read_parquet(file, columns=["user_id", metric]) for file in files]
    mean = pl.DataFrame({str(n): part[metric] for n, part in enumerate(seeds)}).mean_horizontal()
    return seeds[0].select("user_id").with_columns(score=mean)


def _page(pair: Pair, rows: list[Row]) -> Iterator[str]:
    names = _names(pair)
    title = f"{names[0]} beside {names[1]}"
    arms = list(dict.fromkeys(e["arm"] for own in pair for e in without_cells(own.entries)))
    colours = figures.arm_colours(arms)
    yield head(title)
    yield f"<h1>{escape(title)}</h1>\n"
    for name, found in zip(names, pair, strict=True):
        said = formatting.headline(found.entries, found.settings.seeds)
        facts = f"{found.summary['data']['name']}: {size(found.summary['data'])}"
        yield f'<h3>{escape(name)}</h3>\n<p class="sub">{escape(facts)}</p>\n'
        yield f'<p class="lead">{escape(said)}</p>\n'
    for metric in _METRICS:
        scores = [row for row in rows if row["metric"] == metric and row["arm"] in colours]
        yield section(
            metric.partition("@")[0],
            f"Test {formatting.title(metric)}",
            _scores(metric, scores, names, colours),
        )
    yield note(
        f"Mean ± standard deviation over the seeds. Change: from {names[0]} to {names[1]}. p: "
        "paired t-test over users on scores averaged over the seeds, adjusted for being several "
        "rows (Holm), where both runs tested the same users. Cells of a sweep are in the table on "
        "disk, beside.csv."
    )
    shared = [model for model in pair[0].settings.models if model in pair[1].settings.models]
    yield section(
        "convergence",
        "Convergence",
        note(
            f"Validation Recall@20 by epoch, mean over the seeds. Solid: {names[0]}. Dotted: "
            f"{names[1]}."
        ),
        grid(_curves(pair, names, model, colours, at) for at, model in enumerate(shared)),
    )
    yield section("differences", "What differs", _differences(pair, names))
    yield from tail()


def _names(pair: Pair) -> tuple[str, str]:
    first, second = (found.folder.resolve() for found in pair)
    if first.name == second.name:
        return str(first), str(second)
    return first.name, second.name


def _scores(
    metric: str, rows: list[Row], names: tuple[str, str], colours: Mapping[str, str]
) -> str:
    body = [
        (
            row["model"],
            [
                text(row["arm"], colours[row["arm"]]),
                _score(row["first_mean"], row["first_sd"]),
                _score(row["second_mean"], row["second_sd"]),
                Cell(formatting.lift({"lift": row["change"]}), row["change"]),
                Cell(formatting.p_value({"p_holm": row["p_holm"]}), row["p_holm"]),
            ],
        )
        for row in rows
    ]
    heads = ["model", "arm", *names, "change", "p"]
    return table(f"beside-{metric[0]}", f"{formatting.title(metric)} of both", heads, body)


def _score(mean: float | None, sd: float | None) -> Cell:
    if mean is None:
        return Cell("")
    return Cell(f"{mean:.4f}", mean, "" if sd is None else f"± {sd:.4f}")


def _curves(
    pair: Pair, names: tuple[str, str], model: str, colours: Mapping[str, str], at: int
) -> str:
    parts = zip(names, _DASHES, (found.curves(model) for found in pair), strict=True)
    drawn = figures.beside(parts, colours, HEADLINE_METRIC)
    return figure(drawn, f"convergence-{at}", model)


def _differences(pair: Pair, names: tuple[str, str]) -> str:
    """Every setting, fact of the data and version that the two do not share."""
    kept = [{part: found.summary.get(part) for part in _COMPARED} for found in pair]
    rows = [
        (field, [text(_said(one)), text(_said(two))])
        for field, one, two in _differing(kept[0], kept[1])
        if field not in _IGNORED
    ]
    if not rows:
        return note("Nothing: data, settings, versions and machine are the same.")
    return table("differing", "What differs between the two", ["field", *names], rows)


def _differing(one: Any, two: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Fields, by their path, in which two nested objects differ; what only one has as a whole."""
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        for key in dict.fromkeys([*one, *two]):
            path = f"{prefix}.{key}" if prefix else str(key)
            yield from _differing(one.get(key), two.get(key), path)
    elif one != two:
        yield prefix, one, two


def _said(value: Any) -> str:
    if value is None:
        return "none"
    return "there" if isinstance(value, Mapping) else str(value)
