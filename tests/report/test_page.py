"""The page is valid and self-contained, escapes names and shows the numbers of the tables."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from plotly.offline import get_plotlyjs

from sgurinit._visible import make_visible
from sgurinit.errors import InputError
from sgurinit.experiments import Comparison
from sgurinit.experiments.settings import SearchSettings
from sgurinit.report.content_agreement import MEANING_OF_AGREEMENT
from sgurinit.report.page import write_report
from sgurinit.report.page.settings_section import _describe_search

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects text, the cells of one table and the figures; fails on tags that do not nest."""

    def __init__(self, text: str, table: str = "results") -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.links: list[str] = []
        self.scripts: list[str] = []
        self.figures: dict[str, dict[str, Any]] = {}
        self.plot = ""
        self.rows: list[list[tuple[str, str | None]]] = []
        self.words: list[str] = []
        self.table, self.in_results = table, False
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.links += [value or "" for name, value in attrs if name in {"src", "href", "srcset"}]
        if found.get("class") == "plot undrawn":
            self.plot = found["id"] or ""
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
            if self.plot:
                self.figures[self.plot], self.plot = json.loads(data), ""
            else:
                self.scripts.append(data)
            return
        self.words.append(data)
        if self.in_results and {"td", "th"} & set(self.open):
            text, title = self.rows[-1][-1]
            self.rows[-1][-1] = (text + data, title)


TRAINED = 1 + 2 * 3  # the head and two models with three arms; scores without training follow


@pytest.fixture(scope="module")
def page(comparison: Comparison) -> Page:
    return Page(write_report(comparison.folder).read_text(encoding="utf-8"))


def test_the_page_makes_no_network_requests(page: Page) -> None:
    assert page.links
    assert all(link.startswith("#") for link in page.links)
    packed, own = page.scripts
    assert gzip.decompress(base64.b64decode(packed)).decode() == get_plotlyjs()
    assert "http" not in own


def test_links_within_the_page_lead_to_sections(comparison: Comparison) -> None:
    text = write_report(comparison.folder).read_text(encoding="utf-8")
    for target in re.findall(r'href="#([^"]+)"', text):
        assert f'<section id="{target}">' in text


def test_the_table_shows_the_numbers_of_the_csv(page: Page, comparison: Comparison) -> None:
    results = pl.read_csv(comparison.folder / "results.csv").filter(split="test", group="all")
    for (model, _), (arm, _), *cells in page.rows[1:TRAINED]:
        for (text, exact), (metric, k) in zip(
            cells[:4], [("recall", 10), ("recall", 20), ("ndcg", 10), ("ndcg", 20)], strict=True
        ):
            values = results.filter(model=model, arm=arm, metric=metric, k=k)["value"]
            assert float(exact or "nan") == pytest.approx(values.mean(), rel=1e-12)
            mean, spread = text.split("±")
            assert mean.strip() == f"{values.mean():.4f}"
            assert spread.strip() == f"{values.std():.4f}"


def test_scores_without_training_end_the_table(page: Page, comparison: Comparison) -> None:
    values = pl.read_csv(comparison.folder / "untrained.csv")
    assert len(page.rows) == TRAINED + values["name"].n_unique()
    for (model, _), (arm, _), *cells in page.rows[TRAINED:]:
        name = arm or model
        assert (model == "untrained") == (name in {"sgurinit", "permuted"})
        own = values.filter(name=name)
        for (text, exact), (metric, k) in zip(
            cells[:4], [("recall", 10), ("recall", 20), ("ndcg", 10), ("ndcg", 20)], strict=True
        ):
            (value,) = own.filter(metric=metric, k=k)["value"]
            assert float(exact or "nan") == value
            assert text.strip() == f"{value:.4f}"
        assert [text for text, _ in cells[4:]] == ["", "", "0", "", ""]


