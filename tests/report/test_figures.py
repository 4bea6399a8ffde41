"""What the figures promise beyond the numbers that they show."""

from __future__ import annotations

from sgurinit.arms import BASELINE, arm_names
from sgurinit.report.page.figures import arm_colours


def test_every_arm_has_a_colour_of_its_own_but_the_two_random_ones_that_share_theirs() -> None:
    colours = arm_colours(arm_names())
    assert colours["random-scaled"] == colours[BASELINE]
    others = [colour for arm, colour in colours.items() if arm != "random-scaled"]
    assert len(set(others)) == len(others)


def test_an_arm_keeps_its_colour_whatever_it_is_compared_with() -> None:
    every = arm_colours(arm_names())
    for arm in arm_names():
        assert arm_colours([BASELINE, "mine", arm])[arm] == every[arm]


def test_arms_with_names_of_their_own_take_the_colours_that_are_left() -> None:
    some = arm_colours(["random", "sgurinit", *"abcdef"])
    assert len(set(some.values())) == 8
    assert len(arm_colours([*arm_names(), *"abcdefghij"])) == len(arm_names()) + 10
