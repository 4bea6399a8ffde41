"""The command line. Every command is a few lines that call the library.

Each part of the library is imported by the command that needs it, so `inspect` and `init` work
where the extra for training is not installed.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup
from typing_extensions import override

from sgurinit.errors import InputError
from sgurinit.runtime import available_cores, keep_freed_memory

# What comes with the extra; a missing package of any other name is a broken installation.
_EXTRA = {
    *("class_resolver", "filelock", "lightning", "optuna", "platformdirs", "plotly", "torch"),
    "yaml",
}
_BAD_INPUT, _INTERRUPTED = 2, 130

# What the parser raises for unknown or malformed options; typer gives its subclasses a name only.
_UsageError: Any = typer.BadParameter.__base__

console = Console()
err = Console(stderr=True)


class _Commands(TyperGroup):
    """Turns what a user can mend into one line and an exit code."""

    @override
    def main(self, *args: Any, **extra: Any) -> NoReturn:
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except _UsageError as error:
            _say(err, f"error: {' '.join(error.format_message().split())}")
            code = _BAD_INPUT
        sys.exit(code or 0)

    @override
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            _fail(str(error))
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in _EXTRA:
                raise
            _fail(
                f"this command needs {error.name}, which is not installed: "
                "pip install 'sgurinit[train]'"
            )
        except KeyboardInterrupt:
            err.print("\nstopped; what is finished is kept, the same command goes on from there")
            raise typer.Exit(_INTERRUPTED) from None


def _say(where: Console, line: str) -> None:
    """Print text with names in it: no markup in it counts, and a path is not broken in two."""
    where.print(line, markup=False, highlight=False, soft_wrap=True)


def _fail(message: str) -> NoReturn:
    line = " ".join(message.split())
    _say(err, f"error: {line}")
    raise typer.Exit(_BAD_INPUT) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help=(
        "A meaningful, training-free start for every user of a multimodal recommender.\n\n"
        "DATA is a folder in a known layout, or [bold]planted[/bold] for generated data.\n\n"
        "Begin with [bold]sgurinit demo[/bold]."
    ),
)


def _version(wanted: bool) -> None:
    if wanted:
        console.print(f"sgurinit {version('sgurinit')}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    _show_version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None: ...


Data = Annotated[str, typer.Argument(metavar="DATA", help="Folder of the data, or 'planted'.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
MaxEpochs = Annotated[int | None, typer.Option(min=1, help="Epochs at the most. Default 1000.")]
Patience = Annotated[
    int | None, typer.Option(min=1, help="Epochs without a better validation score. Default 20.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME.FIELD=VALUE",
        help="A field of a model, an arm or 'train', such as lightgcn.n_layers=2. Repeatable.",
    ),
]
Clusters = Annotated[int | None, typer.Option(min=1, help="Clusters per modality, K. Default 8.")]
Mix = Annotated[
    float | None, typer.Option(min=0, max=1, help="Weight of the local part, lambda. Default 0.1.")
]
LocalNorm = Annotated[
    str | None, typer.Option(help="Weights of the local part, 'mean' or 'sym'. Default mean.")
]

Prepare = Annotated[str, typer.Option(help="Done to features first, in order: center,unit,whiten.")]
ReduceTo = Annotated[
    int | None, typer.Option(min=1, help="Also reduce all modalities jointly to this width.")
]


def _examples(*lines: str) -> str:
    return "Examples:\n\n" + "\n\n".join(f"[dim]$[/dim] {line}" for line in lines)


@app.command(epilog=_examples("sgurinit inspect planted", "sgurinit inspect data/tiktok"))
def inspect(data: Data) -> None:
    """Show what a data set holds."""
    from sgurinit.data import load, summary
    from sgurinit.report.inspection import data_table

    console.print(data_table(summary(load(data))))


@app.command(
    epilog=_examples(
        "sgurinit init data/tiktok --out start.safetensors",
        "sgurinit init data/tiktok --out users.parquet --n-clusters 4 --mix 0.5",
    )
)
def init(
    data: Data,
    *,
    out: Annotated[Path, typer.Option(help="File to write: .safetensors or .parquet.")],
    n_clusters: Clusters = None,
    mix: Mix = None,
    local_norm: LocalNorm = None,
    prepare: Prepare = "",
    reduce_to: ReduceTo = None,
    collaborative: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Share of those columns that tell who uses an item. Default 0.5."
        ),
    ] = None,
    seed: Seed = 0,
) -> None:
    """Compute a start for every user and save it. No training, no torch."""
    from sgurinit.core import SGURInit
    from sgurinit.core.start_io import check_target
    from sgurinit.data import load
    from sgurinit.report.inspection import start_table

    given = _given(n_clusters=n_clusters, mix=mix, local_norm=local_norm, reduce_to=reduce_to)
    given |= _given(collaborative=collaborative)
    estimator = SGURInit(**given, prepare=_names(prepare), random_state=seed)
    check_target(out)
    start = estimator.fit(load(data)).start_
    start.save(out)
    console.print(start_table(start.diagnostics))
    _say(console, f"saved to {out}")


@app.command(
    epilog=_examples(
        "sgurinit stream logs/ --features text=text.npy --item-ids items.parquet --out users",
        "sgurinit stream l.parquet --features image=i.npy --reduce-to 64 --tables reduced --out x",
    )
)
def stream(
    interactions: Annotated[
        list[str],
        typer.Argument(
            metavar="LOG...",
            help="Parquet files with columns user and item, folders of them, or an .npy edge list.",
        ),
    ],
    *,
    features: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=FILE.npy", help="Features of the items, a row each. Repeatable."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    item_ids: Annotated[
        Path | None,
        typer.Option(
            help="Parquet file whose column item names the rows of the features. Without it the "
            "log holds positions."
        ),
    ] = None,
    n_clusters: Clusters = None,
    mix: Mix = None,
    local_norm: LocalNorm = None,
    prepare: Prepare = "",
    reduce_to: ReduceTo = None,
    tables: Annotated[
        str, typer.Option(help="Modalities whose users are wanted, or reduced. All by default.")
    ] = "",
    kmeans: Annotated[
        str | None, typer.Option(help="'lloyd', 'minibatch' or 'faiss'. Default lloyd.")
    ] = None,
    layout: Annotated[str, typer.Option(help="'npy' or 'parquet'.")] = "npy",
    dtype: Annotated[str, typer.Option(help="'float32' or 'float16'.")] = "float32",
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Threads. One per core by default.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Compute starts from logs of any size, without holding them in memory."""
    from sgurinit.core import SGURInit
    from sgurinit.data.layouts.arrays import named_features
    from sgurinit.data.layouts.tables import read_ids
    from sgurinit.report.progress import StageProgress

    given = _given(n_clusters=n_clusters, mix=mix, local_norm=local_norm, reduce_to=reduce_to)
    given |= _given(kmeans=kmeans)
    estimator = SGURInit(
        **given, prepare=_names(prepare), random_state=seed, n_jobs=jobs or available_cores()
    )
    ids = None if item_ids is None else read_ids(item_ids, "item").to_list()
    with StageProgress(console) as progress:
        estimator.stream(
            interactions,
            named_features(features),
            out,
            item_ids=ids,
            tables=_names(tables) or None,
            layout=layout,
            dtype=dtype,
            listen=progress,
        )
    _say(console, f"saved to {out}")


