"""The search of one arm on landscapes whose scores are known, so nothing is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgurinit.experiments import RunSettings, comparison_settings
from sgurinit.experiments.arm_search import MAX_EXTENSIONS, ArmSearch, Choice, find_floors
from sgurinit.experiments.pool import Chain
from sgurinit.experiments.proposals import Proposals, propose_neighbors, propose_settings
from sgurinit.experiments.run import TrialResult
from sgurinit.experiments.search import search_chains
from sgurinit.experiments.settings import Halving, SearchSettings
from sgurinit.experiments.value_lists import (
    SearchField,
    ValueLists,
    combine_spaces,
    list_edges,
    list_neighbors,
    next_value,
    set_values,
)
from sgurinit.seeds import make_generator

Landscape = Callable[[RunSettings], TrialResult]
REG = SearchField("config", "reg")
LAYERS = SearchField("config", "n_layers")
SCALE = SearchField("initializer", "scale")


def plain(arm: str = "sgurinit") -> RunSettings:
    return comparison_settings(["lightgcn"], [arm], 1).run("lightgcn", arm, 0)


def result(*scores: float, run: RunSettings | None = None) -> TrialResult:
    """Scores after each epoch, cut at the first floor of `run` that they miss."""
    for epoch, floor in sorted(run.train.floors.items()) if run else ():
        if epoch < len(scores) - 1 and max(scores[: epoch + 1]) < floor:
            found = result(*scores[: epoch + 1])
            return TrialResult(found.score, found.best_so_far, epoch, 1.0, stopped_at=epoch)
    best = tuple(max(scores[: at + 1]) for at in range(len(scores)))
    return TrialResult(best[-1], best, len(scores) - 1, 1.0)


def search(landscape: Landscape, space: ValueLists, proposals: Proposals | None = None, **fields):
    """Search with a function that gives the result of a run; return the choice and all runs."""
    options = SearchSettings(**{"trials": 20, "spaces": {}, **fields})
    proposals = proposals or propose_settings(plain(), space, 0, options.trials)
    return drive(ArmSearch(space, options).run(proposals), landscape)


def drive(steps: Generator, landscape: Landscape) -> tuple[Choice, list[RunSettings]]:
    """Take all steps; return the choice and the runs that were asked for."""
    runs: list[RunSettings] = []
    try:
        runs.append(next(steps))
        while True:
            runs.append(steps.send(landscape(runs[-1])))
    except StopIteration as end:
        return end.value, runs


def test_the_best_trial_wins_and_of_equals_the_earliest():
    space = combine_spaces({"n_layers": [1, 2, 3, 4], "reg": [1e-4, 1e-2]}, {})
    choice, runs = search(lambda run: result(run.config["n_layers"] // 2), space)
    assert len(runs) == 8
    best = [run for run in runs if run.config["n_layers"] == 4]
    second = [run for run in runs if run.config["n_layers"] in {2, 3}]
    assert choice.winner == best[0]
    assert runs[0] == second[0]  # the settings as given
    assert {run.seed for run in runs} == {1000}
    assert [run.trial for run in runs] == list(range(8))
    assert all(not run.train.floors for run in runs)


HALVING = Halving(epochs=(2, 4), keep=0.5)


def test_floors_follow_from_the_earlier_trials_that_came_as_far():
    first = result(0.0, 0.2, 0.1, 0.3, 0.4, 0.5)
    short = result(0.0, 0.9)
    second = result(0.0, 0.1, 0.1, 0.1, 0.1)
    assert find_floors(None, [first]) == {}
    assert find_floors(HALVING, []) == {}
    assert find_floors(HALVING, [short]) == {}
    assert find_floors(HALVING, [first]) == {2: 0.2, 4: 0.4}  # the better of two
    assert find_floors(HALVING, [first, short, second]) == {2: 0.1, 4: 0.1}  # two of three
    assert find_floors(Halving(epochs=(2,), keep=0.01), [first, second]) == {2: 0.2}
    # 0.7 * 10 is 7.000000000000001 in floating point.
    nine = [result(0, 0, float(score)) for score in range(9)]
    assert find_floors(Halving(epochs=(2,), keep=0.7), nine) == {2: 2.0}


@given(
    scores=st.lists(st.integers(0, 5), min_size=1, max_size=20),
    keep=st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]),
)
def test_a_trial_goes_on_if_it_is_among_the_best_so_far(scores: list[int], keep: float):
    *earlier, last = scores
    floors = find_floors(Halving(epochs=(1,), keep=keep), [result(0, s) for s in earlier])
    goes_on = last >= floors.get(1, -math.inf)
    place = 1 + sum(score > last for score in earlier)  # equals share the better place
    assert goes_on == (place <= math.ceil(round(keep * len(scores), 9)))


def test_halving_stops_trials_whose_score_still_counts():
    space = combine_spaces({"width": list(range(1, 13))}, {})

    def landscape(run: RunSettings) -> TrialResult:
        width = run.config["width"]
        return result(0, width / 2, width / 2, width, width, width + 100, run=run)

    choice, runs = search(landscape, space, trials=12, halving=HALVING.model_dump(), finalists=2)
    trials = [trial for trial in choice.trials if trial.run.seed == 1000]
    stopped = [trial for trial in trials if trial.result.stopped_at is not None]
    assert stopped
    assert trials[0].result.stopped_at is None
    for trial in stopped:
        epoch = trial.result.stopped_at
        width = trial.run.config["width"]
        assert trial.result.score == (width / 2 if epoch == 2 else width)
    assert choice.winner.config["width"] == 12
    again = [run for run in runs if run.seed == 1001]
    assert [run.label for run in again] == [
        f"lightgcn/sgurinit/trial-{run.trial}-again" for run in again
    ]
    assert len(again) == 2
    assert all(not run.train.floors for run in again)
    assert not choice.winner.train.floors
    assert any(run.train.floors for run in runs)


def test_the_mean_of_two_seeds_chooses_among_distinct_finalists():
    space = combine_spaces({"n_layers": [1, 2, 3, 4]}, {})
    scores = {1000: [0, 1, 8, 9, 10], 1001: [0, 99, 8, 7.5, 0]}
    choice, runs = search(
        lambda run: result(scores[run.seed][run.config["n_layers"]]), space, finalists=3
    )
    again = [run.config["n_layers"] for run in runs if run.seed == 1001]
    assert again == [4, 3, 2]  # the best three, best first; 1 would have won
    assert choice.winner.config["n_layers"] == 3  # 16.5 against 10 and 16
    assert len(choice.trials) == len(runs) == 7


def test_stopped_trials_fill_up_the_finalists_after_training_to_the_end():
    space = combine_spaces({"n_layers": [1, 2, 3]}, {})
    final = {1: 9.0, 2: 5.0, 3: 4.0}

    def landscape(run: RunSettings) -> TrialResult:
        layers = run.config["n_layers"]
        return result(0, 0, float(layers == 2), final[layers], final[layers], run=run)

    halving = {"epochs": [2], "keep": 0.1}
    choice, runs = search(landscape, space, halving=halving, finalists=2)
    assert [run.trial for run in runs] == [0, 1, 2, 3, 0, 3]
    assert [run.seed for run in runs] == [1000] * 4 + [1001] * 2
    assert runs[3].config == runs[1].config
    assert not runs[3].train.floors
    found = {trial.run.trial: trial.result.stopped_at for trial in choice.trials[:4]}
    assert found == {0: None, 1: 2, 2: 2, 3: None}


def test_a_trial_that_failed_is_no_finalist():
    space = combine_spaces({"n_layers": [1, 2]}, {})

    def landscape(run: RunSettings) -> TrialResult:
        failed = TrialResult(0.0, (), 0, 0.0, failed="why")
        return failed if run.config["n_layers"] == 1 else result(0.0)

    choice, runs = search(landscape, space, finalists=2)
    assert [(run.trial, run.seed) for run in runs] == [(0, 1000), (1, 1000), (0, 1001)]
    assert choice.winner.config["n_layers"] == 2


@pytest.mark.parametrize(
    ("values", "value", "expected"),
    [
        ([1e-4, 1e-3, 1e-2], 1e-2, 0.1),
        ([1e-2, 1e-4, 1e-3], 1e-4, 1e-5),  # in any order
        ([1e-4, 1e-3, 1e-2], 1e-3, None),  # not at an edge
        ([0.5, 1.0, 4.0], 4.0, 16.0),  # the ratio of the last two
        ([0.5, 1.0, 4.0], 0.5, 0.25),
        ([1, 2, 4], 4, 6),  # integers by their difference
        ([2, 4], 2, 0),
        ([2, 5], 2, 0),  # a step does not cross 0
        ([0, 1], 0, None),  # none leads beyond 0
        ([0.0, 0.1], 0.0, None),
        ([0.0, 0.1], 0.1, 0.2),
        ([0.0, 0.01, 0.1], 0.1, 1.0),
        ([-1.0, 2.0], -1.0, -4.0),
        ([1.0], 1.0, None),
        ([None, 1.0, 2.0], 2.0, None),
        (["table", 1.0], 1.0, None),
        ([False, True], True, None),
    ],
)
def test_the_next_value_continues_the_list(values: list, value: object, expected: object):
    found = next_value(values, value)
    assert found == (expected if expected is None else pytest.approx(expected, rel=1e-12))
    assert type(found) is type(expected)


@given(
    st.lists(
        st.one_of(st.integers(1, 1000), st.floats(1e-6, 1e6)), min_size=2, max_size=6, unique=True
    )
)
def test_the_next_value_lies_outside_the_list(values: list):
    below, above = next_value(values, min(values)), next_value(values, max(values))
    assert below is not None
    assert 0 <= below <= min(values)
    assert above is not None
    assert above >= max(values)


def test_an_edge_is_followed_to_the_peak():
    space = combine_spaces({"reg": [1e-4, 1e-3]}, {})
    peak = {1e-4: 1, 1e-3: 2, 1e-2: 3, 1e-1: 4, 1.0: 3}
    choice, runs = search(lambda run: result(peak[run.config["reg"]]), space, extend=True)
    assert [run.config["reg"] for run in runs[2:]] == [1e-2, 1e-1, 1.0]
    assert choice.winner.config["reg"] == 1e-1
    assert choice.list_edges() == []
    assert choice.space[REG] == [1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    assert space[REG] == [1e-4, 1e-3]
    fixed, _ = search(lambda run: result(peak[run.config["reg"]]), space)
    assert fixed.winner.config["reg"] == 1e-3
    assert fixed.list_edges() == ["reg"]


def test_values_beyond_an_edge_are_judged_like_the_finalists():
    space = combine_spaces({"reg": [1e-4, 1e-3]}, {})

    def landscape(run: RunSettings) -> TrialResult:
        first, second = {1e-4: (1, 1), 1e-3: (5, 5), 1e-2: (9, 0)}[run.config["reg"]]
        return result(first if run.seed == 1000 else second)

    choice, runs = search(landscape, space, finalists=2, extend=True)
    assert [(run.trial, run.seed) for run in runs[-2:]] == [(2, 1000), (2, 1001)]
    assert choice.winner.config["reg"] == 1e-3


def test_an_extension_ends_at_the_fields_own_bounds():
    space = combine_spaces({"n_layers": [1, 2]}, {"local_weight": [0.5, 1.0], "scale": [1.0, 2.0]})

    def landscape(run: RunSettings) -> TrialResult:
        start = run.initializer
        return result(start["local_weight"] - run.config["n_layers"] - abs(start["scale"] - 0.3))

    choice, runs = search(landscape, space, extend=True)
    assert choice.winner.config["n_layers"] == 1  # at least 1
    assert choice.winner.initializer["local_weight"] == 1.0  # at most 1
    assert [run.initializer["scale"] for run in runs[8:]] == [0.5, 0.25, 0.125]
    assert choice.winner.initializer["scale"] == 0.25
    assert choice.list_edges() == []


def test_an_extension_gives_up_and_says_so():
    space = combine_spaces({"width": [4, 8]}, {"scale": ["table", 2.0]})
    choice, runs = search(lambda run: result(run.config["width"]), space, extend=True)
    widths = [run.config["width"] for run in runs[4:]]
    assert widths == [12, 16, 20, 24, 28, 32, 36, 40]
    assert len(widths) == MAX_EXTENSIONS
    assert all(isinstance(width, int) for width in widths)
    assert choice.list_edges() == ["width"]
    # A step that the bounds forbid leaves an edge, unless the bound itself is reached.
    assert list_edges(set_values(plain(), {LAYERS: 2}), {LAYERS: [2, 4]}) == [LAYERS]
    assert list_edges(set_values(plain(), {LAYERS: 1}), {LAYERS: [1, 2]}) == []
    assert list_edges(set_values(plain(), {SCALE: "table"}), {SCALE: ["table", "items"]}) == []


def test_neighbors_differ_in_one_step():
    start = set_values(plain(), {REG: 1e-3, SCALE: "items"})
    space = {REG: [1e-2, 1e-4, 1e-3], SCALE: ["table", "items"], LAYERS: [1, 4]}
    found = [
        (run.config["reg"], run.initializer["scale"], run.config["n_layers"])
        for run in list_neighbors(start, space)
    ]
    layers = start.config["n_layers"]  # 2, which is not in its list
    assert found == [
        (1e-4, "items", layers), (1e-2, "items", layers), (1e-3, "table", layers),
        (1e-3, "items", 1), (1e-3, "items", 4),
    ]  # fmt: skip


def test_a_control_tries_its_start_and_then_neighbors_without_repetition():
    space = {REG: [1e-4, 1e-3, 1e-2], LAYERS: [1, 2, 3]}
    start = set_values(plain(), {REG: 1e-3, LAYERS: 1})
    choice, runs = search(lambda _: result(0), space, propose_neighbors(start, space, 0, 6))
    assert runs[0].config == start.config == choice.winner.config
    tried = [(run.config["reg"], run.config["n_layers"]) for run in runs[1:]]
    assert sorted(tried) == [(1e-4, 1), (1e-3, 2), (1e-2, 1)]
    _, two = search(lambda _: result(0), space, propose_neighbors(start, space, 0, 2))
    assert len(two) == 3
    assert len({tuple(order(space, start, seed)) for seed in range(8)}) > 1


def order(space: ValueLists, start: RunSettings, seed: int) -> list:
    _, runs = search(lambda _: result(0), space, propose_neighbors(start, space, seed, 6))
    return [(run.config["reg"], run.config["n_layers"]) for run in runs]


def run_plan_on(landscape: Callable[[RunSettings], TrialResult], plan, last_first: bool = False):
    """Walk through all chains of a plan; return the choices and the labels in their order."""
    found: dict = {}
    waiting: list = []
    labels = []

    def go_on(chain: Chain, result: TrialResult | None) -> None:
        try:
            waiting.append((chain, chain.send(result)))
        except StopIteration as end:
            for follower in end.value:
                go_on(follower, None)

    for chain in search_chains(plan, found):
        go_on(chain, None)
    while waiting:
        chain, run = waiting.pop(-1 if last_first else 0)
        labels.append(run.label)
        go_on(chain, landscape(run))
    return found, labels


CONTROLLED = {
    "trials": 8,
    "finalists": 2,
    "extend": True,
    "control_trials": 3,
    "spaces": {
        "lightgcn": {"reg": [1e-4, 1e-3]},
        "sgurinit": {"local_weight": [0.2, 0.8], "scale": [2.0, 4.0]},
        "random-scaled": {"scale": [1.0, 2.0]},
        "own": {"scale": [2.0, 4.0]},
    },
}  # fmt: skip
ARM_KINDS = {
    "permuted": {}, "random": {}, "sgurinit": {}, "random-scaled": {}, "local": {},
    "own": {"kind": "permuted"}, "collaborative": {},
}  # fmt: skip


def hilly(run: RunSettings) -> TrialResult:
    start = run.initializer
    score = 10 - abs(math.log10(run.config["reg"]) + 1) + start.get("local_weight", 0)
    return result(score - abs(start.get("scale", 0) - 16) / 10 + (run.seed - 1000) / 100)


def test_controls_start_from_what_was_chosen_for_their_lead():
    plan = comparison_settings(["lightgcn"], ARM_KINDS, 2, search=CONTROLLED)
    leads = {arm: plan.find_lead(arm) for arm in plan.arms}
    assert leads == {
        "permuted": "sgurinit", "random": None, "sgurinit": None, "random-scaled": "sgurinit",
        "local": "sgurinit", "own": None, "collaborative": None,  # hybrid is not compared
    }  # fmt: skip
    found, labels = run_plan_on(hilly, plan)
    lead = found["lightgcn", "sgurinit"]
    assert lead.winner.config["reg"] == 0.1  # found beyond the edge
    assert lead.winner.initializer["scale"] == 16.0
    for arm in ("permuted", "local", "random-scaled"):
        own = found["lightgcn", arm]
        first = own.trials[0].run
        assert first.config == lead.winner.config
        assert first.initializer["scale"] == 16.0
        # Values that the lead found beyond its lists are added, for the fields that both search.
        assert set(own.space[REG]) >= set(lead.space[REG])
        assert set(own.space[SCALE]) >= set(lead.space[SCALE])
        assert (1.0 in own.space[SCALE]) == (arm == "random-scaled")
        tried = [t.run for t in own.trials if t.run.seed == 1000][: 1 + 3]
        for run in tried[1:]:
            changed = [field for field in own.space if field.read(run) != field.read(first)]
            assert len(changed) == 1
    assert found["lightgcn", "local"].winner.initializer["local_weight"] == 1.0  # fixed
    assert found["lightgcn", "permuted"].trials[0].run.initializer == {
        **lead.winner.initializer, "kind": "permuted",
    }  # fmt: skip
    begin = {arm: labels.index(f"lightgcn/{arm}/trial-0") for arm in plan.arms}
    ended = max(at for at, label in enumerate(labels) if "sgurinit/trial" in label)
    assert all(begin[arm] > ended for arm in ("permuted", "local", "random-scaled"))
    assert labels.count("lightgcn/local/seed-1") == 1


@pytest.mark.parametrize("exchange", [False, True])
def test_what_is_found_does_not_depend_on_the_order_of_the_chains(exchange: bool):
    search = {**CONTROLLED, "exchange": exchange}
    plan = comparison_settings(["lightgcn", "bprmf"], ARM_KINDS, 2, search=search)
    one, labels = run_plan_on(hilly, plan)
    other, reversed_labels = run_plan_on(hilly, plan, last_first=True)
    assert labels != reversed_labels
    assert sorted(labels) == sorted(reversed_labels)
    assert one == other


@pytest.mark.parametrize("exchange", [False, True])
def test_the_number_of_runs_is_known_before(exchange: bool) -> None:
    fixed = {**CONTROLLED, "extend": False, "exchange": exchange}
    plan = comparison_settings(["lightgcn"], ARM_KINDS, 2, search=fixed)
    _, labels = run_plan_on(hilly, plan)
    counts = plan.count_runs("lightgcn")
    assert counts.runs == sum("/seed-" in label for label in labels) == 2 * 7
    # Two controls end up at the edge of a list, where they have fewer neighbors. Settings that an
    # arm has tried to the end are not brought to it again.
    again = sum("-again" in label for label in labels)
    assert counts.again >= again
    assert exchange or counts.again == again
    assert counts.trials + counts.exchange >= len(labels) - again - counts.runs
    # Each of random, sgurinit, own and collaborative gets the settings of three others: sgurinit
    # with 3 combinations of the values in its lists, own with 2, the others with 1.
    assert counts.exchange == (3 * (1 + 3 + 2 + 1) if exchange else 0)
    assert plan.count() == sum(counts)


def test_a_step_that_would_leave_the_range_is_shortened():
    """0.9 * 0.9 / 0.8 is above 1, but the best share may lie between 0.9 and 1."""
    start = comparison_settings(["freedom"], ["sgurinit"], 1).run("freedom", "sgurinit", 0)
    space = combine_spaces({"edge_dropout": [0.7, 0.8, 0.9]}, {})
    proposals = propose_settings(start, space, 0, 3)
    choice, runs = search(
        lambda run: result(run.config["edge_dropout"]), space, proposals, trials=3, extend=True
    )
    tried = [run.config["edge_dropout"] for run in runs]
    assert tried[3] == pytest.approx(0.9 + (0.81 / 0.8 - 0.9) / 2)
    assert tried[3:] == sorted(tried[3:])
    assert all(share < 1 for share in tried)
    assert choice.winner.config["edge_dropout"] == max(tried)


def searched_once(landscape: Landscape, space: ValueLists, **fields) -> tuple[ArmSearch, Choice]:
    """Search with a single trial, which has the settings as given."""
    found = ArmSearch(space, SearchSettings(trials=1, spaces={}, **fields))
    choice, _ = drive(found.run(propose_settings(plain(), space, 0, 1)), landscape)
    return found, choice


def choice_of_other(space: ValueLists, **config) -> Choice:
    start = plain("random")
    winner = start.model_copy(update={"config": {**start.config, **config}})
    return Choice(winner, 1.0, space, ())


SPACE = combine_spaces({"reg": [1e-4, 1e-3], "n_layers": [1, 2, 3]}, {"scale": [2.0, 4.0, 8.0]})
OTHER = combine_spaces({"reg": [1e-4, 1e-3, 1e-2], "n_layers": [1, 2, 3]}, {"scale": [1.0, 99.0]})


def test_an_arm_tries_what_others_chose_with_each_of_its_own_values():
    def landscape(run: RunSettings) -> TrialResult:
        is_good = (run.config["reg"], run.config["n_layers"]) == (1e-2, 3)
        return result(is_good * run.initializer["scale"])

    arm, own = searched_once(landscape, SPACE)
    others = [choice_of_other(OTHER, reg=1e-2, n_layers=3), choice_of_other(OTHER, n_layers=1)]
    choice, runs = drive(arm.exchange(own, others), landscape)
    tried = [(r.config["reg"], r.config["n_layers"], r.initializer["scale"]) for r in runs]
    plain_reg, scale = own.winner.config["reg"], own.winner.initializer["scale"]
    rest = [value for value in (2.0, 4.0, 8.0) if value != scale]
    assert set(arm.space[SCALE]) == {2.0, 4.0, 8.0}
    assert tried == [
        *((1e-2, 3, value) for value in (scale, *rest)),
        *((plain_reg, 1, value) for value in (scale, *rest)),
    ]
    assert {run.initializer["kind"] for run in runs} == {"sgurinit"}
    assert {run.arm for run in runs} == {"sgurinit"}
    assert [(run.trial, run.seed) for run in runs] == [(n, 1000) for n in range(1, 7)]
    assert choice.winner == runs[tried.index((1e-2, 3, 8.0))]
    assert len(choice.trials) == 7
    # Lists of the model's fields are joined; those of the arm stay its own.
    assert choice.space == {**SPACE, REG: [1e-4, 1e-3, 1e-2]}
    assert own.winner.config["reg"] != 1e-2


def test_an_arm_keeps_its_own_choice_unless_another_is_better_over_both_seeds():
    def landscape(run: RunSettings) -> TrialResult:
        first, second = {1: (9, 0), 2: (5, 5), 3: (5, 5)}[run.config["n_layers"]]
        return result(first if run.seed == 1000 else second)

    arm, own = searched_once(landscape, SPACE, finalists=2)
    assert own.winner.config["n_layers"] == 2
    others = [choice_of_other(OTHER, n_layers=layers) for layers in (1, 3)]
    choice, runs = drive(arm.exchange(own, others), landscape)
    assert choice.winner == own.winner
    assert [run.config["n_layers"] for run in runs if run.seed == 1001] == [1, 1]


def test_what_was_tried_is_not_tried_again_unless_it_was_stopped():
    space = combine_spaces({"n_layers": [1, 2, 3]}, {})

    def landscape(run: RunSettings) -> TrialResult:
        layers = run.config["n_layers"]
        return result(0, -layers, 3 * layers, run=run)

    halving = {"epochs": [1], "keep": 0.1}
    arm = ArmSearch(space, SearchSettings(trials=3, spaces={}, halving=halving))
    own, runs = drive(arm.run(propose_settings(plain(), space, 0, 3)), landscape)
    stopped = [t.run for t in own.trials if t.result.stopped_at is not None]
    others = [choice_of_other(space, n_layers=run.config["n_layers"]) for run in runs]
    choice, again = drive(arm.exchange(own, [*others, *others]), landscape)
    assert [run.config for run in again] == [run.config for run in stopped]
    assert all(not run.train.floors for run in again)
    assert choice.winner.config["n_layers"] == 3
    assert drive(arm.exchange(choice, others), landscape)[1] == []


def test_an_edge_is_followed_after_an_exchange():
    """The other arm has rejected 0.1, which is better for this arm."""
    space = combine_spaces({"reg": [1e-5, 1e-4, 1e-3, 1e-2]}, {})
    _, other = searched(lambda run: result(-abs(math.log10(run.config["reg"]) + 2)), space)
    assert other.winner.config["reg"] == 1e-2
    assert other.space[REG][-1] == 1e-1
    narrow = combine_spaces({"reg": [1e-5, 1e-4, 1e-3]}, {})
    peak = {1e-5: 1, 1e-4: 2, 1e-3: 1, 1e-2: 3, 1e-1: 4, 1.0: 3}
    arm, own = searched(lambda run: result(peak[run.config["reg"]]), narrow)
    assert own.winner.config["reg"] == 1e-4
    choice, runs = drive(arm.exchange(own, [other]), lambda run: result(peak[run.config["reg"]]))
    assert [run.config["reg"] for run in runs] == [1e-2, 1e-1, 1.0]
    assert choice.winner.config["reg"] == 1e-1
    assert choice.list_edges() == []


def searched(landscape: Landscape, space: ValueLists) -> tuple[ArmSearch, Choice]:
    """Search with many trials and extension."""
    found = ArmSearch(space, SearchSettings(trials=20, spaces={}, extend=True))
    choice, _ = drive(found.run(propose_settings(plain(), space, 0, 20)), landscape)
    return found, choice


def test_a_failed_choice_gives_way_to_any_other():
    def landscape(run: RunSettings) -> TrialResult:
        failed = TrialResult(0.0, (), 0, 0.0, failed="why")
        return failed if run.config["n_layers"] == 2 else result(0.0)

    arm, own = searched_once(landscape, SPACE, finalists=2)
    assert own.winner.config["n_layers"] == 2
    assert [trial.run.seed for trial in own.trials] == [1000]  # failed trials are not repeated
    choice, _ = drive(arm.exchange(own, [choice_of_other(OTHER, n_layers=1)]), landscape)
    assert choice.winner.config["n_layers"] == 1


def test_a_single_arm_exchanges_nothing():
    search = {
        "trials": 2, "exchange": True, "extend": True,
        "spaces": {"lightgcn": {"width": [4, 8]}, "random": {}},
    }  # fmt: skip
    plan = comparison_settings(["lightgcn"], ["random"], 1, search=search)
    _, labels = run_plan_on(lambda run: result(run.config["width"]), plan)
    assert sum("trial" in label for label in labels) == 2 + MAX_EXTENSIONS
    assert plan.count_runs("lightgcn").exchange == 0


def test_arms_exchange_what_they_found_before_their_controls_follow():
    """`sgurinit` is good at one point of 30, which its three trials miss."""
    search = {
        "trials": 3, "exchange": True, "control_trials": 2,
        "spaces": {
            "lightgcn": {"n_layers": [1, 2, 3]}, "permuted": {}, "random": {},
            "sgurinit": {"scale": [1.0, 2.0, 3.0, 4.0, 5.0], "local_weight": [0.2, 0.5]},
        },
    }  # fmt: skip
    plan = comparison_settings(["lightgcn"], ["random", "sgurinit", "permuted"], 1, search=search)

    def landscape(run: RunSettings) -> TrialResult:
        is_right = run.config["n_layers"] == 3
        if run.arm != "random":
            is_right = is_right and run.initializer["scale"] == 5.0
        return result(is_right)

    found, labels = run_plan_on(landscape, plan)
    own = found["lightgcn", "sgurinit"]
    assert [trial.result.score for trial in own.trials[:3]] == [0, 0, 0]
    assert own.score == 1
    assert found["lightgcn", "random"].score == 1
    assert found["lightgcn", "permuted"].trials[0].run.config["n_layers"] == 3
    assert found["lightgcn", "permuted"].trials[0].run.initializer["scale"] == 5.0
    assert labels.count("lightgcn/permuted/trial-0") == 1
    ended = max(at for at, label in enumerate(labels) if "sgurinit/trial" in label)
    assert labels.index("lightgcn/permuted/trial-0") > ended


@given(st.integers(0, 2**32))
@settings(max_examples=25)
def test_no_arm_ends_below_its_score_with_what_another_found(seed: int):
    """An independent count over a random landscape: the promise of the exchange."""
    search = {
        "trials": 3, "exchange": True,
        "spaces": {
            "lightgcn": {"reg": [1e-4, 1e-3, 1e-2], "n_layers": [1, 2, 3]},
            "random": {"scale": [1.0, 2.0]}, "sgurinit": {"scale": [3.0, 4.0, 5.0]},
        },
    }  # fmt: skip
    plan = comparison_settings(["lightgcn"], ["random", "sgurinit"], 1, search=search)

    def height(*point: object) -> float:
        return make_generator(seed, *map(str, point)).random()

    def landscape(run: RunSettings) -> TrialResult:
        config, start = run.config, run.initializer
        return result(height(run.arm, config["reg"], config["n_layers"], start["scale"]))

    found, _ = run_plan_on(landscape, plan)
    for arm, other in (("random", "sgurinit"), ("sgurinit", "random")):
        first = max(found["lightgcn", other].trials[:3], key=lambda trial: trial.result.score)
        for scale in search["spaces"][arm]["scale"]:
            moved = height(arm, first.run.config["reg"], first.run.config["n_layers"], scale)
            assert found["lightgcn", arm].score >= moved
