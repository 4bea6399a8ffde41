"""The sections with heat maps of sweeps over two fields."""

from __future__ import annotations

from sgurinit.experiments.folder import ComparisonFolder
from sgurinit.experiments.sweeps import find_sweeps
from sgurinit.report.page.embed import embed_figure
from sgurinit.report.page.figures.scores import draw_sweep
from sgurinit.report.page.markup import Section, figure_grid, note


def make_sweep_sections(found: ComparisonFolder) -> list[Section]:
    """Show every sweep over two fields in a section with a heat map per model."""
    sections = []
    for number, sweep in enumerate(find_sweeps(list(found.settings.arms))):
        across, down = sweep.fields
        parts = (
            note(
                "Color: validation Recall@20 at the best epoch, mean over the seeds. Text: lift "
                "over random, if random is one of the arms."
            ),
            figure_grid(
                embed_figure(
                    draw_sweep(found.headline_validation(model), sweep),
                    f"sweep-{number}-{at}",
                    model,
                )
                for at, model in enumerate(found.settings.models)
            ),
        )
        title, link = f"Sweep of {sweep.name}: {down} by {across}", "" if number else "Sweeps"
        sections.append(Section(f"sweep-{number}", title, parts, link))
    return sections
