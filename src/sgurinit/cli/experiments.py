"""Commands that train and compare, and what they share with the page.

Each part of the library is imported by the command that needs it.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sgurinit.cli.app import app, console, emit, if_stopped, say, say_ceiling
from sgurinit.cli.options import (
    Arm,
    ArmClusters,
    ArmLocalNorm,
    ArmLocalWeight,
    Arms,
    Data,
    Jobs,
    MaxEpochs,
    Model,
    Models,
    Patience,
    Seed,
    Sets,
    TensorBoard,
    examples,
    given,
    names,
)
from sgurinit.errors import InputError
from sgurinit.report.terminal.progress import waiting
from sgurinit.runtime import available_cores

if TYPE_CHECKING:
    from sgurinit.experiments import Comparison
    from sgurinit.experiments.run import EventCallback

_RESUME = "what is finished is kept in {}; run the same command again to resume"
_FOLDER = "Folder of the comparison. Run the same command again to resume."


@app.command(
    epilog=examples(
        "sgurinit train lightgcn planted --init sgurinit",
        "sgurinit train freedom data/tiktok --init random --out runs/a --set freedom.k=20",
    ),
    options={"assignments": "--set"},
)
def train(
    model: Model,
    data: Data,
    *,
    init: Arm = "sgurinit",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to keep the run in. Run the same command again to resume. Default: "
            "nothing is kept."
        ),
    ] = None,
    seed: Seed = 0,
    max_epochs: MaxEpochs = None,
    patience: Patience = None,
    tensorboard: TensorBoard = False,
    sets: Sets = None,
) -> None:
    """Train one model from one start, then test it once."""
    if out is not None:
        if_stopped(_RESUME.format(out))
    elif tensorboard:
        raise InputError("--tensorboard needs --out, the folder that the curves are kept in")
    with waiting(console, "starting"):
        from sgurinit import experiments
        from sgurinit.cli._set_option import read_assignments
        from sgurinit.report.terminal.progress import RunProgress
        from sgurinit.report.terminal.table import run_table

    loop = given(max_epochs=max_epochs, patience=patience)
    settings, overrides = read_assignments(sets or [], loop)
    with RunProgress(console, 1, settings.max_epochs) as progress:
        result = experiments.train_and_test(
            data,
            model,
            init,
            seed=seed,
            out=out,
            settings=settings,
            overrides=overrides,
            on_event=_heard(progress, out if tensorboard else None),
        )
    console.print(run_table(result))
    ceiling = say_ceiling(data)
    if out is not None:
        say(console, f"run kept in {out}")
    emit({"out": out, **result, **ceiling})


@app.command(
    epilog=examples(
        "sgurinit compare planted --models lightgcn --arms random,sgurinit --seeds 2 --out a",
        "sgurinit compare data/tiktok --models lightgcn,freedom,mgcn --out studies/first",
        "sgurinit compare data/tiktok --models vbpr --out b --set vbpr.reg=0.01 --jobs 2",
    ),
    options={"assignments": "--set"},
)
def compare(
    data: Data,
    *,
    models: Models,
    out: Annotated[Path, typer.Option(help=_FOLDER)],
    arms: Arms = "random,sgurinit,permuted",
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds: 0, 1, ...")] = 3,
    max_epochs: MaxEpochs = None,
    patience: Patience = None,
    jobs: Jobs = None,
    mask_valid: Annotated[
        bool, typer.Option("--mask-valid", help="Leave validation items out of the test ranking.")
    ] = False,
    n_clusters: ArmClusters = None,
    local_weight: ArmLocalWeight = None,
    local_norm: ArmLocalNorm = None,
    tensorboard: TensorBoard = False,
    sets: Sets = None,
) -> None:
    """Compare starts: every model from every arm with every seed, in one table and one page."""
    if_stopped(_RESUME.format(out))
    with waiting(console, "starting"):
        from sgurinit import experiments
        from sgurinit.cli._set_option import read_assignments
        from sgurinit.report.terminal.progress import RunProgress

    loop = given(max_epochs=max_epochs, patience=patience)
    settings, overrides = read_assignments(sets or [], loop)
    options = given(n_clusters=n_clusters, local_weight=local_weight, local_norm=local_norm)
    for arm, fields in experiments.shared_fields(names(arms), options).items():
        overrides[arm] = fields | overrides.get(arm, {})
    total = len(names(models)) * len(names(arms)) * seeds
    with RunProgress(console, total, settings.max_epochs) as progress:
        found = experiments.compare(
            data,
            names(models),
            names(arms),
            seeds,
            out=out,
            settings=settings,
            overrides=overrides,
            mask_valid=mask_valid,
            jobs=jobs or min(available_cores(), total),
            on_event=_heard(progress, out if tensorboard else None),
        )
    _show(found)


@app.command(
    epilog=examples(
        "sgurinit study studies/main.yaml", "sgurinit study studies/main.yaml --out x --jobs 2"
    )
)
def study(
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="Description of the study.")],
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the study. Run the same command again to resume. Default: FILE "
            "without .yaml."
        ),
    ] = None,
    jobs: Jobs = None,
    tensorboard: TensorBoard = False,
) -> None:
    """Search settings on validation data, then compare starts, as described in a file."""
    with waiting(console, "starting"):
        from sgurinit import experiments
        from sgurinit.report.terminal.progress import RunProgress

        described = experiments.Study.read(file)
    out = out or file.with_suffix("")
    if_stopped(_RESUME.format(out))
    total = described.plan.count()
    with RunProgress(console, total, described.plan.train.max_epochs) as progress:
        found = described.run(
            out,
            jobs=jobs or min(available_cores(), total),
            on_event=_heard(progress, out if tensorboard else None),
        )
    _show(found)


@app.command(
    epilog=examples("sgurinit report studies/main", "sgurinit report studies/main studies/other")
)
def report(
    folder: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a finished comparison or study.")
    ],
    other: Annotated[
        Path | None,
        typer.Argument(metavar="OTHER", help="A second one, to put beside the first."),
    ] = None,
    *,
    out: Annotated[
        Path, typer.Option(help="With OTHER: folder for the page and the table, made if absent.")
    ] = Path("sgurinit-beside"),
) -> None:
    """Print a finished comparison and write its page again, or put two side by side."""
    with waiting(console, "starting"):
        from sgurinit import experiments
        from sgurinit.report.page.side_by_side import write_side_by_side

    if other is None:
        _show(experiments.load_comparison(folder))
        return
    with waiting(console, "writing the page"):
        page = write_side_by_side(folder, other, out)
    table = page.with_name("beside.csv")
    say(console, f"page:  {page}\ntable: {table}")
    emit({"page": page, "table": table})


@app.command(epilog=examples("sgurinit demo", "sgurinit demo --out my-demo"))
def demo(
    out: Annotated[Path, typer.Option(help=_FOLDER)] = Path("sgurinit-demo"),
    jobs: Jobs = None,
) -> None:
    """Compare starts and controls on real data that come along (X-Wines), in a few minutes.

    The L2 penalties are those that are best for the random start on validation data.
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
        sets=["lightgcn.reg=0.001", "bprmf.reg=0.01"],
    )


def _show(found: Comparison) -> None:
    """Write the page and print the table."""
    with waiting(console, "writing the page"):
        from sgurinit.report.page import write_report
        from sgurinit.report.terminal.table import comparison_table

        page = write_report(found.folder)
    console.print(comparison_table(found.summary))
    tables = "results.csv, lifts.csv, epochs.csv, curves.csv, gaps.csv, untrained.csv, summary.json"
    say(console, f"page:   {page}\ntables: {found.folder}/{tables}")
    emit({"folder": found.folder, "page": page, **found.summary})


def _heard(progress: EventCallback, curves: Path | None) -> EventCallback:
    """Show progress and, where a folder is given, write curves into it."""
    if curves is None:
        return progress
    from sgurinit.report.tensorboard import TensorBoardCurves

    write = TensorBoardCurves(curves / "tensorboard")

    def hear(event: Any) -> None:
        progress(event)
        write(event)

    return hear
