"""The page of a comparison: one HTML file that asks nothing of the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from sgurinit.arms import BASELINE
from sgurinit.evaluation.groups import AMONG_COLD, COLD
from sgurinit.experiments.folder import Finished
from sgurinit.experiments.lifts import HEADLINE_METRIC, Entry
from sgurinit.experiments.reproduce import command
from sgurinit.experiments.sweeps import find_sweeps, without_cells
from sgurinit.files import write_parts
from sgurinit.report import formatting
from sgurinit.report.page import figures
from sgurinit.report.page.embed import figure, head, tail
from sgurinit.report.page.markup import folded, grid, note, section
from sgurinit.report.page.scores_section import cold_scores, group_scores, test_scores
from sgurinit.report.page.semantic_gap import clusters, semantic_gap
from sgurinit.report.page.settings_section import chosen_settings, data_and_settings, protocol, size

Colours = Mapping[str, str]


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
    found = Finished.read(folder)
    path = found.folder / "report.html"
    write_parts(path, _page(found))
    return path


def _page(found: Finished) -> Iterator[str]:
    shown = without_cells(found.entries)
    colours = figures.arm_colours(list(dict.fromkeys(entry["arm"] for entry in shown)))
    data = found.summary["data"]
    title = f"User starts compared on {data['name']}"
    yield head(title)
    yield f'<h1>{escape(title)}</h1>\n<p class="sub">{escape(size(data))}</p>\n'
    said = formatting.headline(found.entries, found.settings.seeds)
    yield f'<p class="lead">{escape(said)}</p>\n'
    yield _contents(found, shown)
    yield from _scores(found, shown, colours)
    yield from _swept(found)
    yield from _by_group(shown, colours)
    yield from _cold(shown, colours)
    yield from _convergence(found, colours)
    yield from semantic_gap(found, colours)
    yield from clusters(found)
    yield from _settings(found, colours)
    again = command(found.settings, data["source"], str(found.folder), found.summary.get("file"))
    yield section("again", "Make it again", f"<pre>{escape(again)}</pre>\n")
    yield from tail()


def _contents(found: Finished, shown: Sequence[Entry]) -> str:
    """Links to the sections that there are."""
    groups, starts = _groups(shown), found.starts("gap") is not None
    sweeps = find_sweeps(list(found.settings.arms))
    parts = {
        "scores": ("Scores", True),
        "sweep-0": ("Sweeps", bool(sweeps)),
        "gains": ("Who gains", bool(groups)),
        "cold-items": ("Cold items", bool(_cold_groups(groups))),
        "convergence": ("Convergence", True),
        "gap": ("Users and items", starts or found.gaps() is not None),
        "clusters": ("Clusters", starts),
        "settings": ("Settings", True),
        "again": ("Make it again", True),
    }
    links = (f'<a href="#{to}">{title}</a>' for to, (title, there) in parts.items() if there)
    return f'<nav aria-label="Sections">{" ".join(links)}</nav>\n'


def _scores(found: Finished, shown: Sequence[Entry], colours: Colours) -> Iterator[str]:
    parts = [
        test_scores(shown, found.summary.get("untrained", []), colours),
        note(protocol(found.settings)),
    ]
    arms = {entry["arm"] for entry in shown}
    if BASELINE in arms and len(arms) > 1:
        drawn = figure(
            figures.gains(shown, colours),
            "lifts",
            "Lift of test Recall@20 over random; filled where adjusted p < 0.05, small: each seed",
            wide=True,
        )
        parts.insert(0, drawn)
    yield section("scores", "Test results", *parts)


def _groups(entries: Sequence[Entry]) -> list[str]:
    return list(entries[0].get("groups", {}))


def _cold_groups(groups: Sequence[str]) -> list[str]:
    return [name for name in (COLD, AMONG_COLD) if name in groups]


def _by_group(entries: Sequence[Entry], colours: Colours) -> Iterator[str]:
    """Section on kinds of users and items, where there are any."""
    groups = _groups(entries)
    if not groups:
        return
    warm = [name for name in groups if name not in _cold_groups(groups)]
    models = dict.fromkeys(entry["model"] for entry in entries)
    by_model = {model: [e for e in entries if e["model"] == model] for model in models}
    drawn = (
        figure(figures.by_group(own, warm, colours), f"groups-{at}", model)
        for at, (model, own) in enumerate(by_model.items())
        if len(own) > 1 and any(entry["arm"] == BASELINE for entry in own)
    )
    yield section(
        "gains",
        "Who gains: users and items by kind",
        note(
            "Lift of test Recall@20 over random. Users by the number of their training "
            "interactions. Items by popularity: the group’s items alone count as hits, all items "
            "are ranked."
        ),
        grid(drawn),
        folded("As a table", group_scores(entries, colours)),
    )


def _cold(entries: Sequence[Entry], colours: Colours) -> Iterator[str]:
    """Section on items without a training interaction, where some are in the test data."""
    cold = _cold_groups(_groups(entries))
    if cold:
        yield section(
            "cold-items",
            "Cold items",
            note(
                "Items without any training interaction: as the only hits among all items, and, "
                "“cold among cold”, ranked among themselves."
            ),
            cold_scores(entries, cold, colours),
        )


def _swept(found: Finished) -> Iterator[str]:
    """Section on each sweep over two fields."""
    for number, swept in enumerate(find_sweeps(list(found.settings.arms))):
        across, down = swept.fields
        yield section(
            f"sweep-{number}",
            f"{swept.name}: {down} by {across}",
            note(
                "Validation Recall@20 at the best epoch, mean over the seeds, and gain over random "
                "where that is an arm."
            ),
            grid(
                figure(figures.sweep(found.validation(model), swept), f"sweep-{number}-{at}", model)
                for at, model in enumerate(found.settings.models)
            ),
        )


def _convergence(found: Finished, colours: Colours) -> Iterator[str]:
    metric = HEADLINE_METRIC
    yield section(
        "convergence",
        "Convergence",
        note(
            "Validation Recall@20 by epoch. Thin: one seed. Thick: their mean, up to where the "
            "first seed stops. Dots: best epochs, to which early stopping goes back."
        ),
        grid(
            figure(
                figures.convergence(found.curves(model), colours, metric),
                f"convergence-{at}",
                model,
            )
            for at, model in enumerate(found.settings.models)
        ),
    )


def _settings(found: Finished, colours: Colours) -> Iterator[str]:
    parts = [data_and_settings(found)]
    if found.settings.search is not None:
        trials = found.settings.search.trials
        parts = [
            *parts,
            note(
                "Of what was searched, the values that were best on validation data hold for each "
                f"model and arm, of up to {trials} trials each; trials.csv lists them."
            ),
            folded("Chosen for each model and arm", chosen_settings(found, colours)),
        ]
    yield section("settings", "Data and settings", *parts)