@app.command(
    epilog=_examples(
        "sgurinit train lightgcn planted --init sgurinit",
        "sgurinit train freedom data/tiktok --init random --out runs/a --set freedom.k=20",
    )
)
def train(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")],
    data: Data,
    *,
    init: Annotated[str, typer.Option(help="Arm that starts the users.")] = "sgurinit",
    out: Annotated[
        Path | None, typer.Option(help="Folder to keep the run in; a killed run resumes there.")
    ] = None,
    seed: Seed = 0,
    max_epochs: MaxEpochs = None,
    patience: Patience = None,
    sets: Sets = None,
) -> None:
    """Train one model with one start and test it once."""
    from sgurinit import experiments
    from sgurinit.report.progress import RunProgress
    from sgurinit.report.table import run_table

    loop = _given(max_epochs=max_epochs, patience=patience)
    settings, overrides = experiments.read_assignments(sets or [], loop)
    with RunProgress(console, 1, settings.max_epochs) as progress:
        result = experiments.train_and_test(
            data,
            model,
            init,
            seed=seed,
            out=out,
            settings=settings,
            overrides=overrides,
            listen=progress,
        )
    console.print(run_table(result))
    if out is not None:
        _say(console, f"run kept in {out}")


@app.command(
    epilog=_examples(
        "sgurinit compare planted --models lightgcn --arms random,sgurinit --seeds 2 --out a",
        "sgurinit compare data/tiktok --models lightgcn,freedom,mgcn --out studies/first",
        "sgurinit compare data/tiktok --models vbpr --out b --set vbpr.reg=0.01 --jobs 2",
    )
)
def compare(
    data: Data,
    *,
    models: Annotated[str, typer.Option(help="Names of models, with commas.")],
    out: Annotated[Path, typer.Option(help="Folder of the comparison; resumes there.")],
    arms: Annotated[str, typer.Option(help="Names of arms, with commas.")] = (
        "random,sgurinit,permuted"
    ),
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds: 0, 1, ...")] = 3,
    max_epochs: MaxEpochs = None,
    patience: Patience = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at a time, sharing the cores. One per core by default."),
    ] = None,
    mask_valid: Annotated[
        bool, typer.Option("--mask-valid", help="Leave validation items out of the test ranking.")
    ] = False,
    n_clusters: Clusters = None,
    mix: Mix = None,
    local_norm: LocalNorm = None,
    sets: Sets = None,
) -> None:
    """Compare starts: models x arms x seeds, one table and one page."""
    from sgurinit import experiments
    from sgurinit.report.page import write_report
    from sgurinit.report.progress import RunProgress
    from sgurinit.report.table import comparison_table

    loop = _given(max_epochs=max_epochs, patience=patience)
    settings, overrides = experiments.read_assignments(sets or [], loop)
    options = _given(n_clusters=n_clusters, mix=mix, local_norm=local_norm)
    for arm, fields in experiments.shared_fields(_names(arms), options).items():
        overrides[arm] = fields | overrides.get(arm, {})
    total = len(_names(models)) * len(_names(arms)) * seeds
    with RunProgress(console, total, settings.max_epochs) as progress:
        found = experiments.compare(
            data,
            _names(models),
            _names(arms),
            seeds,
            out=out,
            settings=settings,
            overrides=overrides,
            mask_valid=mask_valid,
            jobs=jobs or min(available_cores(), total),
            listen=progress,
        )
    page = write_report(out)
    console.print(comparison_table(found.summary))
    _say(console, f"page:   {page}\ntables: {out}/results.csv, curves.csv, summary.json")