def test_lifts_p_values_and_epochs_of_the_table_are_in_the_csvs(
    page: Page, comparison: Comparison
) -> None:
    lifts = pl.read_csv(comparison.folder / "lifts.csv")
    epochs = pl.read_csv(comparison.folder / "epochs.csv")
    assert len(epochs) == 2 * 3 * 2
    for (model, _), (arm, _), *cells in page.rows[1:TRAINED]:
        shown = [float(exact) if exact else None for _, exact in cells[4:]]
        rows = lifts.filter(model=model, arm=arm, group="all", metric="recall", k=20)
        (found,) = rows.filter(pl.col("mean").is_not_null()).to_dicts()
        assert found["against"] == (None if arm == "random" else "random")
        others = {None} if arm == "random" else {"random", "sgurinit", "permuted"} - {arm}
        assert set(rows["against"]) == others
        known = (None, None) if arm == "random" else (found["lift"], found["p_holm"])
        runs = epochs.filter(model=model, arm=arm)
        counts = (
            runs["best_epoch"].mean(),
            runs["start_share"].mean(),
            runs["epochs_to_99_percent"].mean(),
        )
        assert shown == [
            value if value is None else pytest.approx(value, rel=1e-12)
            for value in (*known, *counts)
        ]
    for entry in comparison.summary["results"]:
        for group, metrics in entry["groups"].items():
            one = lifts.filter(model=entry["model"], arm=entry["arm"], group=group, k=20)
            for row in one.to_dicts():
                assert row["lift"] == metrics[f"{row['metric']}@20"].get("lift")


def test_groups_show_the_numbers_of_the_csv(comparison: Comparison) -> None:
    page = Page(write_report(comparison.folder).read_text(encoding="utf-8"), table="groups-table")
    results = pl.read_csv(comparison.folder / "results.csv").filter(
        split="test", metric="recall", k=20
    )
    names = [name for name, _ in page.rows[0][2:]]
    assert names == [name for name in results["group"].unique(maintain_order=True) if name != "all"]
    assert len(page.rows) == 1 + 2 * 3
    lifts = {
        (model, bar["name"], name.replace("<br>", " ")): lift
        for at, model in enumerate(("lightgcn", "vbpr"))
        for bar in page.figures[f"groups-{at}"]["data"]
        for name, lift in zip(bar["x"], bar["y"], strict=True)
    }
    for (model, _), (arm, _), *cells in page.rows[1:]:
        for name, (text, exact) in zip(names, cells, strict=True):
            mean, base = (
                results.filter(model=model, arm=one, group=name)["value"].mean()
                for one in (arm, "random")
            )
            assert float(exact or "nan") == pytest.approx(mean, rel=1e-12)
            assert text.startswith(f"{mean:.4f}")
            if arm != "random" and base:
                gain = float(text.split()[1].replace("−", "-"))
                assert gain == pytest.approx(100 * (mean / base - 1), abs=0.0501)
                if "cold" not in name:
                    shown = lifts[model, arm, name]
                    assert shown == pytest.approx(100 * (mean / base - 1), abs=1e-5)


def test_the_curves_are_those_of_the_csv(page: Page, comparison: Comparison) -> None:
    curves = pl.read_csv(comparison.folder / "curves.csv")
    for at, model in enumerate(["lightgcn", "vbpr"]):
        traces = page.figures[f"convergence-{at}"]["data"]
        lines = [trace for trace in traces if trace["mode"] == "lines" and "name" not in trace]
        own = curves.filter(model=model).sort("epoch").group_by("arm", "seed", maintain_order=True)
        expected = sorted(part["recall@20"].round(5).to_list() for _, part in own)
        for shown, scores in zip(sorted(line["y"] for line in lines), expected, strict=True):
            assert shown == pytest.approx(scores, abs=2e-5)
        assert {trace.get("x0") for trace in traces if trace["mode"] == "lines"} == {0}
        best = [trace for trace in traces if trace["mode"] == "markers"]
        for dots, (_, part) in zip(
            best, curves.filter(model=model).group_by("arm", maintain_order=True), strict=True
        ):
            peaks = part.group_by("seed", maintain_order=True).agg(
                pl.col("recall@20").max(), pl.col("epoch").get(pl.col("recall@20").arg_max())
            )
            assert dots["x"] == peaks["epoch"].to_list()
            assert dots["y"] == pytest.approx(peaks["recall@20"].to_list(), abs=1e-5)
        named = [trace["name"] for trace in traces if trace["mode"] == "lines" and "name" in trace]
        assert named == ["random", "sgurinit", "permuted"]


