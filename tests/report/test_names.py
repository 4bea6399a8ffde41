"""Names, ids and messages of others are text, wherever they are shown."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from sgurinit._visible import make_visible
from sgurinit.cli.app import print_line
from sgurinit.core import SGURInit
from sgurinit.data import planted, summarize
from sgurinit.data.prepare import Card, Step
from sgurinit.errors import InputError
from sgurinit.experiments import Comparison, RunEvent
from sgurinit.experiments.cost import ModelCost
from sgurinit.experiments.settings import RunCounts
from sgurinit.experiments.sweeps import find_sweeps
from sgurinit.report.page.figures.curves import draw_curves, draw_curves_side_by_side
from sgurinit.report.page.figures.gap import draw_model_alignments, draw_projection
from sgurinit.report.page.figures.scores import draw_group_lifts, draw_lifts, draw_sweep
from sgurinit.report.page.figures.style import figure_text
from sgurinit.report.page.markup import fact_table, heading, note, sortable_table, text_cell
from sgurinit.report.terminal.card import card_table
from sgurinit.report.terminal.costs import costs_table
from sgurinit.report.terminal.dataset import data_table
from sgurinit.report.terminal.progress import RunProgress, StageProgress, show_waiting
from sgurinit.report.terminal.scores import comparison_table
from sgurinit.report.terminal.start import start_table

NAMES = ["\x1b[31mred", "a\rb", "a\x00b", "a\u202eb\u2066c", "a\x9b31m", "\x1b]8;;http://x\x07",
         "<script>x</script>", "[bold]x[/bold]", ":smile:", "\udcff", "[/]"]  # fmt: skip


def terminal() -> Console:
    return Console(width=400, file=io.StringIO(), force_terminal=True, color_system=None)


def written(console: Console) -> str:
    text = console.file.getvalue()
    text.encode()
    return text


@pytest.mark.parametrize("name", NAMES)
def test_terminal_tables_show_the_text_of_names(name: str, comparison: Comparison) -> None:
    entries = comparison.summary["results"]
    changed = [{**entry, "model": name, "arm": name} for entry in entries]
    data = planted(60, 40)
    facts = summarize(data)
    diagnostics = SGURInit(n_clusters=2, random_state=0).fit(data).start_.diagnostics
    steps = (Step(name, 9, 9, 9), Step(name, 1, 1, 1))
    card = Card(
        name=name,
        source=name,
        recognized_as=name,
        options={"split": name, "ratios": [80, 10, 10], "seed": 0},
        steps=steps,
        splits=dict.fromkeys(("train", "valid", "test"), steps[0]),
        test_pairs_on_untrained_items=0,
        test_pairs_of_untrained_users=0,
        items_described=None,
        versions={},
        left_out=(name,),
    )
    tables = [
        comparison_table({**comparison.summary, "results": changed}),
        data_table(replace(facts, name=name, modalities={name: facts.modalities["text"]})),
        start_table(replace(diagnostics, modalities={name: diagnostics.modalities["text"]})),
        card_table(card),
        costs_table([ModelCost(name, RunCounts(1, 0, 0, 1), 0, 0.5, 9.0, 9.0)]),
    ]
    for table in tables:
        console = terminal()
        console.print(table)
        assert make_visible(name) in written(console)
        assert not set(written(console)) & set("\x1b\r\0\x07\x9b\u202e\u2066")


@pytest.mark.parametrize("name", NAMES)
def test_lines_of_the_command_line_and_of_errors_show_the_text_of_names(name: str) -> None:
    console = terminal()
    print_line(console, f"saved to {name}")
    assert written(console) == f"saved to {make_visible(name)}\n"
    assert str(InputError(f"{name}: expected a file")) == f"{make_visible(name)}: expected a file"


@pytest.mark.parametrize("name", NAMES)
def test_progress_shows_the_text_of_names(name: str) -> None:
    console = terminal()
    done = {"recall@20": 0.1, "best_epoch": 1, "epochs": 2, "seconds": 1.0}
    epoch = {"epoch": 1, "seconds": 1.0, "recall@20": 0.1}
    with RunProgress(console, 2, 10) as progress:
        progress(RunEvent(name, "begin", {}))
        progress(RunEvent(name, "step", {}, name))
        progress.progress.refresh()
        progress(RunEvent(name, "epoch", epoch))
        progress(RunEvent(name, "done", done))
        progress(RunEvent(name, "kept", {}))
    with StageProgress(console) as stages:
        stages(name, 0, 2)
        stages.progress.refresh()
    with show_waiting(console, name):
        pass
    text = written(console)
    assert make_visible(f"{name:<28} finished before") in text
    assert make_visible(name) in text.partition("finished before")[2]
    assert name.isprintable() or name not in text


class Words(HTMLParser):
    """Collects the text of a page and its tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags = "", set[str]()
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)


