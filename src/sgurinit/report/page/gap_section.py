"""The section on the semantic gap in every model, before and after training."""

from __future__ import annotations

import polars as pl

from sgurinit.experiments.folder import ComparisonFolder
from sgurinit.report.page.embed import embed_figure
from sgurinit.report.page.figures.gap import draw_model_alignments
from sgurinit.report.page.figures.style import Colors
from sgurinit.report.page.markup import Section, fold, note, sortable_table, text_cell
from sgurinit.report.page.starts_section import MEANING_OF_MEASURES, MEASURES, measure_cell

_STAGES = {"start": "before", "trained": "after"}


def make_gap_section(found: ComparisonFolder, colors: Colors) -> Section | None:
    """Show the semantic gap in every model; None if the runs have not measured it."""
    gaps = found.gaps()
    if gaps is None:
        return None
    gaps = gaps.filter(pl.col("arm").is_in(list(colors)))
    parts = (
        note(
            "Measured between the vectors whose product is the model’s score, with seed 0. Hollow "
            "marks: before training. Filled marks: after training, with the tested weights."
        ),
        embed_figure(
            draw_model_alignments(gaps, colors),
            "alignments",
            "Alignment of users with their own items",
            wide=True,
        ),
        fold("Show all measures as a table", _gaps_table(gaps, colors) + note(MEANING_OF_MEASURES)),
    )
    return Section("gap", "Semantic gap in the models", parts, "Semantic gap")


def _gaps_table(gaps: pl.DataFrame, colors: Colors) -> str:
    rows = []
    for (model, arm), part in gaps.group_by("model", "arm", maintain_order=True):
        values = {(m, s): v for m, s, v in part.select("measure", "stage", "value").iter_rows()}
        cells = [measure_cell(values, (m, stage)) for m in MEASURES for stage in _STAGES]
        rows.append((str(model), [text_cell(str(arm), colors[str(arm)]), *cells]))
    heads = [f"{name}, {stage}" for name in MEASURES.values() for stage in _STAGES.values()]
    label = "Semantic gap by model and arm"
    return sortable_table("gaps-table", label, ["model", "arm", *heads], rows)