@app.command(
    epilog=_examples(
        "sgurinit study studies/main.yaml", "sgurinit study studies/main.yaml --out x --jobs 2"
    )
)
def study(
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="Description of the study.")],
    *,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the study; resumes there. FILE without .yaml by default."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at a time, sharing the cores. One per core by default."),
    ] = None,
) -> None:
    """Search settings on validation data, then compare starts, as a file describes."""
    from sgurinit import experiments
    from sgurinit.report.page import write_report
    from sgurinit.report.progress import RunProgress
    from sgurinit.report.table import comparison_table

    described = experiments.Study.read(file)
    total = described.plan.count()
    with RunProgress(console, total, described.plan.train.max_epochs) as progress:
        found = described.run(out, jobs=jobs or min(available_cores(), total), listen=progress)
    folder = found.folder
    page = write_report(folder)
    console.print(comparison_table(found.summary))
    _say(console, f"page:   {page}\ntables: {folder}/results.csv, curves.csv, summary.json")


@app.command(epilog=_examples("sgurinit demo", "sgurinit demo --out my-demo"))
def demo(
    out: Annotated[Path, typer.Option(help="Folder of the comparison; resumes there.")] = Path(
        "sgurinit-demo"
    ),
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at a time, sharing the cores. One per core by default."),
    ] = None,
) -> None:
    """Random start against SG-URInit on generated data, in a few minutes."""
    compare(
        "planted",
        models="lightgcn,freedom",
        arms="random,sgurinit,permuted",
        seeds=2,
        out=out,
        max_epochs=300,
        patience=20,
        jobs=jobs,
    )


def _given(**options: Any) -> dict[str, Any]:
    """Options that were given; the library has the defaults of the others."""
    return {name: value for name, value in options.items() if value is not None}


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def main() -> None:
    """Run the command line."""
    keep_freed_memory()
    app()


if __name__ == "__main__":
    main()
