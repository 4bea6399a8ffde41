"""Colors of the arms, and figures and tables of little."""

from __future__ import annotations

import polars as pl

from sgurinit.arms import BASELINE, arm_names
from sgurinit.report.page.figures.gap import draw_model_alignments
from sgurinit.report.page.figures.style import arm_colors
from sgurinit.report.page.markup import Cell
from sgurinit.report.page.starts_section import measure_cell


def test_every_arm_has_its_own_color_except_the_two_random_arms_which_share_one() -> None:
    colors = arm_colors(arm_names())
    assert colors["random-scaled"] == colors[BASELINE]
    others = [color for arm, color in colors.items() if arm != "random-scaled"]
    assert len(set(others)) == len(others)


def test_an_arm_keeps_its_color_whatever_it_is_compared_with() -> None:
    every = arm_colors(arm_names())
    for arm in arm_names():
        assert arm_colors([BASELINE, "mine", arm])[arm] == every[arm]


def test_arms_with_custom_names_take_the_remaining_colors() -> None:
    some = arm_colors(["random", "sgurinit", *"abcdef"])
    assert len(set(some.values())) == 8
    assert len(arm_colors([*arm_names(), *"abcdefghij"])) == len(arm_names()) + 10


def test_what_tables_of_the_semantic_gap_lack_stays_empty() -> None:
    assert measure_cell({"alignment": 0.5}, "separability") == Cell("", None)
    rows = [("bprmf", "local", "trained", "alignment", 0.5)]
    gaps = pl.DataFrame(rows, ["model", "arm", "stage", "measure", "value"], orient="row")
    drawn = draw_model_alignments(gaps, {"local": "red"})
    assert all(not trace.x for trace in drawn.data)