@pytest.mark.parametrize("name", NAMES)
def test_the_page_shows_the_text_of_names(name: str) -> None:
    cells = [(name, [text_cell(name)])]
    for part in (
        heading(name),
        note(name),
        fact_table(name, [(name, name)]),
        sortable_table("t", name, [name, name], cells),
    ):
        words = Words(part)
        assert make_visible(name) in words.text
        assert "script" not in words.tags
        part.encode()


def test_ids_in_figures_are_text() -> None:
    points = pl.DataFrame({"kind": "user", "id": ['<b>"u"\x1b', "[x]"], "x": 0.5, "y": 0.5})
    texts = [trace.text for trace in draw_projection(points, "red").data]
    assert ('&lt;b&gt;"u"\\x1b', "[x]") in texts


def strings(value: Any) -> Iterator[str]:
    """Every text in a figure."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif hasattr(value, "__iter__"):
        for inner in value:
            yield from strings(inner)


@pytest.mark.parametrize("name", ["<b>x</b>", "<a href='x'>", "a<br>b", "&gt;", "\x1b[31mred"])
def test_names_of_models_arms_groups_and_folders_in_figures_are_text(
    name: str, comparison: Comparison
) -> None:
    entries = [
        {
            **entry,
            "model": f"{entry['model']}{name}",
            "arm": entry["arm"] if entry["arm"] == "random" else f"{entry['arm']}{name}",
            "groups": {f"{name} all": next(iter(entry["groups"].values()))},
        }
        for entry in comparison.summary["results"]
    ]
    colors = {entry["arm"]: "red" for entry in entries}
    model, arm = entries[0]["model"], entries[-1]["arm"]
    curve = pl.DataFrame({"arm": arm, "seed": 0, "epoch": [0, 1], "recall@20": [0.1, 0.2]})
    gaps = pl.DataFrame({"model": model, "arm": arm, "stage": ["start", "trained"]}).with_columns(
        measure=pl.lit("alignment"), value=0.5
    )
    cell = f"a-local_weight={name}-n_clusters=8"
    scores = pl.DataFrame({"arm": [cell], "seed": [0], "value": [0.1]})
    figures = [
        draw_lifts(entries, colors),
        draw_group_lifts(entries[:3], [f"{name} all"], colors),
        draw_curves(curve, colors, "recall@20"),
        draw_curves_side_by_side(iter([(name, "dot", curve)]), colors, "recall@20"),
        draw_model_alignments(gaps, colors),
        draw_sweep(scores, find_sweeps([cell])[0]),
    ]
    for drawn in figures:
        content = drawn.to_plotly_json()
        shown = [{k: v for k, v in part.items() if k != "legendgroup"} for part in content["data"]]
        layout = {k: v for k, v in content["layout"].items() if k != "template"}
        texts = list(strings([shown, layout]))
        assert any(figure_text(name) in text for text in texts)
        for text in texts:
            assert name not in text.replace(figure_text(name), "")