def test_lifts_show_the_numbers_of_the_summary(page: Page, comparison: Comparison) -> None:
    traces = [trace for trace in page.figures["lifts"]["data"] if "text" in trace]
    shown = [
        (x, words) for trace in traces for x, words in zip(trace["x"], trace["text"], strict=True)
    ]
    entries = [e for e in comparison.summary["results"] if e["arm"] != "random"]
    assert len(shown) == len(entries)
    for entry in entries:
        (lift,) = (
            x for x, words in shown if words.startswith(f"{entry['model']}, {entry['arm']}:")
        )
        assert lift == pytest.approx(100 * entry["test"]["recall@20"]["lift"], abs=1e-5)


def test_starts_show_the_numbers_of_their_tables(page: Page, comparison: Comparison) -> None:
    folder = comparison.folder / "starts"
    points, shares = pl.read_csv(folder / "points.csv"), pl.read_csv(folder / "cosines.csv")
    for at, arm in enumerate(["random", "sgurinit", "permuted"]):
        items, users = page.figures[f"points-{at}"]["data"]
        for kind, trace in (("item", items), ("user", users)):
            own = points.filter(arm=arm, kind=kind)
            assert trace["x"] == pytest.approx(own["x"].to_list(), abs=1e-5)
            assert trace["text"] == own["id"].cast(pl.String).to_list()
        random, mine = page.figures[f"cosines-{at}"]["data"]
        for pairs, trace in (("random", random), ("own", mine)):
            own = shares.filter(arm=arm, pairs=pairs)
            assert trace["y"] == pytest.approx((100 * own["share"]).to_list(), abs=1e-5)
    measures = Page((comparison.folder / "report.html").read_text(encoding="utf-8"), "measures")
    gap = pl.read_csv(folder / "gap.csv")
    for (arm, _), *cells in measures.rows[1:]:
        values = gap.filter(arm=arm)["value"].to_list()
        assert [float(exact or "nan") for _, exact in cells] == pytest.approx(values)


def test_a_comparison_without_starts_has_a_page_without_them(
    comparison: Comparison, tmp_path: Path
) -> None:
    for name in ("summary.json", "results.csv", "curves.csv"):
        shutil.copy(comparison.folder / name, tmp_path)
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert "Convergence" in text
    assert "Users and items before training" not in text


def test_gaps_of_the_models_show_the_numbers_of_their_table(
    page: Page, comparison: Comparison
) -> None:
    gaps = pl.read_csv(comparison.folder / "gaps.csv")
    values = {tuple(key): value for *key, value in gaps.iter_rows()}
    shown = {
        tuple(words.split(", ")): x
        for trace in page.figures["alignments"]["data"]
        for words, x in zip(trace.get("text", ()), trace["x"], strict=False)
    }
    assert len(shown) == 2 * 2 * 3
    for (model, arm, stage), x in shown.items():
        at = {"before training": "start", "after training": "trained"}[stage]
        assert x == pytest.approx(values[model, arm, at, "alignment"], abs=1e-5)
    table = Page((comparison.folder / "report.html").read_text(encoding="utf-8"), "gaps-table")
    for (model, _), (arm, _), *cells in table.rows[1:]:
        expected = [
            values[model, arm, stage, measure]
            for measure in ("alignment", "centroid_distance", "separability")
            for stage in ("start", "trained")
        ]
        assert [float(exact or "nan") for _, exact in cells] == pytest.approx(expected)


