"""Comparisons of models, arms and seeds: run them, test them and write their tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from sgurinit.arguments import check_callable, check_integer, check_path
from sgurinit.arms import Initializer, MethodInitializer
from sgurinit.core.inputs.training_data import require_features
from sgurinit.data import Dataset
from sgurinit.errors import InputError
from sgurinit.experiments.cards import refuse_nested_processes
from sgurinit.experiments.events import EventCallback, RunEvent, no_event
from sgurinit.experiments.folder import ComparisonFolder
from sgurinit.experiments.folder_lock import (
    claim_settings,
    refuse_data_folder,
    refuse_folder_with,
    refuse_other_folder,
)
from sgurinit.experiments.plan import comparison_settings
from sgurinit.experiments.pool import chain_runs, execute_chains
from sgurinit.experiments.provenance import (
    count_runs_by_machine,
    describe_data,
    describe_environment,
)
from sgurinit.experiments.run import execute_run, is_finished
from sgurinit.experiments.search import Choices, search_chains, write_trials
from sgurinit.experiments.semantic_gap import gaps_table
from sgurinit.experiments.settings import ComparisonSettings, RunSettings
from sgurinit.experiments.start_tables import write_start_tables
from sgurinit.experiments.summary import summarize_runs
from sgurinit.experiments.sweeps import drop_sweep_cells
from sgurinit.experiments.tables import curves_table, epochs_table, lifts_table, results_table
from sgurinit.experiments.untrained import score_untrained, untrained_table
from sgurinit.files import write_json, write_table
from sgurinit.locks import claim_folder
from sgurinit.models import Recommender
from sgurinit.resolve import build, resolve_config, resolve_dataset, resolve_model
from sgurinit.training import Machine, TrainSettings
from sgurinit.training.machine import resolve_machine
from sgurinit.training.run import build_model


@dataclass(frozen=True)
class Comparison:
    """A finished comparison.

    Attributes
    ----------
    folder : Path
        Folder of the runs and tables.
    results : DataFrame
        Test and validation metrics, one value per row: model, arm, seed, split, group, metric, k
        and value.
    curves : DataFrame
        Learning curves, one epoch per row: model, arm, seed, epoch (0 is the start), train_loss and
        the validation metrics.
    summary : mapping
        Settings, data and versions. ``"results"`` has an entry per model and arm with means, lifts
        over the random arm and p-values. ``"untrained"`` has scores without training.

    See Also
    --------
    compare : Run a comparison.
    load_comparison : Read a finished comparison.
    sgurinit.report.page.write_report : Write the HTML report.

    Examples
    --------
    >>> from sgurinit import compare
    >>> from sgurinit.data import planted
    >>> from sgurinit.training import TrainSettings
    >>> short = TrainSettings(max_epochs=2)
    >>> found = compare(planted(200, 100), ["bprmf"], ["random"], 1, out="study", settings=short)
    >>> found.curves["epoch"].to_list()
    [0, 1, 2]
    >>> [(entry["model"], entry["arm"]) for entry in found.summary["results"]]
    [('bprmf', 'random')]
    """

    folder: Path
    results: pl.DataFrame
    curves: pl.DataFrame
    summary: Mapping[str, Any]

    def __repr__(self) -> str:
        settings = self.summary["settings"]
        return (
            f"Comparison({str(self.folder)!r}) on {self.summary['data']['name']}\n"
            f"  models: {', '.join(settings['models'])}\n"
            f"  arms: {', '.join(settings['arms'])}\n"
            f"  seeds: {settings['seeds']}"
        )


def compare(
    dataset: Dataset | str | Path,
    models: Sequence[str | type[Recommender]],
    arms: Sequence[str] = ("random", "sgurinit", "permuted"),
    seeds: int = 3,
    *,
    out: str | Path,
    settings: TrainSettings | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    mask_valid: bool = False,
    jobs: int = 1,
    machine: Machine | None = None,
    on_event: EventCallback = no_event,
) -> Comparison:
    """Train every model from every arm with every seed, and test each run once.

    Finished runs in `out` are kept and interrupted runs resume. Models, arms and seeds can be
    added to an existing comparison.

    Parameters
    ----------
    dataset : Dataset, str or Path
        A data set, its folder or its name.
    models : sequence of str or type
        Names of models, or your own classes, derived from `sgurinit.models.Recommender`. To
        resume in another process, pass the same class again. Its name is that of the class in
        lower case.
    arms : sequence of str, default ("random", "sgurinit", "permuted")
        Names of arms. Lifts are relative to ``"random"``.
    seeds : int, default 3
        Number of seeds, at least 1. They are 0, 1, ...
    out : str or Path
        Folder of the comparison, created if missing.
    settings : TrainSettings or None, default None
        Settings of the training loop. None: those common in the literature.
    overrides : mapping of str to mapping or None, default None
        Fields that differ from the defaults, by the name of a model or an arm:
        ``{"lightgcn": {"n_layers": 2}, "sgurinit": {"n_clusters": 4}}``. Fields of ``"sgurinit"``
        and ``"hybrid"`` also apply to the arms that control them.
    mask_valid : bool, default False
        Exclude validation items from the test ranking.
    jobs : int, default 1
        Runs at a time. With more than one, each runs in a worker process, so a script must call
        `compare` under ``if __name__ == "__main__":``, and your own class must be defined at
        the top level of a module or of the script, not in a notebook. The last digits of the
        results can depend on the number of threads per run. On a CUDA device, each gets an equal
        share of the memory that is free.
    machine : Machine or None, default None
        The device of the runs, see `sgurinit.train`. Runs at a time are spread over all CUDA
        devices, or share the one that it names. An interrupted comparison resumes on another.
    on_event : callable, default no_event
        Called with a `RunEvent` whenever a run begins, ends an epoch or is finished.

    Returns
    -------
    Comparison
        The tables, which are also saved in `out`.

    Raises
    ------
    InputError
        An argument, a name, a class, a field or the data cannot be used, `out` contains another
        comparison or other files, another process is using it, there is too little memory, or this
        machine has no such device.

    See Also
    --------
    train_and_test : Do a single run.
    Study : A comparison that is described by a file, with an optional search.
    sgurinit.report.page.write_report : Write the HTML report of a comparison.

    Examples
    --------
    >>> from sgurinit import compare
    >>> from sgurinit.data import planted
    >>> from sgurinit.training import TrainSettings
    >>> short = TrainSettings(max_epochs=2)  # leave it out to train until early stopping
    >>> found = compare(planted(200, 100), ["lightgcn"], seeds=2, out="study", settings=short)
    >>> found.results.filter(metric="recall", k=20, split="test", group="all")["arm"].to_list()
    ['random', 'sgurinit', 'permuted', 'random', 'sgurinit', 'permuted']
    >>> first = found.summary["results"][1]["test"]["recall@20"]
    >>> first["low"] < first["lift"] < first["high"]
    True
    """
    plan = comparison_settings(
        models, arms, seeds, train=settings, overrides=overrides, mask_valid=mask_valid
    )
    source = None if isinstance(dataset, Dataset) else dataset
    return run_plan(
        plan,
        resolve_split_data(dataset),
        source,
        out=out,
        jobs=jobs,
        machine=machine,
        on_event=on_event,
    )


def run_plan(
    plan: ComparisonSettings,
    dataset: Dataset,
    source: str | Path | None,
    *,
    out: str | Path,
    file: str | Path | None = None,
    data_option: str | None = None,
    only: Collection[str] | None = None,
    jobs: int,
    machine: Machine | None = None,
    on_event: EventCallback,
) -> Comparison:
    """Execute a plan: the search, if it has one, every run, and then the tables.

    Parameters
    ----------
    plan : ComparisonSettings
        Settings of the comparison.
    dataset : Dataset
        The data.
    source : str, Path or None
        Path or name that the data were loaded from.
    out : str or Path
        Folder of the comparison, created if missing.
    file : str, Path or None, default None
        The study's file, if the plan was read from one.
    data_option : str or None, default None
        The data, if they were given instead of those in the file.
    only : collection of str or None, default None
        Models of the plan to search and run. The tables then have all models that are complete.
        None: all models.
    jobs : int
        Runs at a time, see `compare`.
    machine : Machine or None, default None
        The device of the runs, see `compare`.
    on_event : callable
        Called with each `RunEvent`.

    Raises
    ------
    InputError
        `out` is not a path, `jobs` is below 1, `on_event` is not callable, this machine has no such
        device, `out` contains another comparison or other files, another process is using it, or a
        run fails.
    """
    folder = check_path(out, "out")
    jobs = check_integer(jobs, "jobs", 1)
    machine = resolve_machine(machine)
    refuse_nested_processes(machine, jobs)
    check_callable(on_event, "on_event")
    data_facts = describe_data(dataset, source)
    refuse_other_folder(folder, source)
    with claim_folder(folder):
        _check_arms(plan, dataset)
        settings = plan.model_dump(mode="json")
        fingerprint = {"fingerprint": data_facts["fingerprint"]}
        claim_settings(
            folder / "settings.json", {**settings, "data": fingerprint}, plan.list_exchanging()
        )
        choices: Choices = {}
        is_fixed = plan.search is None
        chains = chain_runs(plan.runs()) if is_fixed else search_chains(plan, choices)
        execute_chains(
            dataset,
            chains,
            folder,
            data_facts,
            jobs=jobs,
            machine=machine,
            on_event=on_event,
            only=only,
        )
        plan = plan.select_models(_list_complete(plan, choices, folder))
        runs = list(plan.runs())
        if not is_fixed:
            runs = [choices[run.model, run.arm].apply(run) for run in runs]
            pairs = [(model, arm) for model in plan.models for arm in plan.arms]
            write_trials(folder / "trials.csv", [choices[pair] for pair in pairs])
        on_event(RunEvent("", "step", step="tables"))
        results = results_table(runs, folder / "runs")
        curves = curves_table(runs, folder / "runs")
        entries = summarize_runs(runs, folder / "runs")
        arms = _described_arms(runs)
        write_start_tables(arms, dataset, source, folder / "starts", on_event)
        on_event(RunEvent("", "step", step="scores without training"))
        untrained = score_untrained(arms, dataset, source, mask_valid=plan.mask_valid)
        summary = {
            "settings": plan.model_dump(mode="json"),
            "file": None if file is None else str(file),
            "data_option": data_option,
            "chosen": None if is_fixed else _describe_choices(plan, choices),
            "data": data_facts,
            "environment": describe_environment(machine),
            "machines": count_runs_by_machine(folder / "runs" / run.label for run in runs),
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
    """Check before the first run that every model can use the settings of every arm."""
    arms = {arm: plan.run(next(iter(plan.models)), arm, 0).make_initializer() for arm in plan.arms}
    if any(isinstance(made, MethodInitializer) for made in arms.values()):
        require_features(dataset)
    for arm, made in arms.items():
        if isinstance(made, MethodInitializer):
            _check_clusters(arm, made, dataset)
    special = {arm: made for arm, made in arms.items() if _depends_on_model(made)}
    for name in plan.models if special else ():
        kind = resolve_model(name)
        model = build_model(kind, dataset, resolve_config(kind, plan.models[name]), seed=0)
        for arm, initializer in special.items():
            try:
                initializer.check(model)
            except InputError as error:
                raise InputError(f"{name} from {arm}: {error}") from None


def _check_clusters(arm: str, made: MethodInitializer, dataset: Dataset) -> None:
    """Refuse more clusters than a modality has items, before any run begins."""
    for name, table in dataset.features.items():
        count = int(table.mask().sum())
        if made.n_clusters > count:
            raise InputError(
                f"{arm}.n_clusters is {made.n_clusters}, more than the {count} items with features "
                f"of modality {name!r}: choose at most {count}"
            )


def _depends_on_model(arm: Initializer) -> bool:
    """Whether an arm has settings that some models cannot use."""
    return arm.freeze or (
        isinstance(arm, MethodInitializer) and (arm.projected != "once" or bool(arm.preprocess))
    )


def _described_arms(runs: Sequence[RunSettings]) -> dict[str, Initializer]:
    """Arms whose starts are described, with the settings of the first model.

    Cells of a sweep over two fields are left out, because there are too many.
    """
    own = [run for run in runs if (run.model, run.seed) == (runs[0].model, 0)]
    listed = {entry["arm"] for entry in drop_sweep_cells([{"arm": run.arm} for run in own])}
    return {run.arm: run.make_initializer() for run in own if run.arm in listed}


def _list_complete(plan: ComparisonSettings, choices: Choices, folder: Path) -> list[str]:
    """List the models whose search and runs are finished."""
    missing = set()
    for run in plan.runs():
        is_searched = plan.search is None or (run.model, run.arm) in choices
        if not is_searched or not is_finished(folder / run.path):
            missing.add(run.model)
    return [model for model in plan.models if model not in missing]


def _describe_choices(plan: ComparisonSettings, choices: Choices) -> dict[str, dict[str, Any]]:
    """Describe what the search has chosen, by model and arm.

    ``at_edge`` names the fields that have the smallest or largest value of a list, though the field
    itself allows more.
    """
    found: dict[str, dict[str, Any]] = {}
    for model in plan.models:
        for arm in plan.arms:
            choice = choices[model, arm]
            found.setdefault(model, {})[arm] = {
                "config": choice.winner.config,
                "initializer": choice.winner.initializer,
                "at_edge": choice.list_edges(),
            }
    return found


def train_and_test(
    dataset: Dataset | str | Path,
    model: str | type[Recommender],
    arm: str = "sgurinit",
    *,
    seed: int = 0,
    out: str | Path | None = None,
    settings: TrainSettings | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    machine: Machine | None = None,
    on_event: EventCallback = no_event,
) -> dict[str, Any]:
    """Do a single run of a comparison: train one model from one arm and test it once.

    Parameters
    ----------
    dataset : Dataset, str or Path
        A data set, its folder or its name.
    model : str or type
        Name of the model, or a class derived from `sgurinit.models.Recommender`.
    arm : str, default "sgurinit"
        Name of the arm.
    seed : int, default 0
        Seed of everything random, at least 0.
    out : str, Path or None, default None
        Folder of the run, created if missing. An interrupted run in it resumes. None: nothing is
        saved.
    settings : TrainSettings or None, default None
        Settings of the training loop. None: those common in the literature.
    overrides : mapping of str to mapping or None, default None
        Fields that differ from the defaults, by the name of the model or the arm.
    machine : Machine or None, default None
        The device, see `sgurinit.train`. An interrupted run resumes on another.
    on_event : callable, default no_event
        Called with a `RunEvent` whenever the run begins, ends an epoch or is finished.

    Returns
    -------
    dict
        ``valid`` and ``test``, the mean of each metric over the users, ``best_epoch`` (0 is
        the start), ``epochs``, ``seconds`` and ``stopped_early``.

    Raises
    ------
    InputError
        An argument, a name, a field or the data cannot be used, `out` contains another run, a
        comparison or a data set, another process is using it, there is too little memory, or this
        machine has no such device.

    See Also
    --------
    compare : Compare several models, arms and seeds.
    sgurinit.train : Train a model and keep it in memory.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> from sgurinit.experiments import train_and_test
    >>> from sgurinit.training import TrainSettings
    >>> short = TrainSettings(max_epochs=2)
    >>> result = train_and_test(planted(200, 100), "bprmf", "random", settings=short)
    >>> result["epochs"], 0 <= result["test"]["recall@20"] <= 1
    (2, True)
    """
    plan = comparison_settings([model], [arm], 1, train=settings, overrides=overrides)
    run = build(RunSettings, {**dict(next(plan.runs())), "seed": seed}, prefix="run")
    place = None if out is None else check_path(out, "out")
    machine = resolve_machine(machine)
    check_callable(on_event, "on_event")
    data = resolve_split_data(dataset)
    data_facts = {"fingerprint": data.fingerprint}
    if place is not None:
        refuse_data_folder(place, None if isinstance(dataset, Dataset) else dataset)
        with claim_folder(place):
            refuse_folder_with(place / "settings.json", "a comparison")
            return execute_run(data, run, place, data_facts, on_event, machine=machine)
    with TemporaryDirectory(prefix="sgurinit-") as folder:
        return execute_run(data, run, Path(folder), data_facts, on_event, machine=machine)


def load_comparison(folder: str | Path) -> Comparison:
    """Read a finished comparison.

    Parameters
    ----------
    folder : str or Path
        Folder of the comparison.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        The folder does not contain a finished comparison.

    See Also
    --------
    compare : Run a comparison.

    Examples
    --------
    >>> from sgurinit import compare
    >>> from sgurinit.data import planted
    >>> from sgurinit.experiments import load_comparison
    >>> from sgurinit.training import TrainSettings
    >>> short = TrainSettings(max_epochs=2)
    >>> found = compare(planted(200, 100), ["bprmf"], ["random"], 1, out="study", settings=short)
    >>> load_comparison("study").results.equals(found.results)
    True
    """
    found = ComparisonFolder.read(folder)
    return Comparison(found.path, found.results(), found.curves(), found.summary)


def resolve_split_data(dataset: Dataset | str | Path) -> Dataset:
    """Resolve the data and check that there is data to train, to stop and to test on.

    Raises
    ------
    InputError
        The data cannot be loaded, or a split is empty.
    """
    data = resolve_dataset(dataset)
    for split, pairs in data.splits():
        if not len(pairs):
            raise InputError(
                f"data set {data.name!r}: the {split} split is empty, expected at least one "
                "interaction; split the data again"
            )
    return data
