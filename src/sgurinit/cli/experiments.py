"""Commands that train, compare and report.

Every command imports the parts of the library that it needs, so that its help is shown quickly.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sgurinit.cli.app import (
    app,
    console,
    err,
    print_ceiling,
    print_json,
    print_line,
    set_stop_message,
)
from sgurinit.cli.options import (
    ArmClustersOption,
    ArmLocalNormOption,
    ArmLocalWeightOption,
    ArmOption,
    ArmsOption,
    DataArgument,
    DeviceOption,
    DevicesOption,
    JobsOption,
    MaxEpochsOption,
    ModelArgument,
    ModelsOption,
    PatienceOption,
    PrecisionOption,
    SeedOption,
    SetOption,
    StudyDataOption,
    TensorBoardOption,
    drop_missing,
    format_examples,
    split_names,
)
from sgurinit.errors import InputError
from sgurinit.report.terminal.progress import show_waiting

if TYPE_CHECKING:
    from sgurinit.experiments import Comparison, Study
    from sgurinit.experiments.events import EventCallback
    from sgurinit.training import Machine

_DEFAULT_ARMS = "random,sgurinit,permuted"
_RESUME = "finished work is kept in {}; run the same command again to resume"
_FOLDER = "Folder of the comparison. Run the same command again to resume."


@app.command(
    epilog=format_examples(
        "sgurinit train lightgcn planted --init sgurinit",
        "sgurinit train freedom data/tiktok --init random --out runs/a --set freedom.k=20",
    ),
    options={"assignments": "--set"},
)
def train(
    model: ModelArgument,
    data: DataArgument,
    *,
    init: ArmOption = "sgurinit",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the run. Run the same command again to resume. Default: nothing is "
            "saved.",
        ),
    ] = None,
    seed: SeedOption = 0,
    max_epochs: MaxEpochsOption = None,
    patience: PatienceOption = None,
    device: DeviceOption = "auto",
    devices: DevicesOption = 1,
    precision: PrecisionOption = None,
    tensorboard: TensorBoardOption = False,
    sets: SetOption = None,
) -> None:
    """Train one model from one arm, and test it once."""
    if out is not None:
        set_stop_message(_RESUME.format(out))
    elif tensorboard:
        raise InputError("--tensorboard needs --out, the folder to write the curves to")
    with show_waiting(console, "starting"):
        from sgurinit import experiments
        from sgurinit.cli._set_option import parse_assignments
        from sgurinit.report.terminal.progress import RunProgress
        from sgurinit.report.terminal.scores import run_table
        from sgurinit.training import Machine

    loop = drop_missing(max_epochs=max_epochs, patience=patience, precision=precision)
    settings, overrides = parse_assignments(sets or [], loop)
    with RunProgress(console, 1, settings.max_epochs) as progress:
        result = experiments.train_and_test(
            data,
            model,
            init,
            seed=seed,
            out=out,
            settings=settings,
            overrides=overrides,
            machine=Machine(device=device, devices=devices),
            on_event=_make_callback(progress, out if tensorboard else None),
        )
    console.print(run_table(result))
    ceiling = print_ceiling(data)
    if out is not None:
        print_line(console, f"saved to {out}")
    print_json({"out": out, **result, **ceiling})


@app.command(
    epilog=format_examples(
        "sgurinit compare planted --models lightgcn --arms random,sgurinit --seeds 2 --out a",
        "sgurinit compare data/tiktok --models lightgcn,freedom,mgcn --out studies/first",
        "sgurinit compare data/tiktok --models vbpr --out b --set vbpr.reg=0.01 --jobs 2",
    ),
    options={"assignments": "--set"},
)
def compare(
    data: DataArgument,
    *,
    models: ModelsOption,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help=_FOLDER)],
    arms: ArmsOption = _DEFAULT_ARMS,
    seeds: Annotated[int, typer.Option(min=1, metavar="N", help="Number of seeds: 0, 1, ...")] = 3,
    max_epochs: MaxEpochsOption = None,
    patience: PatienceOption = None,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    devices: DevicesOption = 1,
    precision: PrecisionOption = None,
    mask_valid: Annotated[
        bool, typer.Option("--mask-valid", help="Exclude validation items from the test ranking.")
    ] = False,
    n_clusters: ArmClustersOption = None,
    local_weight: ArmLocalWeightOption = None,
    local_norm: ArmLocalNormOption = None,
    tensorboard: TensorBoardOption = False,
    sets: SetOption = None,
) -> None:
    """Compare initializers: train every model from every arm with every seed, and report."""
    set_stop_message(_RESUME.format(out))
    with show_waiting(console, "starting"):
        from sgurinit import experiments
        from sgurinit.cli._set_option import parse_assignments
        from sgurinit.report.terminal.progress import RunProgress
        from sgurinit.training import Machine

    loop = drop_missing(max_epochs=max_epochs, patience=patience, precision=precision)
    settings, overrides = parse_assignments(sets or [], loop)
    options = drop_missing(n_clusters=n_clusters, local_weight=local_weight, local_norm=local_norm)
    for arm, fields in experiments.shared_fields(split_names(arms), options).items():
        overrides[arm] = fields | overrides.get(arm, {})
    total = len(split_names(models)) * len(split_names(arms)) * seeds
    machine = Machine(device=device, devices=devices)
    jobs = jobs or min(machine.count_jobs(), total)
    with RunProgress(console, total, settings.max_epochs) as progress:
        found = experiments.compare(
            data,
            split_names(models),
            split_names(arms),
            seeds,
            out=out,
            settings=settings,
            overrides=overrides,
            mask_valid=mask_valid,
            jobs=jobs,
            machine=machine,
            on_event=_make_callback(
                progress, out if tensorboard else None, _format_runs(total, jobs, out)
            ),
        )
    _show(found)


@app.command(
    epilog=format_examples(
        "sgurinit study studies/main.yaml",
        "sgurinit study studies/main.yaml --data data/tiktok --plan",
        "sgurinit study studies/main.yaml --data data/tiktok --only lightgcn,vbpr --jobs 2",
    )
)
def study(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.yaml", help="YAML file that describes the study.")
    ],
    *,
    data: StudyDataOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the study. Run the same command again to resume. Default: FILE "
            "without .yaml; with --data, a folder in it with the name of the data.",
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL,MODEL",
            help="Only do the searches and runs of these models of the study. The tables have all "
            "models that are complete.",
        ),
    ] = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan", help="Run nothing: print how many runs there are and how long they may take."
        ),
    ] = False,
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    devices: DevicesOption = 1,
    tensorboard: TensorBoardOption = False,
) -> None:
    """Run a comparison that is described in a file, with an optional search of settings."""
    with show_waiting(console, "starting"):
        from sgurinit import experiments
        from sgurinit.report.terminal.progress import RunProgress
        from sgurinit.training import Machine

        parsed = experiments.Study.read(file, data)
    out = out or parsed.folder
    models = None if only is None else parsed.resolve_models(split_names(only))
    total = (parsed.plan if models is None else parsed.plan.select_models(models)).count()
    machine = Machine(device=device, devices=devices)
    jobs = jobs or min(machine.count_jobs(), total)
    if plan:
        _show_costs(parsed, out, models, jobs, machine)
        return
    set_stop_message(_RESUME.format(out))
    with RunProgress(console, total, parsed.plan.train.max_epochs) as progress:
        found = parsed.run(
            out,
            only=models,
            jobs=jobs,
            machine=machine,
            on_event=_make_callback(
                progress, out if tensorboard else None, _format_runs(total, jobs, out)
            ),
        )
    _show(found)
    for line in _describe_gaps(found, parsed):
        print_line(console, line)


def _show_costs(
    study: Study, out: Path, models: list[str] | None, jobs: int, machine: Machine
) -> None:
    """Print how long a study may take."""
    from sgurinit.report.terminal.costs import costs_table, describe_assumptions

    with show_waiting(console, "measuring an epoch of each model"):
        costs = study.estimate(out, only=models, jobs=jobs, machine=machine)
    hours = sum(cost.hours for cost in costs)
    console.print(costs_table(costs))
    print_line(console, f"{hours:.1f} hours of runs, {hours / jobs:.1f} with --jobs {jobs}")
    print_line(console, describe_assumptions(costs))
    own = [{**asdict(cost), "counts": cost.counts._asdict(), "hours": cost.hours} for cost in costs]
    print_json({"models": own, "jobs": jobs, "hours": hours, "hours_with_jobs": hours / jobs})


def _describe_gaps(found: Comparison, study: Study) -> list[str]:
    """Say which models are not finished, and which winners of the search stand at an edge."""
    missing = [
        model for model in study.plan.models if model not in found.summary["settings"]["models"]
    ]
    lines = [f"not finished: {', '.join(missing)}"] if missing else []
    edges = [
        f"{model} from {arm} ({', '.join(own['at_edge'])})"
        for model, arms in (found.summary["chosen"] or {}).items()
        for arm, own in arms.items()
        if own["at_edge"]
    ]
    if edges:
        lines.append(f"chosen at the edge of a list, so consider a longer one: {'; '.join(edges)}")
    return lines


@app.command(
    epilog=format_examples(
        "sgurinit report studies/main", "sgurinit report studies/main studies/other"
    )
)
def report(
    folder: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a finished comparison or study.")
    ],
    other: Annotated[
        Path | None,
        typer.Argument(metavar="OTHER", help="Folder of a second one, to compare with the first."),
    ] = None,
    *,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER",
            help="With OTHER: folder for the page and the table, created if missing.",
        ),
    ] = Path("sgurinit-side-by-side"),
) -> None:
    """Show a finished comparison and write its page again, or put two side by side."""
    with show_waiting(console, "starting"):
        from sgurinit import experiments
        from sgurinit.report.page.side_by_side import write_side_by_side

    if other is None:
        _show(experiments.load_comparison(folder))
        return
    with show_waiting(console, "writing the page"):
        page = write_side_by_side(folder, other, out)
    table = page.with_name("side_by_side.csv")
    print_line(console, f"page:  {page}\ntable: {table}")
    print_json({"page": page, "table": table})


@app.command(epilog=format_examples("sgurinit demo", "sgurinit demo --out my-demo"))
def demo(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help=_FOLDER)] = Path("sgurinit-demo"),
    jobs: JobsOption = None,
    device: DeviceOption = "auto",
    devices: DevicesOption = 1,
    precision: PrecisionOption = None,
) -> None:
    """Compare initializers on the included real data (X-Wines), in a few minutes.

    The L2 penalties are those with the best validation scores for random initialization.
    """
    compare(
        "xwines",
        models="lightgcn,bprmf",
        arms="random,sgurinit,collaborative,hybrid,hybrid-shuffled",
        seeds=2,
        out=out,
        max_epochs=300,
        patience=10,
        jobs=jobs,
        device=device,
        devices=devices,
        precision=precision,
        sets=["lightgcn.reg=0.001", "bprmf.reg=0.01"],
    )


def _show(found: Comparison) -> None:
    """Write the page and print the table."""
    with show_waiting(console, "writing the page"):
        from sgurinit.report.formatting import format_epoch_limit
        from sgurinit.report.page import write_report
        from sgurinit.report.terminal.scores import comparison_table

        page = write_report(found.folder)
    console.print(comparison_table(found.summary))
    if limit := format_epoch_limit(found.summary["results"]):
        print_line(console, f"{limit}\n")
    tables = "results.csv, lifts.csv, epochs.csv, curves.csv, gaps.csv, untrained.csv, summary.json"
    print_line(console, f"page:   {page}\ntables: {found.folder}/{tables}")
    print_json({"folder": found.folder, "page": page, **found.summary})


def _format_runs(total: int, jobs: int, out: Path) -> str:
    runs = "1 run" if total == 1 else f"{total} runs, {min(jobs, total)} at a time"
    return f"{runs}, in {out}"


def _make_callback(
    progress: EventCallback, curves: Path | None, first_line: str = ""
) -> EventCallback:
    """Make a callback that shows progress and, if a folder is given, writes curves into it.

    Without a terminal there are no bars, so `first_line` is printed when the work begins.
    """
    callbacks = [progress]
    if curves is not None:
        from sgurinit.report.tensorboard import TensorBoardCurves

        callbacks.append(TensorBoardCurves(curves / "tensorboard"))
    lines = [first_line] if first_line and not (console.is_terminal or console.quiet) else []

    def pass_on(event: Any) -> None:
        while lines:
            print_line(err, lines.pop())
        for callback in callbacks:
            callback(event)

    return pass_on
