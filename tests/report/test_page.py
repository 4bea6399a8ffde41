"""The page parses, is self-contained, escapes names and shows the tables' numbers."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from sgurinit.errors import InputError
from sgurinit.experiments import Comparison
from sgurinit.report.page import write_report

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects text, one table's cells and attributes; fails on tags that do not nest."""

    def __init__(self, text: str, table: str = "results") -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.links: list[str] = []
        self.scripts: list[str] = []
        self.rows: list[list[tuple[str, str | None]]] = []
        self.words: list[str] = []
        self.table, self.in_results = table, False
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.links += [value or "" for name, value in attrs if name in {"src", "href", "srcset"}]
        if tag == "table":
            self.in_results = found.get("id") == self.table
        if tag == "tr" and self.in_results:
            self.rows.append([])
        if tag in {"td", "th"} and self.in_results:
            self.rows[-1].append(("", found.get("title")))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
            return
        self.words.append(data)
        if self.in_results and {"td", "th"} & set(self.open):
            text, title = self.rows[-1][-1]
            self.rows[-1][-1] = (text + data, title)


@pytest.fixture(scope="module")
def page(comparison: Comparison) -> Page:
    return Page(write_report(comparison.folder).read_text(encoding="utf-8"))


def test_the_page_asks_nothing_of_the_network(page: Page) -> None:
    assert page.links == []
    own = [script for script in page.scripts if len(script) < 1_000_000]
    assert not any("http://" in script or "https://" in script for script in own if script)
    assert any(len(script) > 1_000_000 for script in page.scripts), "plotly is not inlined"


def test_the_table_shows_the_numbers_of_the_csv(page: Page, comparison: Comparison) -> None:
    results = pl.read_csv(comparison.folder / "results.csv").filter(split="test", group="all")
    model = ""
    assert len(page.rows) == 1 + 2 * 3
    for row in page.rows[1:]:
        model = row[0][0] or model
        arm = row[1][0]
        for (text, exact), (metric, k) in zip(
            row[2:6], [("recall", 10), ("recall", 20), ("ndcg", 10), ("ndcg", 20)], strict=True
        ):
            values = results.filter(model=model, arm=arm, metric=metric, k=k)["value"]
            assert float(exact or "nan") == pytest.approx(values.mean(), rel=1e-12)
            mean, spread = text.split("±")
            assert mean.strip() == f"{values.mean():.4f}"
            assert spread.strip() == f"{values.std():.4f}"


def test_groups_show_the_numbers_of_the_csv(comparison: Comparison) -> None:
    page = Page(write_report(comparison.folder).read_text(encoding="utf-8"), table="groups")
    results = pl.read_csv(comparison.folder / "results.csv").filter(
        split="test", metric="recall", k=20
    )
    names = [name for name, _ in page.rows[0][2:]]
    assert names == [name for name in results["group"].unique(maintain_order=True) if name != "all"]
    model = ""
    assert len(page.rows) == 1 + 2 * 3
    for row in page.rows[1:]:
        model = row[0][0] or model
        arm = row[1][0]
        for name, (text, exact) in zip(names, row[2:], strict=True):
            mean, base = (
                results.filter(model=model, arm=one, group=name)["value"].mean()
                for one in (arm, "random")
            )
            assert float(exact or "nan") == pytest.approx(mean, rel=1e-12)
            assert text.startswith(f"{mean:.4f}")
            if arm != "random" and base:
                assert f"{100 * (mean / base - 1):+.1f} %".replace("-", "−") in text


def test_the_curves_are_those_of_the_csv(page: Page, comparison: Comparison) -> None:
    figures = [script for script in page.scripts if "Plotly.newPlot" in script]
    assert len(figures) == 2
    curves = pl.read_csv(comparison.folder / "curves.csv")
    for model, script in zip(["lightgcn", "vbpr"], figures, strict=True):
        start = script.index("[", script.index("Plotly.newPlot"))
        traces, _ = json.JSONDecoder().raw_decode(script[start:])
        lines = [trace for trace in traces if trace["mode"] == "lines" and "name" not in trace]
        shown = sorted(tuple(line["y"]) for line in lines)
        own = curves.filter(model=model).sort("epoch").group_by("arm", "seed", maintain_order=True)
        assert shown == sorted(tuple(part["recall@20"]) for _, part in own)
        means = {
            trace["name"]: trace["y"]
            for trace in traces
            if trace["mode"] == "lines" and "name" in trace
        }
        assert list(means) == ["random", "sgurinit", "permuted"]


def test_names_are_text_never_markup(page: Page, comparison: Comparison) -> None:
    words = "".join(page.words)
    assert "<script>alert(1)</script> & [bold]" in words
    assert not any(script.startswith("alert") for script in page.scripts)
    assert str(comparison.folder) in words


def test_the_page_tells_settings_versions_and_how_to_repeat_it(page: Page) -> None:
    words = "".join(page.words)
    for expected in (
        "max_epochs = 3",
        "n_layers = 2",
        "torch 2.",
        "sgurinit compare DATA --models lightgcn,vbpr --arms random,sgurinit,permuted --seeds 2",
    ):
        assert expected in words
    headline = re.search(r"\d of 2 models reach a higher test Recall@20", words)
    assert headline is not None


def test_a_folder_without_a_comparison_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"summary\.json: expected a JSON file"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []
