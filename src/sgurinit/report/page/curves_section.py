"""The section with the learning curves."""

from __future__ import annotations

from sgurinit.experiments.folder import ComparisonFolder
from sgurinit.experiments.summary import HEADLINE_METRIC
from sgurinit.report.page.embed import embed_figure
from sgurinit.report.page.figures.curves import draw_curves
from sgurinit.report.page.figures.style import Colors
from sgurinit.report.page.markup import Section, figure_grid, note


def make_curves_section(found: ComparisonFolder, colors: Colors) -> Section:
    """Show the learning curves of every model."""
    parts = (
        note(
            "Validation Recall@20 by epoch; epoch 0 is the start. Thin lines: single seeds. Thick "
            "lines: their mean, up to where the first seed stops. Dots: best epochs, whose weights "
            "are tested."
        ),
        figure_grid(
            embed_figure(
                draw_curves(found.headline_curves(model), colors, HEADLINE_METRIC),
                f"convergence-{at}",
                model,
            )
            for at, model in enumerate(found.settings.models)
        ),
    )
    return Section("convergence", "Convergence", parts, "Convergence")