def test_the_page_shows_whether_content_can_help(comparison: Comparison, tmp_path: Path) -> None:
    shutil.copytree(comparison.folder, tmp_path / "run")
    text = write_report(tmp_path / "run").read_text(encoding="utf-8")
    assert MEANING_OF_AGREEMENT in "".join(Page(text).words)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    modalities = summary["data"]["modalities"]
    (_, *rows) = Page(text, "agreement").rows
    assert [name for (name, _), *_ in rows] == list(modalities)
    for (name, _), *cells in rows:
        own = modalities[name]["agreement"]
        expected = [own[field] for field in ("value", "chance", "ratio", "n_items")]
        assert [float(exact or "nan") for _, exact in cells] == expected
    for own in modalities.values():  # as with a single item
        own["agreement"] = None
    (tmp_path / "run" / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    assert MEANING_OF_AGREEMENT not in write_report(tmp_path / "run").read_text(encoding="utf-8")


def repeat_seeds(part: Any) -> Any:
    """Make an entry of two seeds one of five."""
    if isinstance(part, dict):
        return {key: repeat_seeds(value) for key, value in part.items()}
    return (part * 3)[:5] if isinstance(part, list) else part


@pytest.mark.slow
def test_a_page_of_fifteen_models_and_five_seeds_is_below_5_mb(
    comparison: Comparison, tmp_path: Path
) -> None:
    """With the longest curves, the thousand epochs that are the default limit."""
    summary = json.loads((comparison.folder / "summary.json").read_text(encoding="utf-8"))
    some = [repeat_seeds(e) for e in summary["results"] if e["model"] == "vbpr"]
    models = [f"model{n}" for n in range(15)]
    summary["settings"]["models"] = {name: {} for name in models}
    summary["settings"]["seeds"] = 5
    summary["results"] = [{**entry, "model": model} for model in models for entry in some]
    summary["file"] = "study.yaml"
    (tmp_path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    shutil.copytree(comparison.folder / "starts", tmp_path / "starts")
    shutil.copy(comparison.folder / "results.csv", tmp_path)
    rows = itertools.product(models, ["random", "sgurinit", "permuted"], range(5), range(1000))
    columns = ["model", "arm", "seed", "epoch"]
    curves = pl.DataFrame(rows, schema=columns, orient="row")
    noise = np.random.default_rng(0).random(len(curves))
    curves.with_columns(pl.Series("recall@20", noise)).write_csv(tmp_path / "curves.csv")
    assert write_report(tmp_path).stat().st_size < 5_000_000


def test_names_are_text_never_markup(page: Page, comparison: Comparison) -> None:
    words = "".join(page.words)
    assert r"<script>alert(1)</script> & [bold]\x1b[31m\u202e" in words
    assert all(make_visible(part, keep="\n\t") == part for part in page.words)
    assert not any("alert" in script for script in page.scripts)
    assert str(comparison.folder) in words


def test_the_page_shows_settings_versions_and_the_command(page: Page) -> None:
    words = "".join(page.words)
    for expected in (
        "max_epochs = 3",
        "n_layers = 2",
        "torch 2.",
        "sgurinit compare DATA --models lightgcn,vbpr --arms random,sgurinit,permuted --seeds 2",
    ):
        assert expected in words
    headline = re.search(r"rises significantly in \d of 2 models", words)
    assert headline is not None


@pytest.mark.slow
def test_runs_at_the_epoch_limit_are_noted_below_the_scores(
    page: Page, comparison: Comparison, tmp_path: Path
) -> None:
    summary = comparison.summary
    folder = tmp_path / "earlier"
    shutil.copytree(comparison.folder, folder)
    for count, message in (
        (2, "random stopped at the epoch limit in 4 of 4 runs of lightgcn, vbpr: its score"),
        (0, None),
        (None, None),  # an earlier version did not count
    ):
        entries = [{**entry, "at_epoch_limit": count} for entry in summary["results"]]
        for entry in entries if count is None else ():
            del entry["at_epoch_limit"]
        (folder / "summary.json").write_text(json.dumps({**summary, "results": entries}))
        words = "".join(Page(write_report(folder).read_text(encoding="utf-8")).words)
        assert ("stopped at the epoch limit" in words) == (message is not None)
        assert message is None or message in words


def test_the_report_of_a_comparison_in_memory_is_that_of_its_folder(
    comparison: Comparison,
) -> None:
    assert write_report(comparison) == write_report(comparison.folder)


def test_a_folder_without_a_comparison_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"summary\.json: expected a JSON file"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_malformed_summary_is_refused_in_one_line(comparison: Comparison, tmp_path: Path) -> None:
    summary = {**comparison.summary, "settings": {"models": {}}}
    (tmp_path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    with pytest.raises(InputError, match=r"summary\.json: settings\.models is \{\}"):
        write_report(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


@pytest.mark.parametrize(
    ("search", "says"),
    [
        ({"trials": 1}, "up to 1 setting per model and arm. It chose those with the best"),
        (
            {"trials": 20, "finalists": 3, "extend": True, "control_trials": 6},
            "up to 20 settings per model and arm (7 for a control, around those chosen for its "
            "arm), and values beyond a list while the best was at its edge. It chose those with "
            "the best validation score, over two seeds; trials.csv lists all.",
        ),
        (
            {"trials": 2, "exchange": True},
            "up to 2 settings per model and arm, and then the model's settings that other arms had "
            "chosen. It chose",
        ),
    ],
)
def test_a_search_is_described_as_it_was(search, says) -> None:
    assert says in _describe_search(SearchSettings(**search, spaces={}))
