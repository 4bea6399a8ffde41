"""The section on the data, the settings and the machine of a comparison."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sgurinit.experiments.folder import ComparisonFolder
from sgurinit.experiments.settings import KIND, SearchSettings
from sgurinit.experiments.sweeps import Sweep, find_sweeps
from sgurinit.report.content_agreement import (
    AGREEMENT_HEADS,
    MEANING_OF_AGREEMENT,
    format_agreement,
)
from sgurinit.report.page.figures.style import Colors
from sgurinit.report.page.markup import (
    Cell,
    Section,
    fact_table,
    fold,
    heading,
    note,
    sortable_table,
    text_cell,
)

_FieldValues = Mapping[str, Any]


def make_settings_section(found: ComparisonFolder, colors: Colors) -> Section:
    """Show data, settings, versions and hardware, and what a search has chosen."""
    parts = [fact_table("Data and settings", _fact_rows(found))]
    parts += _agreement_parts(found.summary["data"])
    if found.settings.search is not None:
        parts += [
            note(_describe_search(found.settings.search)),
            fold("Chosen settings by model and arm", _chosen_table(found, colors)),
        ]
    return Section("settings", "Data and settings", tuple(parts), "Settings")


def _describe_search(search: SearchSettings) -> str:
    tried = f"The search tried up to {_count(search.trials, 'setting')} per model and arm"
    if search.control_trials is not None:
        tried += f" ({search.control_trials + 1} for a control, around those chosen for its arm)"
    if search.extend:
        tried += ", and values beyond a list while the best was at its edge"
    if search.exchange:
        tried += ", and then the model's settings that other arms had chosen"
    seeds = ", over two seeds" if search.finalists > 1 else ""
    return f"{tried}. It chose those with the best validation score{seeds}; trials.csv lists all."


def _agreement_parts(data: _FieldValues) -> list[str]:
    """Show whether content can help; nothing where no items could be compared."""
    fields = ("value", "chance", "ratio", "n_items")
    rows = []
    for name, own in data["modalities"].items():
        if agreement := own["agreement"]:
            texts = format_agreement(agreement)
            values = [agreement[field] for field in fields]
            rows.append((name, [Cell(*pair) for pair in zip(texts, values, strict=True)]))
    if not rows:
        return []
    title = "Can content help?"
    table = sortable_table("agreement", title, AGREEMENT_HEADS, rows)
    return [heading(title), table, note(MEANING_OF_AGREEMENT)]


def format_size(data: _FieldValues) -> str:
    """Format the size of the data in one line."""
    modalities = ", ".join(f"{m} ({own['width']}-d)" for m, own in data["modalities"].items())
    return (
        f"{data['n_users']:,} users, {data['n_items']:,} items, {data['n_train']:,} training "
        f"interactions; {modalities}"
    )


def _chosen_table(found: ComparisonFolder, colors: Colors) -> str:
    search, chosen = found.settings.search, found.summary["chosen"]
    assert search is not None  # noqa: S101 - checked by the caller
    rows = []
    for model, arms in chosen.items():
        for arm, own in arms.items():
            fields = {field: own["config"][field] for field in search.spaces[model]}
            fields |= {f"{arm}.{name}": own["initializer"][name] for name in search.spaces[arm]}
            cells = [text_cell(arm, colors.get(arm, "")), text_cell(_join(fields) or "nothing")]
            rows.append((model, cells))
    heads = ["model", "arm", "chosen settings"]
    return sortable_table("chosen", "Settings chosen by the search", heads, rows)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _join(fields: _FieldValues, equals: str = " = ") -> str:
    """Format fields and their values in one line."""
    return ", ".join(
        f"{name}{equals}{value if isinstance(value, str) else json.dumps(value)}"
        for name, value in fields.items()
    )


def _fact_rows(found: ComparisonFolder) -> Iterator[tuple[str, str]]:
    yield from _data_rows(found.summary["data"])
    yield from _settings_rows(found)
    yield "time", f"{found.seconds:,.0f} s of training and validation over all runs"
    environment = found.summary["environment"]
    git = environment["git"]
    changed = " (changed)" if git and git["dirty"] else ""
    source = f", source {git['commit'][:12]}{changed}" if git else ""
    yield "versions", _join(environment["versions"], " ") + source
    yield from _machine_rows(found.summary.get("machines") or [environment])


def _machine_rows(machines: Sequence[_FieldValues]) -> Iterator[tuple[str, str]]:
    """One row, or a row per machine and commit with the number of its runs."""
    for machine in machines:
        gpu = f", {machine['gpu']}" if machine.get("gpu") else ""
        text = f"{machine['cpu']}, {_count(machine['cores'], 'core')}{gpu}"
        if len(machines) == 1:
            yield "machine", text
        else:
            source = f", source {machine['commit'][:12]}" if machine["commit"] else ""
            yield f"machine of {_count(machine['runs'], 'run')}", text + source


def _data_rows(data: _FieldValues) -> Iterator[tuple[str, str]]:
    yield (
        "data",
        f"{data['name']} ({data['layout']} layout), fingerprint {data['fingerprint'][:16]}",
    )
    yield (
        "interactions",
        f"{data['n_train']:,} train, {data['n_valid']:,} validation, {data['n_test']:,} test, "
        f"density {data['density']:.2e}",
    )
    for kind in ("user", "item"):
        yield (
            f"per {kind}",
            f"median {data[f'{kind}_degree_median']:g}, maximum {data[f'{kind}_degree_max']:,} "
            f"training interactions; {data[f'{kind}s_without_train']:,} {kind}s without any",
        )


def _settings_rows(found: ComparisonFolder) -> Iterator[tuple[str, str]]:
    settings = found.settings
    spaces = {} if settings.search is None else settings.search.spaces
    yield "training", _join(settings.train.model_dump(mode="json"))
    for name, fields in settings.models.items():
        yield f"model {name}", _join(_mark_searched(fields, spaces.get(name, {})))
    cells = {
        arm: sweep for sweep in find_sweeps(list(settings.arms)) for arm in sweep.arms.values()
    }
    for name, fields in settings.arms.items():
        if name in cells:
            continue
        own = {field: value for field, value in fields.items() if field != KIND}
        kind = "" if fields[KIND] == name else f"{fields[KIND]}: "
        text = _join(_mark_searched(own, spaces.get(name, {})))
        yield f"arm {name}", kind + (text or "the model’s own initialization")
    for sweep in dict.fromkeys(cells.values()):
        yield f"arms {sweep.name}", _sweep_fields(settings.arms, sweep)
    yield "seeds", ", ".join(str(seed) for seed in range(settings.seeds))


def _sweep_fields(arms: Mapping[str, _FieldValues], sweep: Sweep) -> str:
    """Format the fields of the arms of a sweep, with all values of the two fields."""
    fields = dict(arms[next(iter(sweep.arms.values()))])
    for at, name in enumerate(sweep.fields):
        fields[name] = "each of " + ", ".join(dict.fromkeys(values[at] for values in sweep.arms))
    return f"{fields.pop(KIND)}: {_join(fields)}"


def _mark_searched(fields: _FieldValues, space: _FieldValues) -> dict[str, Any]:
    """Replace the value of a searched field by the values that were tried."""
    return {
        name: f"one of {json.dumps(list(space[name]))}" if name in space else value
        for name, value in fields.items()
    }
