"""Commands that compute starts. They need neither training nor torch.

Every command imports the parts of the library that it needs, so these commands work without the
extra for training.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from sgurinit.cli.app import app, console, print_ceiling, print_json, print_line, set_stop_message
from sgurinit.cli.options import (
    ClustersOption,
    CollaborativeOption,
    CollaborativeRankOption,
    ContentWeightOption,
    DataArgument,
    JointDimOption,
    KMeansOption,
    LocalNormOption,
    LocalWeightOption,
    PenaltyOption,
    PreprocessOption,
    PresetOption,
    SeedOption,
    StartDeviceOption,
    drop_missing,
    format_examples,
    split_names,
)
from sgurinit.errors import InputError
from sgurinit.runtime import count_cores

if TYPE_CHECKING:
    from sgurinit.core import SGURInit


@app.command(epilog=format_examples("sgurinit inspect planted", "sgurinit inspect data/tiktok"))
def inspect(data: DataArgument) -> None:
    """Show the size, splits and features of a data set, and whether its content can help."""
    from sgurinit.data import load_dataset, recognize_layout, summarize
    from sgurinit.report.terminal.dataset import data_table
    from sgurinit.report.terminal.progress import show_waiting

    with show_waiting(console, "reading"):
        facts = summarize(load_dataset(data))
    if data != "planted":
        found = recognize_layout(data)
        print_line(console, f"recognized as {found.layout.name} by {found.evidence}")
    console.print(data_table(facts))
    print_json(facts.to_dict() | print_ceiling(data))


@app.command(
    epilog=format_examples(
        "sgurinit init data/tiktok --out start.safetensors",
        "sgurinit init data/tiktok --out users.parquet --n-clusters 4 --local-norm sym",
        "sgurinit init data/tiktok --out hybrid.safetensors --preset hybrid --joint-dim 64",
        "sgurinit init log.parquet --spark spark://host:7077 --features text=items.parquet --out x",
    )
)
def init(
    data: DataArgument,
    *,
    out: Annotated[
        str,
        typer.Option(
            metavar="PATH", help="File to write, .safetensors or .parquet; with --spark, a folder."
        ),
    ],
    spark: Annotated[
        str | None,
        typer.Option(
            metavar="MASTER",
            help=escape(
                "Compute on Spark, given a master such as 'local[4]' or 'spark://host:7077', or "
                "'sc://host' for Spark Connect. DATA is then Parquet with columns user and item."
            ),
        ),
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PARQUET",
            help="With --spark: name of a modality and its Parquet file, with a column item and a "
            "column of lists of numbers. Repeatable.",
        ),
    ] = None,
    n_clusters: ClustersOption = None,
    local_weight: LocalWeightOption = None,
    local_norm: LocalNormOption = None,
    preprocess: PreprocessOption = "",
    joint_dim: JointDimOption = None,
    collaborative: CollaborativeOption = None,
    content_weight: ContentWeightOption = None,
    penalty: PenaltyOption = None,
    collaborative_rank: CollaborativeRankOption = None,
    preset: PresetOption = None,
    seed: SeedOption = 0,
    device: StartDeviceOption = "cpu",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file; not with --spark.")
    ] = False,
) -> None:
    """Compute a start for every user and save it. Needs no training, and no torch on the CPU."""
    from sgurinit.core.params import Parameters
    from sgurinit.core.start import check_start_path
    from sgurinit.data import load_dataset
    from sgurinit.report.terminal.progress import StageProgress
    from sgurinit.report.terminal.start import start_table

    parameters = drop_missing(
        n_clusters=n_clusters,
        local_weight=local_weight,
        local_norm=local_norm,
        preprocess=split_names(preprocess) or None,
        joint_dim=joint_dim,
        collaborative=collaborative,
        content_weight=content_weight,
        penalty=penalty,
        collaborative_rank=collaborative_rank,
    )
    estimator = _estimator(preset, seed, **parameters, device=device)
    Parameters.check(estimator.get_params(deep=False)).check_joint_written()
    if spark is not None:
        if overwrite:
            raise InputError("--overwrite is not available with --spark; give a new folder")
        if device != "cpu":
            raise InputError("--device is not available with --spark, which uses its own machines")
        from sgurinit.cli.spark import init_on_spark

        init_on_spark(spark, data, features or [], out, preset, random_state=seed, **parameters)
        return
    if features:
        raise InputError("--features needs --spark; a data set has its own features")
    check_start_path(Path(out))
    if Path(out).exists() and not overwrite:
        raise InputError(f"{out}: exists already; give another --out, or --overwrite to replace it")
    with StageProgress(console) as progress:
        progress("reading", 0, 0)
        dataset = load_dataset(data)
        start = estimator.fit(dataset, progress=progress).start_
        progress("diagnostics", 0, 0)
        diagnostics = start.diagnostics
        progress("writing", 0, 0)
        start.save(Path(out))
    console.print(start_table(diagnostics))
    held_out = len(dataset.valid) + len(dataset.test)
    print_line(
        console,
        f"training interactions {diagnostics.n_interactions:,} ({held_out:,} held out for "
        "validation and test)",
    )
    print_line(console, f"saved to {out}")
    print_json({"out": out, "config": start.config, "diagnostics": diagnostics.to_dict()})


@app.command(
    epilog=format_examples(
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
            help="Parquet files with a row per interaction, folders of such files, or an .npy "
            "edge list.",
        ),
    ],
    *,
    features: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=FILE",
            help="Name of a modality and its file: .npy with a row per item, or .parquet with ids "
            "and a column of lists of numbers. Repeatable.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder to create.")],
    user: Annotated[str, typer.Option(metavar="NAME", help="Column of users in the log.")] = "user",
    item: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Column of items in the log, and in Parquet files of items."
        ),
    ] = "item",
    item_ids: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Parquet file with the ids of the items. For .npy features: the id of each row; "
            "without it, items in the log are row numbers. For .parquet features: needed if "
            "items in the log have no vector; this can be the log itself.",
        ),
    ] = None,
    n_clusters: ClustersOption = None,
    local_weight: LocalWeightOption = None,
    local_norm: LocalNormOption = None,
    preprocess: PreprocessOption = "",
    joint_dim: JointDimOption = None,
    collaborative: CollaborativeOption = None,
    content_weight: ContentWeightOption = None,
    penalty: PenaltyOption = None,
    collaborative_rank: CollaborativeRankOption = None,
    preset: PresetOption = None,
    tables: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME", help="Tables to write: modalities or joint. Default: all."
        ),
    ] = "",
    kmeans: KMeansOption = None,
    layout: Annotated[
        str, typer.Option(metavar="npy|parquet", help="Format of the users' vectors.")
    ] = "npy",
    dtype: Annotated[
        str,
        typer.Option(
            metavar="float32|float16|bfloat16", help="Type of the numbers; bfloat16 only for npy."
        ),
    ] = "float32",
    jobs: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Threads. Default: one per core.")
    ] = None,
    seed: SeedOption = 0,
    device: StartDeviceOption = "cpu",
) -> None:
    """Compute starts from logs of any size, without loading them into memory."""
    from sgurinit.cli._features_option import parse_features
    from sgurinit.data.item_vectors import read_item_features
    from sgurinit.files import read_json
    from sgurinit.report.terminal.progress import StageProgress

    set_stop_message(f"finished work is kept next to {out}; run the same command again to resume")
    estimator = _estimator(
        preset,
        seed,
        **drop_missing(
            n_clusters=n_clusters,
            local_weight=local_weight,
            local_norm=local_norm,
            preprocess=split_names(preprocess) or None,
            joint_dim=joint_dim,
            collaborative=collaborative,
            content_weight=content_weight,
            penalty=penalty,
            collaborative_rank=collaborative_rank,
            kmeans=kmeans,
        ),
        n_jobs=jobs or count_cores(),
        device=device,
    )
    with StageProgress(console) as progress:
        progress("features", 0, 0)
        tables_of_items, ids = read_item_features(parse_features(features), item_ids, item)
        estimator.stream(
            interactions,
            tables_of_items,
            out,
            item_ids=ids,
            columns=(user, item),
            tables=split_names(tables) or None,
            layout=layout,
            dtype=dtype,
            progress=progress,
        )
    facts = read_json(out / "start.json")
    print_line(
        console, f"{facts['n_users']:,} users of {', '.join(facts['tables'])} in {out / 'users'}"
    )
    print_line(console, f"saved to {out}")
    print_json({"out": out, **facts})


def _estimator(preset: str | None, seed: int, **parameters: Any) -> SGURInit:
    from sgurinit.core import SGURInit

    if preset is None:
        return SGURInit(**parameters, random_state=seed)
    return SGURInit.from_preset(preset, **parameters, random_state=seed)
