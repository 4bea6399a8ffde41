"""What a comparison compared, on what data and with what, in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sgurinit.experiments import ComparisonSettings
from sgurinit.experiments.folder import Finished
from sgurinit.experiments.sweeps import Sweep, find_sweeps
from sgurinit.report.page.markup import facts, table, text

Fields = Mapping[str, Any]


def data_and_settings(found: Finished) -> str:
    """Facts about data, settings as given, versions and hardware."""
    return facts("Data and settings", _rows(found))


def chosen_settings(found: Finished, colours: Mapping[str, str]) -> str:
    """What the search chose for every model and arm."""
    search, chosen = found.settings.search, found.summary["chosen"]
    assert search is not None  # noqa: S101 - the caller has looked
    rows = []
    for model, arms in chosen.items():
        for arm, own in arms.items():
            fields = {field: own["config"][field] for field in search.spaces[model]}
            fields |= {f"{arm}.{name}": own["initializer"][name] for name in search.spaces[arm]}
            rows.append(
                (model, [text(arm, colours.get(arm, "")), text(listed(fields) or "nothing")])
            )
    return table("chosen", "Settings chosen by the search", ["model", "arm", "chosen"], rows)


def size(data: Fields) -> str:
    """One line on the data."""
    modalities = ", ".join(f"{m} ({own['width']}-d)" for m, own in data["modalities"].items())
    return (
        f"{data['n_users']:,} users, {data['n_items']:,} items, {data['n_train']:,} training "
        f"interactions; {modalities}"
    )


def protocol(settings: ComparisonSettings) -> str:
    """How the scores of the main table came about."""
    left_out = (
        "validation items are left out as well"
        if settings.mask_valid
        else "validation items stay in, as is usual in the literature"
    )
    return (
        f"Mean ± standard deviation over {count(settings.seeds, 'seed')}; best mean of each model "
        "in bold. Lift is relative to the random start, p is from a paired t-test over users on "
        "scores averaged over the seeds, adjusted for being several models (Holm); both are of "
        f"Recall@20. All items that a user has not trained on are ranked; {left_out}. Test data "
        "was read once per run, at the best validation epoch. “Epochs to random’s best” counts the "
        "epochs until validation reached the random arm’s best score of the same seed."
    )


def count(number: int, noun: str) -> str:
    """Say how many."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def listed(fields: Fields, joint: str = " = ") -> str:
    """Write fields one after the other."""

    def word(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value)

    return ", ".join(f"{name}{joint}{word(value)}" for name, value in fields.items())


def _rows(found: Finished) -> Iterator[tuple[str, str]]:
    data, environment = found.summary["data"], found.summary["environment"]
    settings, search = found.settings, found.settings.search
    spaces = {} if search is None else search.spaces
    yield (
        "data",
        f"{data['name']} ({data['layout']} layout), fingerprint {data['fingerprint'][:16]}",
    )
    yield (
        "interactions",
        f"{data['n_train']:,} train, {data['n_valid']:,} validation, {data['n_test']:,} test, "
        f"density {data['density']:.2e}",
    )
    for what in ("user", "item"):
        few = f"{data[f'{what}_degree_median']:g} at the median"
        most = f"{data[f'{what}_degree_max']:,} at the most"
        without = f"{data[f'{what}s_without_train']:,} {what}s have none"
        yield f"per {what}", f"{few}, {most}; {without} in training"
    yield "training", listed(settings.train.model_dump(mode="json"))
    for name, fields in settings.models.items():
        yield f"model {name}", listed(_given(fields, spaces.get(name, {})))
    swept = {
        arm: found for found in find_sweeps(list(settings.arms)) for arm in found.arms.values()
    }
    for name, fields in settings.arms.items():
        if name in swept:
            continue
        own = {field: value for field, value in fields.items() if field != "kind"}
        kind = "" if fields["kind"] == name else f"{fields['kind']}: "
        words = listed(_given(own, spaces.get(name, {})))
        yield f"arm {name}", kind + (words or "the model’s own start")
    for sweep in dict.fromkeys(swept.values()):
        yield f"arms {sweep.name}", _cells(settings.arms, sweep)
    yield "seeds", ", ".join(str(seed) for seed in range(settings.seeds))
    seconds = sum(sum(entry["seconds"]) for entry in found.entries)
    yield "time", f"{seconds:,.0f} s of training and validation, all runs together"
    git = environment["git"]
    changed = " (changed)" if git and git["dirty"] else ""
    source = f", source {git['commit'][:12]}{changed}" if git else ""
    yield "versions", listed(environment["versions"], " ") + source
    gpu = f", {environment['gpu']}" if environment.get("gpu") else ""
    yield "machine", f"{environment['cpu']}, {count(environment['cores'], 'core')}{gpu}"


def _cells(arms: Mapping[str, Fields], sweep: Sweep) -> str:
    """Fields of the arms of a sweep, and the values of those swept."""
    fields = dict(arms[next(iter(sweep.arms.values()))])
    for at, name in enumerate(sweep.fields):
        fields[name] = "each of " + ", ".join(dict.fromkeys(values[at] for values in sweep.arms))
    return f"{fields.pop('kind')}: {listed(fields)}"


def _given(fields: Fields, space: Fields) -> dict[str, Any]:
    """Fields as given; of those that were searched, among what."""
    return {
        name: f"one of {json.dumps(list(space[name]))}" if name in space else value
        for name, value in fields.items()
    }
