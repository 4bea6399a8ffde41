"""Commands that compute starts: no training, no torch.

Each part of the library is imported by the command that needs it, so these work where the extra
for training is not installed.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from sgurinit.cli.app import app, console, emit, if_stopped, say, say_ceiling
from sgurinit.cli.options import (
    Clusters,
    Collaborative,
    CollaborativeRank,
    Content,
    Data,
    JointDim,
    KMeans,
    LocalNorm,
    LocalWeight,
    Preprocess,
    Preset,
    Seed,
    examples,
    given,
    names,
)
from sgurinit.errors import InputError
from sgurinit.runtime import available_cores

if TYPE_CHECKING:
    from sgurinit.core import SGURInit


@app.command(epilog=examples("sgurinit inspect planted", "sgurinit inspect data/tiktok"))
def inspect(data: Data) -> None:
    """Show what a data set holds."""
    from sgurinit.data import load_dataset, recognise, summary
    from sgurinit.report.terminal.inspection import data_table
    from sgurinit.report.terminal.progress import waiting

    with waiting(console, "reading"):
        facts = summary(load_dataset(data))
    if data != "planted":
        found = recognise(data)
        say(console, f"recognised as {found.layout.name} by {found.saw}")
    console.print(data_table(facts))
    emit(facts.to_dict() | say_ceiling(data))


@app.command(
    epilog=examples(
        "sgurinit init data/tiktok --out start.safetensors",
        "sgurinit init data/tiktok --out users.parquet --n-clusters 4 --local-norm sym",
        "sgurinit init data/tiktok --out hybrid.safetensors --preset hybrid --joint-dim 64",
        "sgurinit init log.parquet --spark spark://host:7077 --features text=items.parquet --out x",
    )
)
def init(
    data: Data,
    *,
    out: Annotated[
        str, typer.Option(help="File to write, .safetensors or .parquet; with --spark a folder.")
    ],
    spark: Annotated[
        str | None,
        typer.Option(
            metavar="MASTER",
            help=escape(
                "Compute on Spark: a master such as 'local[4]' or 'spark://host:7077', or "
                "'sc://host' for Connect. DATA is then Parquet with columns user and item."
            ),
        ),
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PARQUET",
            help="With --spark: a modality's name and its Parquet file, with columns item and one "
            "of lists of numbers. Repeatable.",
        ),
    ] = None,
    n_clusters: Clusters = None,
    local_weight: LocalWeight = None,
    local_norm: LocalNorm = None,
    preprocess: Preprocess = "",
    joint_dim: JointDim = None,
    collaborative: Collaborative = None,
    collaborative_rank: CollaborativeRank = None,
    content: Content = None,
    preset: Preset = None,
    seed: Seed = 0,
) -> None:
    """Compute a start for every user and save it. Needs neither training nor torch."""
    from sgurinit.core.start_io import check_target
    from sgurinit.data import load_dataset
    from sgurinit.report.terminal.inspection import start_table
    from sgurinit.report.terminal.progress import StageProgress

    parameters = given(
        n_clusters=n_clusters,
        local_weight=local_weight,
        local_norm=local_norm,
        preprocess=names(preprocess) or None,
        joint_dim=joint_dim,
        collaborative=collaborative,
        collaborative_rank=collaborative_rank,
        content=content,
    )
    if spark is not None:
        from sgurinit.cli.spark import init_on_spark

        init_on_spark(spark, data, features or [], out, preset, random_state=seed, **parameters)
        return
    if features:
        raise InputError("--features: only with --spark; a data set brings its own")
    estimator = _estimator(preset, seed, **parameters)
    check_target(Path(out))
    with StageProgress(console) as progress:
        progress("reading", 0, 0)
        dataset = load_dataset(data)
        start = estimator.fit(dataset, progress=progress).start_
        progress("diagnostics", 0, 0)
        diagnostics = start.diagnostics
        progress("writing", 0, 0)
        start.save(Path(out))
    console.print(start_table(diagnostics))
    say(console, f"saved to {out}")
    emit({"out": out, "config": start.config, "diagnostics": diagnostics.to_dict()})


@app.command(
    epilog=examples(
        "sgurinit stream log.parquet --features text=items.parquet --out users --layout parquet",
        "sgurinit stream logs/ --features text=text.npy --item-ids items.parquet --out users",
        "sgurinit stream l.parquet --features image=i.npy --joint-dim 64 --tables joint --out x",
    ),
    options={"columns[0]": "--user", "columns[1]": "--item"},
)
def stream(
    interactions: Annotated[
        list[str],
        typer.Argument(
            metavar="LOG...",
            help="Parquet files with a row per interaction, folders of them, or an .npy edge list.",
        ),
    ],
    *,
    features: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=FILE",
            help="A modality's name and its file: .npy with a row per item, or .parquet with ids "
            "and a column of lists of numbers. Repeatable.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    user: Annotated[str, typer.Option(help="Column of users in the log.")] = "user",
    item: Annotated[
        str, typer.Option(help="Column of items in the log, and in Parquet files of items.")
    ] = "item",
    item_ids: Annotated[
        Path | None,
        typer.Option(
            help="Parquet file with the ids of the items. With .npy features: one per row, in "
            "their order; without it the log holds row numbers. With .parquet features: needed "
            "where items of the log have no vector; the log itself will do."
        ),
    ] = None,
    n_clusters: Clusters = None,
    local_weight: LocalWeight = None,
    local_norm: LocalNorm = None,
    preprocess: Preprocess = "",
    joint_dim: JointDim = None,
    collaborative: Collaborative = None,
    collaborative_rank: CollaborativeRank = None,
    content: Content = None,
    preset: Preset = None,
    tables: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME", help="Modalities to write the users of, or joint. Default: all."
        ),
    ] = "",
    kmeans: KMeans = None,
    layout: Annotated[
        str, typer.Option(metavar="npy|parquet", help="Format of the users' vectors.")
    ] = "npy",
    dtype: Annotated[
        str,
        typer.Option(
            metavar="float32|float16|bfloat16", help="Type of the numbers; bfloat16 for npy only."
        ),
    ] = "float32",
    jobs: Annotated[int | None, typer.Option(min=1, help="Threads. Default: one per core.")] = None,
    seed: Seed = 0,
) -> None:
    """Compute starts from logs of any size, without holding them in memory."""
    from sgurinit.data.layouts.vectors import named_features
    from sgurinit.files import read_json
    from sgurinit.report.terminal.progress import StageProgress

    if_stopped(f"what is done is kept beside {out}; run the same command again to resume")
    estimator = _estimator(
        preset,
        seed,
        **given(
            n_clusters=n_clusters,
            local_weight=local_weight,
            local_norm=local_norm,
            preprocess=names(preprocess) or None,
            joint_dim=joint_dim,
            collaborative=collaborative,
            collaborative_rank=collaborative_rank,
            content=content,
            kmeans=kmeans,
        ),
        n_jobs=jobs or available_cores(),
    )
    with StageProgress(console) as progress:
        progress("features", 0, 0)
        tables_of_items, ids = named_features(features, item_ids, item)
        estimator.stream(
            interactions,
            tables_of_items,
            out,
            item_ids=ids,
            columns=(user, item),
            tables=names(tables) or None,
            layout=layout,
            dtype=dtype,
            progress=progress,
        )
    facts = read_json(out / "start.json")
    say(console, f"{facts['n_users']:,} users of {', '.join(facts['tables'])} in {out / 'users'}")
    say(console, f"saved to {out}")
    emit({"out": out, **facts})


def _estimator(preset: str | None, seed: int, **parameters: Any) -> SGURInit:
    from sgurinit.core import SGURInit

    if preset is None:
        return SGURInit(**parameters, random_state=seed)
    return SGURInit.from_preset(preset, **parameters, random_state=seed)
