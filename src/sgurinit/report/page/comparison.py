"""The page of a comparison: a single HTML file that makes no network requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sgurinit.experiments import Comparison
from sgurinit.experiments.folder import ComparisonFolder
from sgurinit.experiments.reproduce import format_command
from sgurinit.experiments.sweeps import drop_sweep_cells
from sgurinit.files import write_parts
from sgurinit.report.headline import format_headline
from sgurinit.report.page.clusters_section import make_clusters_section
from sgurinit.report.page.curves_section import make_curves_section
from sgurinit.report.page.embed import page_head, page_tail
from sgurinit.report.page.figures.style import arm_colors
from sgurinit.report.page.gap_section import make_gap_section
from sgurinit.report.page.groups_section import make_cold_items_section, make_groups_section
from sgurinit.report.page.markup import Section, escape, navigation
from sgurinit.report.page.scores_section import make_scores_section
from sgurinit.report.page.settings_section import format_size, make_settings_section
from sgurinit.report.page.starts_section import make_starts_section
from sgurinit.report.page.sweeps_section import make_sweep_sections


def write_report(comparison: Comparison | str | Path) -> Path:
    """Write the HTML report of a finished comparison.

    Parameters
    ----------
    comparison : Comparison, str or Path
        A comparison, or its folder. The report is written into the folder as ``report.html``.

    Returns
    -------
    Path
        The report, a self-contained file.

    Raises
    ------
    InputError
        The folder does not contain a finished comparison.

    See Also
    --------
    write_side_by_side : Report on two comparisons.
    sgurinit.experiments.compare : Run a comparison.

    Examples
    --------
    >>> from sgurinit import compare
    >>> from sgurinit.data import planted
    >>> from sgurinit.report.page import write_report
    >>> from sgurinit.training import TrainSettings
    >>> short = TrainSettings(max_epochs=2)
    >>> found = compare(planted(200, 100), ["bprmf"], ["random"], 1, out="study", settings=short)
    >>> write_report(found).name
    'report.html'
    """
    folder = comparison.folder if isinstance(comparison, Comparison) else comparison
    found = ComparisonFolder.read(folder)
    path = found.path / "report.html"
    write_parts(path, _page(found))
    return path


def _page(found: ComparisonFolder) -> Iterator[str]:
    data = found.summary["data"]
    title = f"User initializations compared on {data['name']}"
    headline = format_headline(found.entries, found.settings.seeds)
    sections = _sections(found)
    yield page_head(title)
    yield f'<h1>{escape(title)}</h1>\n<p class="sub">{escape(format_size(data))}</p>\n'
    yield f'<p class="lead">{escape(headline)}</p>\n'
    yield navigation(sections)
    for section in sections:
        yield section.html()
    yield from page_tail()


def _sections(found: ComparisonFolder) -> list[Section]:
    shown = drop_sweep_cells(found.entries)
    colors = arm_colors(list(dict.fromkeys(entry["arm"] for entry in shown)))
    sections = [
        make_scores_section(found, shown, colors),
        *make_sweep_sections(found),
        make_groups_section(shown, colors),
        make_cold_items_section(shown, colors),
        make_curves_section(found, colors),
        make_starts_section(found, colors),
        make_gap_section(found, colors),
        make_clusters_section(found),
        make_settings_section(found, colors),
        _make_reproduction_section(found),
    ]
    return [section for section in sections if section is not None]


def _make_reproduction_section(found: ComparisonFolder) -> Section:
    summary, out = found.summary, str(found.path)
    source, file, data = summary["data"]["source"], summary.get("file"), summary.get("data_option")
    command = format_command(found.settings, source, out, file, data)
    parts = (f"<pre>{escape(command)}</pre>\n",)
    return Section("reproduce", "How to reproduce it", parts, "Reproduce")
