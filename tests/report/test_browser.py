"""The page in a browser: drawing, sorting, hovering, light and dark, small screens, printing."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from sgurinit.experiments import Comparison
from sgurinit.report.page import write_report

pytestmark = pytest.mark.browser

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
SHIFTS = """
window.shifts = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.shifts += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""
CONTRAST = """
([name, behind]) => {
  const style = getComputedStyle(document.documentElement);
  const light = (name) => {
    const hex = style.getPropertyValue(name).trim().slice(1);
    const parts = [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const [low, high] = [light(name), light(behind)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}
"""
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no chromium on the path; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(comparison: Comparison) -> Path:
    return write_report(comparison.folder).resolve()


@pytest.fixture
def opened(browser: Browser, report: Path) -> Iterator[Open]:
    """Open the page, and check at the end that it logged nothing and only requested itself."""
    contexts, logged, requested = [], [], []

    def open_page(width: int = 1200, scheme: str = "light") -> Page:
        size = {"width": width, "height": 844}
        context = browser.new_context(viewport=size, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: logged.append(message.text))
        page.on("pageerror", lambda error: logged.append(str(error)))
        page.on("request", lambda request: requested.append(request.url))
        page.add_init_script(SHIFTS)
        page.goto(report.as_uri())
        page.wait_for_function("window.Plotly !== undefined")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert logged == []
    assert set(requested) == {report.as_uri()}


def draw_all(page: Page) -> None:
    """Scroll to the end like a reader."""
    for plot in page.locator(".plot").all():
        plot.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('.undrawn') === null")


def column(page: Page, at: int) -> list[str]:
    return [row.inner_text() for row in page.locator(f"#results tbody tr > :nth-child({at})").all()]


def test_every_figure_is_drawn_with_its_data_and_nothing_moves(opened: Open) -> None:
    page = opened()
    draw_all(page)
    for plot in page.locator(".plot").all():
        assert plot.locator(".main-svg").count() > 0
        marks = plot.locator("path.point, path.js-line, .bars path, .scatterlayer path").count()
        assert marks > 0, plot.get_attribute("id")
    assert page.evaluate("window.shifts") == 0


def test_columns_are_sorted_by_click_and_by_keyboard(opened: Open, comparison: Comparison) -> None:
    page = opened()
    given = column(page, 4)
    results = pl.read_csv(comparison.folder / "results.csv")
    recall = results.filter(split="test", group="all", metric="recall", k=20)
    means = [*recall.group_by("model", "arm").agg(pl.col("value").mean())["value"]]
    untrained = pl.read_csv(comparison.folder / "untrained.csv")
    means += [*untrained.filter(metric="recall", k=20)["value"]]
    head = page.locator("#results th:nth-child(4)")
    assert head.get_attribute("aria-sort") == "none"
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    shown = [float(text.split()[0]) for text in column(page, 4)]
    assert shown == pytest.approx(sorted(means, reverse=True), abs=5e-5)
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert [float(text.split()[0]) for text in column(page, 4)] == shown[::-1]
    page.keyboard.press("Space")
    assert head.get_attribute("aria-sort") == "none"
    assert column(page, 4) == given
    # Rows with unknown values come last in either order. Text is sorted alphabetically.
    lift = page.locator("#results th:nth-child(7) button")
    for _ in range(2):
        lift.click()
        assert column(page, 7)[-2:] == ["", ""]
    page.locator("#results th:nth-child(2) button").click()
    assert column(page, 2) == sorted(column(page, 2))


def test_a_figure_shows_values_on_hover(opened: Open) -> None:
    page = opened()
    draw_all(page)
    plot = page.locator("#convergence-0")
    plot.scroll_into_view_if_needed()
    plot.locator(".nsewdrag").hover()
    layer = plot.locator(".hoverlayer")
    layer.locator("text").first.wait_for()
    assert re.search(r"sgurinit : 0\.\d{4}", layer.text_content() or "")


def test_light_and_dark_mode_are_followed_and_legible(opened: Open) -> None:
    page = opened(scheme="dark")
    for scheme, paper in (("dark", "rgb(20, 23, 28)"), ("light", "rgb(255, 255, 255)")):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(
            "(paper) => getComputedStyle(document.querySelector('#lifts .main-svg'))"
            ".backgroundColor === paper",
            arg=paper,
        )
        for name in [f"--arm-{n}" for n in range(8)] + ["--rule"]:
            assert page.evaluate(CONTRAST, [name, "--paper"]) >= 3, (scheme, name)
        for name in ("--ink", "--soft", "--accent"):
            for behind in ("--paper", "--panel"):
                assert page.evaluate(CONTRAST, [name, behind]) >= 4.5, (scheme, name, behind)


def test_on_a_phone_only_tables_scroll_sideways(opened: Open) -> None:
    page = opened(width=360)
    draw_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    box = page.locator(".scroll:has(#results)")
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    box.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('.scroll:has(#results)').scrollLeft > 0")
    assert page.locator("#results tbody th").first.bounding_box()["x"] >= 0
    assert page.evaluate("window.shifts") == 0


def test_a_printed_page_has_every_figure_and_every_folded_table(
    opened: Open, tmp_path: Path
) -> None:
    page = opened(scheme="dark")
    unfolded = page.locator("details[open]").count()
    page.evaluate(
        "addEventListener('afterprint', () => { window.printed = {"
        "  undrawn: document.querySelectorAll('.undrawn').length }; })"
    )
    pdf = page.pdf(path=tmp_path / "page.pdf", format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 2
    assert page.evaluate("window.printed") == {"undrawn": 0}
    assert page.locator("details[open]").count() == unfolded  # folded again after printing
