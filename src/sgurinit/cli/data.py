"""Commands that make and change data sets.

Each command imports the parts of the library that it needs.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sgurinit.cli.app import app, console, print_json, print_line, set_stop_message
from sgurinit.cli.options import SeedOption, drop_missing, format_examples, split_names
from sgurinit.errors import InputError

# How a tab is written on the command line.
_TABS = {"\\t": "\t", "tab": "\t"}


@app.command(
    epilog=format_examples(
        "sgurinit prepare data/ml-100k --out ml --min-value 4",
        "sgurinit prepare reviews_Baby_5.json.gz --items meta_Baby.json.gz --out baby",
        "sgurinit prepare clicks.parquet --user visitor --item product --split time --out clicks",
        "sgurinit prepare orders.parquet --features text=products.parquet --out shop",
        "sgurinit prepare plays.csv --columns user,item,time --time-unit ms --out plays",
    ),
    options={"header": "--columns"}
    | {f'columns["{role}"]': f"--{role}" for role in ("user", "item", "value", "time")},
)
def prepare(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="LOG",
            help="Log of interactions: a CSV, TSV, Parquet or JSON lines file, also gzipped, or a "
            "folder of MovieLens or RecBole.",
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(help="Folder to create.")],
    items: Annotated[
        Path | None, typer.Option(help="File that describes the items, such as their titles.")
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE.parquet",
            help="Item vectors: the name of a modality, and its Parquet file with a column of item "
            "ids and a column of lists of numbers. Repeatable.",
        ),
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="Column name of the users. Default: recognized.")
    ] = None,
    item: Annotated[
        str | None, typer.Option(help="Column name of the items. Default: recognized.")
    ] = None,
    value: Annotated[
        str | None, typer.Option(help="Column name of ratings or counts. Default: recognized.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="Column name of the times. Default: recognized.")
    ] = None,
    time_unit: Annotated[
        str | None,
        typer.Option(
            metavar="s|ms|us|ns|iso|order",
            help="Unit of the times: iso for text such as 2024-01-31T12:00, order for numbers that "
            "only give an order. Default: that of the source, mostly s.",
        ),
    ] = None,
    columns: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME", help="Names of all columns, if the file has no header line."
        ),
    ] = "",
    separator: Annotated[
        str | None,
        typer.Option(
            help="Separator of the fields, one character or 'tab'. Default: by the suffix."
        ),
    ] = None,
    min_value: Annotated[
        float | None, typer.Option(help="Drop interactions with a smaller rating or count.")
    ] = None,
    core: Annotated[
        int,
        typer.Option(
            min=1,
            help="Repeatedly drop users and items with fewer interactions; 1 keeps all.",
        ),
    ] = 5,
    split: Annotated[
        str,
        typer.Option(
            metavar="random|leave-one-out| user-time|time| cold-items|cold-users",
            help="How to split; leave-one-out, user-time and time need times.",
        ),
    ] = "random",
    ratios: Annotated[
        str,
        typer.Option(
            metavar="N:N:N",
            help="Shares of train, validation and test interactions, such as 7:1:2.",
        ),
    ] = "8:1:1",
    name: Annotated[
        str | None, typer.Option(help="Name of the data set. Default: the name of the folder.")
    ] = None,
    seed: SeedOption = 0,
) -> None:
    """Make a data set from a raw log: filter, split and check it."""
    from sgurinit.cli._features_option import parse_features
    from sgurinit.data.prepare import find_source
    from sgurinit.data.prepare import prepare as make
    from sgurinit.report.terminal.card import card_table
    from sgurinit.report.terminal.dataset import suggest_features
    from sgurinit.report.terminal.progress import StageProgress

    log = find_source(
        source,
        columns=drop_missing(user=user, item=item, value=value, time=time),
        header=split_names(columns) or None,
        separator=_parse_separator(separator),
        items=items,
    )
    with StageProgress(console) as progress:
        card = make(
            log,
            out,
            min_value=min_value,
            core=core,
            split=split,
            ratios=_parse_ratios(ratios),
            seed=seed,
            time_unit=time_unit,
            name=name,
            features=parse_features(features or [], [".parquet"]),
            progress=progress,
        )
    console.print(card_table(card))
    print_line(console, f"saved to {out}")
    if not card.features:
        print_line(console, suggest_features(str(out)))
    print_json({"out": out, **card.to_dict()})


def _parse_separator(separator: str | None) -> str | None:
    r"""Return the character. ``tab`` and ``\t`` stand for a tab."""
    if separator is None:
        return None
    character = _TABS.get(separator, separator)
    if len(character.encode()) != 1 or character in '"\r\n':
        raise InputError(
            f"--separator {separator!r}: expected tab, or one character other than a quote or a "
            "line break"
        )
    return character


def _parse_ratios(text: str) -> tuple[int, int, int]:
    try:
        train, valid, test = (int(part) for part in text.split(":"))
    except ValueError:
        raise InputError(f"--ratios {text}: expected three whole numbers, such as 8:1:1") from None
    return train, valid, test


@app.command(
    epilog=format_examples(
        "sgurinit encode ml --text title,year,genres",
        "sgurinit encode baby --text title,brand --model BAAI/bge-m3 --batch-size 256",
        "sgurinit encode baby --images photos/ --model vit_base_patch32_clip_224.openai",
        "sgurinit encode ml --attributes genres --separator '|'",
        "sgurinit encode baby --vectors audio.parquet --modality audio",
    ),
    options={"columns": "--text", "column": "--image-column"},
)
def encode(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="Folder of a data set in the native layout, as prepare writes it."
        ),
    ],
    *,
    text: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME", help="Encode the joined text of these columns of items.parquet."
        ),
    ] = "",
    images: Annotated[Path | None, typer.Option(help="Encode the images in this folder.")] = None,
    image_column: Annotated[
        str | None,
        typer.Option(
            help="With --images: column of items.parquet with the file names of the images. "
            "Default: the images are named by item id."
        ),
    ] = None,
    vectors: Annotated[
        Path | None,
        typer.Option(help="Join existing vectors by item id: a .parquet, .csv, .tsv or .npy file."),
    ] = None,
    attributes: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME",
            help="Encode the values that items share in these columns of items.parquet, such as "
            "genres and brands.",
        ),
    ] = "",
    separator: Annotated[
        str | None,
        typer.Option(
            help="With --attributes: what separates the values in a text, or 'tab'. Default: the "
            "whole text is one value."
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="tf-idf|binary",
            help="With --attributes: weigh rare values more, or all the same. Default: tf-idf.",
        ),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(
            min=1, help="With --attributes: largest number of features per item. Default: 128."
        ),
    ] = None,
    ids: Annotated[
        Path | None,
        typer.Option(help="With --vectors FILE.npy: text file with the item id of each row."),
    ] = None,
    modality: Annotated[
        str | None,
        typer.Option(
            help="Name of the new modality. Default: text, image, attributes or the file's name."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Name or folder of a model of sentence-transformers (text) or timm (images). "
            "Default: minilm for text, CLIP ViT-B/32 for images."
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Device, such as cpu or cuda. Default: cuda where available.")
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Number of texts or images to encode at a time.")
    ] = 64,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace features of the same name.")
    ] = False,
) -> None:
    """Add features of the items from text, images, attributes or existing vectors."""
    from sgurinit.data.encode import encode as make
    from sgurinit.data.encode import encode_attributes, join_vectors
    from sgurinit.report.terminal.progress import StageProgress

    if sum((bool(text), bool(attributes), images is not None, vectors is not None)) != 1:
        raise InputError("give one of --text, --images, --attributes and --vectors")
    settings = drop_missing(separator=separator, weights=weights, width=width)
    if settings and not attributes:
        raise InputError(f"--{next(iter(settings))} has no effect without --attributes")
    if vectors is not None:
        name = modality or vectors.stem
        done = join_vectors(data, name, vectors, ids=ids, overwrite=overwrite)
    elif attributes:
        if separator in _TABS:
            settings["separator"] = _TABS[separator]
        with StageProgress(console) as progress:
            done = encode_attributes(
                data,
                modality or "attributes",
                split_names(attributes),
                overwrite=overwrite,
                progress=progress,
                **settings,
            )
    else:
        columns = split_names(text)
        options = drop_missing(model=model, device=device, batch_size=batch_size)
        values, encoder = _load_encoder(data, columns, images, image_column, options)
        set_stop_message("finished blocks are kept; run the same command again to resume")
        with StageProgress(console) as progress:
            name = modality or ("text" if text else "image")
            done = make(data, name, values, encoder, overwrite=overwrite, progress=progress)
    print_line(console, f"{done.modality}: {done.items:,} items, {done.width} features each")
    if done.values is not None:
        print_line(
            console,
            f"{done.values:,} values that items share, {done.explained:.1%} of their weight kept; "
            f"left out: {done.dropped_values:,} values of one item",
        )
    for reason, count in done.missing.items():
        print_line(console, f"without {done.modality}: {count:,} items ({reason})")
    if done.missing:
        print_line(console, f"listed in {data / 'features' / f'{done.modality}.missing.csv'}")
    if done.unknown:
        print_line(
            console, f"left out: {done.unknown:,} vectors of items that are not in the data set"
        )
    print_json({"out": data, **asdict(done)})


def _load_encoder(
    data: Path,
    columns: list[str],
    images: Path | None,
    image_column: str | None,
    options: dict[str, Any],
) -> tuple[list[Any], Any]:
    """Return what to encode, and the encoder: of images if their folder is given, or of text."""
    from sgurinit.data.encode import find_images, join_text_columns
    from sgurinit.report.terminal.progress import show_waiting

    with show_waiting(console, "loading the model"):
        if images is not None:
            files = list(find_images(data, images, image_column))
            from sgurinit.data.encode.timm_encoder import load_timm_encoder

            return files, load_timm_encoder(**options)
        texts = list(join_text_columns(data, columns))
        from sgurinit.data.encode.text_encoder import TextEncoder

        return texts, TextEncoder(**options)


@app.command(
    epilog=format_examples(
        "sgurinit convert data/tiktok tiktok-recbole --to recbole",
        "sgurinit convert start.safetensors ml.useremb --to recbole --table joint",
    )
)
def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="Folder or name of the data set, or a saved start (.safetensors)."
        ),
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder to create; for a start, a .useremb file.")
    ],
    *,
    to: Annotated[
        str,
        typer.Option(
            help="Layout to write: native, recbole, mmrec, mrlib, elliot, cornac, freerec, csv, "
            "tsv or parquet."
        ),
    ],
    table: Annotated[
        str | None,
        typer.Option(help="For a start: its table, a modality or joint. Default: the first."),
    ] = None,
) -> None:
    """Convert a data set, or a start, to the layout of another framework."""
    from sgurinit.report.terminal.progress import show_waiting

    lost: list[str]
    if Path(source).suffix == ".safetensors":
        with show_waiting(console, "converting"):
            recognized, lost, advice = "a start", [], _export_start(source, out, to, table)
    else:
        from sgurinit.data.convert import convert as write

        with show_waiting(console, "converting"):
            done = write(source, out, to)
        recognized, lost, advice = done.source, list(done.losses), done.advice
    print_line(console, f"read as {recognized}")
    for line in lost:
        print_line(console, line)
    print_line(console, f"saved to {out}")
    if advice:
        print_line(console, f"to load it, add this to the framework's configuration:\n{advice}")
    print_json({"out": out, "source": recognized, "losses": lost, "advice": advice})


def _export_start(source: str, out: Path, to: str, table: str | None) -> str:
    from sgurinit.core import UserStart
    from sgurinit.data.layouts.recbole import write_user_vectors

    if to != "recbole":
        raise InputError(f"--to {to}: a start can only be converted to recbole")
    start = UserStart.load(source)
    return write_user_vectors(start, out, table or next(iter(start.users)))
