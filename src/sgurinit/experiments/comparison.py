"""Models x arms x seeds, run to the end, and the tables of what came out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from filelock import FileLock, Timeout

from sgurinit.arms import Initializer, MethodInitializer
from sgurinit.data import Dataset
from sgurinit.errors import InputError
from sgurinit.experiments.environment import environment
from sgurinit.experiments.lifts import epochs_table, lifts_table
from sgurinit.experiments.pool import execute_all
from sgurinit.experiments.run import EventCallback, RunEvent, execute, no_event
from sgurinit.experiments.semantic_gap import gaps_table
from sgurinit.experiments.settings import (
    ComparisonSettings,
    RunSettings,
    comparison_settings,
    data_facts,
)
from sgurinit.experiments.start_tables import write_starts
from sgurinit.experiments.sweeps import without_cells
from sgurinit.experiments.tables import curves_table, results_table, summarise
from sgurinit.experiments.untrained import untrained_scores, untrained_table
from sgurinit.files import claim, read_json, read_table, write_json, write_table
from sgurinit.resolve import build, resolve_config, resolve_dataset, resolve_model
from sgurinit.training import TrainSettings
from sgurinit.training.run import build_model


@dataclass(frozen=True)
class Comparison:
    """A finished comparison.

    Attributes
    ----------
    folder
        Where its runs and tables are.
    results
        Tidy test and validation metrics, see `results_table`.
    curves
        Validation by epoch, see `curves_table`.
    summary
        Settings, data, versions; under ``"results"`` an entry per model and arm, see `summarise`;
        under ``"untrained"`` scores without training, see `untrained_scores`.
    """

    folder: Path
    results: pl.DataFrame
    curves: pl.DataFrame
    summary: Mapping[str, Any]


def compare(
    dataset: Dataset | str | Path,
    models: Sequence[str],
    arms: Sequence[str] = ("random", "sgurinit", "permuted"),
    seeds: int = 3,
    *,
    out: str | Path,
    settings: TrainSettings | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    mask_valid: bool = False,
    jobs: int = 1,
    on_event: EventCallback = no_event,
) -> Comparison:
    """Train every model with every start and every seed, and test each once.

    Whatever is finished in `out` is kept and never run again; what was interrupted goes on. Models,
    arms and seeds may be added to a comparison that is there.

    Parameters
    ----------
    dataset
        A data set, its path or its name.
    models, arms
        Names as the resolver knows them. Lifts are against the arm ``"random"``.
    seeds
        Number of seeds, at least 1: 0, 1, ...
    out
        Folder of the comparison, made if absent.
    settings
        Settings of the training loop; the literature's where None.
    overrides
        Fields that differ from the defaults, by the name of a model or an arm:
        ``{"lightgcn": {"n_layers": 2}, "sgurinit": {"n_clusters": 4}}``.
    mask_valid
        Leave validation items out of the test ranking.
    jobs
        Runs at a time. With more than one each runs in a process of its own, so a script has to
        call this under ``if __name__ == "__main__":``. Numbers can differ in their last digits
        between different numbers of threads.
    on_event
        Called with news of the runs.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        A name, a field or the data cannot be used, or `out` holds another comparison or is in use.

    Examples
    --------
    >>> from sgurinit import compare
    >>> from sgurinit.data import planted
    >>> from sgurinit.training import TrainSettings
    >>> few = TrainSettings(max_epochs=2)  # leave it out for the literature's
    >>> found = compare(planted(200, 100), ["lightgcn"], seeds=2, out="study", settings=few)
    >>> found.results.filter(metric="recall", k=20, split="test", group="all")["arm"].to_list()
    ['random', 'sgurinit', 'permuted', 'random', 'sgurinit', 'permuted']
    >>> sorted(found.summary["results"][1]["test"]["recall@20"])[:4]
    ['lift', 'mean', 'mean_difference', 'n_users']
    """
    plan = comparison_settings(
        models, arms, seeds, train=settings, overrides=overrides, mask_valid=mask_valid
    )
    source = None if isinstance(dataset, Dataset) else dataset
    return run_plan(plan, usable(dataset), source, out=out, jobs=jobs, on_event=on_event)


def run_plan(
    plan: ComparisonSettings,
    dataset: Dataset,
    source: str | Path | None,
    *,
    out: str | Path,
    file: str | Path | None = None,
    jobs: int,
    on_event: EventCallback,
) -> Comparison:
    """Bring a plan to its end: search, where it has one, then every run, then the tables.

    Parameters
    ----------
    plan
        What to compare.
    dataset, source
        The data, and the path or name that they were loaded by.
    file
        The file that describes the plan, where there is one.
    out, jobs, on_event
        See `compare`.

    Raises
    ------
    InputError
        `out` holds another comparison or is in use, or a run cannot be done.
    """
    facts = data_facts(dataset, source)
    folder = Path(out)
    with locked(folder):
        _refuse(folder / "config.json", "a single run")
        kept = plan.model_dump(mode="json")
        _claim(folder / "settings.json", {**kept, "data": {"fingerprint": facts["fingerprint"]}})
        _check_arms(plan, dataset)
        runs = list(plan.runs())
        if plan.search is not None:
            # Here, so that a comparison without a search does not load the searcher.
            from sgurinit.experiments.search import search  # noqa: PLC0415

            chosen = search(plan, dataset, folder, facts, jobs=jobs, on_event=on_event)
            runs = [chosen[run.model, run.arm].for_seed(run.seed) for run in runs]
        execute_all(dataset, runs, folder / "runs", facts, jobs=jobs, on_event=on_event)
        on_event(RunEvent("", "step", step="tables"))
        results = results_table(runs, folder / "runs")
        curves = curves_table(runs, folder / "runs")
        entries = summarise(runs, folder / "runs")
        arms = _arms(runs)
        write_starts(arms, dataset, source, folder / "starts", on_event)
        on_event(RunEvent("", "step", step="scores without training"))
        untrained = untrained_scores(arms, dataset, source, mask_valid=plan.mask_valid)
        summary = {
            "settings": kept,
            "file": None if file is None else str(file),
            "chosen": _chosen(runs) if plan.search is not None else None,
            "data": facts,
            "environment": environment(),
            "results": entries,
            "untrained": untrained,
        }
        write_table(folder / "results.csv", results)
        write_table(folder / "curves.csv", curves)
        write_table(folder / "untrained.csv", untrained_table(untrained))
        write_table(folder / "lifts.csv", lifts_table(entries))
        write_table(folder / "epochs.csv", epochs_table(entries))
        write_table(folder / "gaps.csv", gaps_table(runs, folder / "runs"))
        write_json(folder / "summary.json", summary)
    return Comparison(folder, results, curves, summary)


def _check_arms(plan: ComparisonSettings, dataset: Dataset) -> None:
    """Refuse settings that a model cannot take before the first run, not halfway."""
    arms = {arm: plan.run(next(iter(plan.models)), arm, 0).make_initializer() for arm in plan.arms}
    special = {arm: made for arm, made in arms.items() if _depends_on_model(made)}
    for name in plan.models if special else ():
        kind = resolve_model(name)
        model = build_model(kind, dataset, resolve_config(kind, plan.models[name]), seed=0)
        for arm, initializer in special.items():
            try:
                initializer.check(model)
            except InputError as error:
                raise InputError(f"{name} from {arm}: {error}") from None


def _depends_on_model(arm: Initializer) -> bool:
    """Whether an arm has settings that some models cannot take."""
    return arm.freeze or (
        isinstance(arm, MethodInitializer) and (arm.projected != "once" or bool(arm.preprocess))
    )


def _arms(runs: Sequence[RunSettings]) -> dict[str, Initializer]:
    """Arms to describe, as the first model has them; the cells of a sweep are too many."""
    own = [run for run in runs if (run.model, run.seed) == (runs[0].model, 0)]
    listed = {entry["arm"] for entry in without_cells([{"arm": run.arm} for run in own])}
    return {run.arm: run.make_initializer() for run in own if run.arm in listed}


def _chosen(runs: Sequence[RunSettings]) -> dict[str, dict[str, Any]]:
    """Settings that the search chose, by model and arm."""
    found: dict[str, dict[str, Any]] = {}
    for run in runs:
        own = {"config": run.config, "initializer": run.initializer}
        found.setdefault(run.model, {})[run.arm] = own
    return found


def train_and_test(
    dataset: Dataset | str | Path,
    model: str,
    arm: str = "sgurinit",
    *,
    seed: int = 0,
    out: str | Path | None = None,
    settings: TrainSettings | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    on_event: EventCallback = no_event,
) -> dict[str, Any]:
    """Do one run of a comparison by itself.

    Parameters
    ----------
    dataset, model, arm, settings, overrides, on_event
        See `compare`.
    seed
        Seed of everything random.
    out
        Folder of the run; nothing is kept where None.

    Returns
    -------
    dict
        See `execute`.

    Raises
    ------
    InputError
        As `compare`.
    """
    plan = comparison_settings([model], [arm], 1, train=settings, overrides=overrides)
    run = build(RunSettings, {**dict(next(plan.runs())), "seed": seed}, prefix="run")
    data = usable(dataset)
    facts = data_facts(data, None)
    if out is not None:
        with locked(Path(out)):
            _refuse(Path(out) / "settings.json", "a comparison")
            return execute(data, run, Path(out), facts, on_event)
    with TemporaryDirectory(prefix="sgurinit-") as folder:
        return execute(data, run, Path(folder), facts, on_event)


def load_comparison(folder: str | Path) -> Comparison:
    """Read back the tables that `compare` left in `folder`.

    Raises
    ------
    InputError
        There is no finished comparison.
    """
    place = Path(folder)
    summary = read_json(place / "summary.json")
    results, curves = (read_table(place / name) for name in ("results.csv", "curves.csv"))
    return Comparison(place, results, curves, summary)


def usable(dataset: Dataset | str | Path) -> Dataset:
    """Resolve the data and see to it that there is something to stop and to test on."""
    data = resolve_dataset(dataset)
    for split, pairs in data.splits():
        if not len(pairs):
            raise InputError(
                f"data set {data.name!r}: the {split} split is empty, expected at least one "
                "interaction; split the data anew"
            )
    return data


def _claim(path: Path, wanted: Mapping[str, Any]) -> None:
    """As `claim`, but models, arms and, without a search, seeds may have been added since.

    Runs that are there stay as they are. A search has its trials on the seed after the last, so
    with one the seeds are settled.
    """
    if path.is_file():
        found = read_json(path)
        same = {**wanted, "models": _known(wanted, found, "models")}
        same["arms"] = _known(wanted, found, "arms")
        if wanted["search"] is not None:
            spaces = _known(wanted["search"], found.get("search") or {}, "spaces")
            same["search"] = {**wanted["search"], "spaces": spaces}
        elif wanted["seeds"] > found.get("seeds", 0) > 0:
            same["seeds"] = found["seeds"]
        claim(path, same)
    write_json(path, wanted)


def _known(wanted: Mapping[str, Any], found: Mapping[str, Any], field: str) -> dict[str, Any]:
    """Those entries of `field` that `found` has too."""
    return {name: own for name, own in wanted[field].items() if name in found.get(field, {})}


def _refuse(path: Path, what: str) -> None:
    if path.exists():
        raise InputError(f"{path.parent}: holds {what}; choose another folder")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Have `folder`, made if absent, for this process alone.

    Raises
    ------
    InputError
        Another process has it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: expected a folder that can be made ({error})") from None
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except PermissionError as error:
        raise InputError(f"{folder}: expected a folder that can be written to ({error})") from None
    except Timeout:
        raise InputError(
            f"{folder}: another process is at work in it; wait for it or choose another folder"
        ) from None
