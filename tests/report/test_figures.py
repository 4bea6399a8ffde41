"""Colors of the arms in figures and tables."""

from __future__ import annotations

from sgurinit.arms import BASELINE, arm_names
from sgurinit.report.page.figures.style import arm_colors


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
