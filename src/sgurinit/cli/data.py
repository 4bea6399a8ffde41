"""Commands that make and change data sets: no training, no torch.

Each part of the library is imported by the command that needs it.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sgurinit.cli.app import app, console, emit, if_stopped, say
from sgurinit.cli.options import Seed, examples, given, names
from sgurinit.errors import InputError


@app.command(
    epilog=examples(
        "sgurinit prepare data/ml-100k --out ml --min-value 4",
        "sgurinit prepare reviews_Baby_5.json.gz --items meta_Baby.json.gz --out baby",
        "sgurinit prepare clicks.parquet --user visitor --item product --split time --out clicks",
        "sgurinit prepare orders.parquet --features text=products.parquet --out shop",
        "sgurinit prepare plays.csv --columns user,item,time --time-unit ms --out plays",
    ),
    options={"kind": "--split", "header": "--columns"}
    | {f'columns["{role}"]': f"--{role}" for role in ("user", "item", "value", "time")},
)
def prepare(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="LOG",
            help="CSV, TSV, Parquet or JSON lines, also gzipped; a folder of MovieLens or RecBole.",
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    items: Annotated[
        Path | None, typer.Option(help="File with what is known about the items.")
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE.parquet",
            help="Vectors of the items: a modality's name and its file, with ids and a column of "
            "lists of numbers. Repeatable.",
        ),
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="Column of users, where it has no usual name.")
    ] = None,
    item: Annotated[
        str | None, typer.Option(help="Column of items, where it has no usual name.")
    ] = None,
    value: Annotated[
        str | None, typer.Option(help="Column of ratings or counts, where it has no usual name.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="Column of times, where it has no usual name.")
    ] = None,
    time_unit: Annotated[
        str | None,
        typer.Option(
            metavar="s|ms|us|ns|iso|order",
            help="Unit of the times: iso for text such as 2024-01-31T12:00, order for numbers that "
            "are no dates. Default: s, or that of the source.",
        ),
    ] = None,
    columns: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME", help="Names of all columns, where the file has no header line."
        ),
    ] = "",
    separator: Annotated[
        str | None,
        typer.Option(help="Character between the fields, or 'tab'. Default: by the suffix."),
    ] = None,
    min_value: Annotated[
        float | None, typer.Option(help="Drop interactions whose value is below it.")
    ] = None,
    core: Annotated[
        int,
        typer.Option(
            min=1,
            help="Drop users and items with fewer interactions until none is left; 1 keeps all.",
        ),
    ] = 5,
    split: Annotated[
        str,
        typer.Option(
            help="How to split: random, leave-one-out, user-time, time, cold-items or cold-users."
        ),
    ] = "random",
    ratios: Annotated[
        str, typer.Option(help="Shares of train, validation and test interactions.")
    ] = "8:1:1",
    name: Annotated[
        str | None, typer.Option(help="Name of the data set. Default: that of the folder.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Make a data set from a raw log: filter, split, check."""
    from sgurinit.data.layouts.vectors import assigned
    from sgurinit.data.prepare import find_source
    from sgurinit.data.prepare import prepare as make
    from sgurinit.report.terminal.card import card_table
    from sgurinit.report.terminal.progress import StageProgress

    found = find_source(
        source,
        columns=given(user=user, item=item, value=value, time=time),
        header=names(columns) or None,
        separator=_character(separator),
        items=items,
    )
    with StageProgress(console) as progress:
        card = make(
            found,
            out,
            min_value=min_value,
            core=core,
            kind=split,
            ratios=_ratios(ratios),
            seed=seed,
            time_unit=time_unit,
            name=name,
            features=assigned(features or []),
            progress=progress,
        )
    console.print(card_table(card))
    say(console, f"saved to {out}")
    emit({"out": out, **card.to_dict()})


def _character(separator: str | None) -> str | None:
    r"""One character; ``\t`` is how a shell writes a tabulator."""
    if separator is None:
        return None
    character = {"\\t": "\t", "tab": "\t"}.get(separator, separator)
    if len(character.encode()) != 1 or character in '"\r\n':
        raise InputError(
            f"--separator {separator!r}: expected tab, or one character that neither quotes nor "
            "ends a line"
        )
    return character


def _ratios(text: str) -> tuple[int, int, int]:
    try:
        train, valid, test = (int(part) for part in text.split(":"))
    except ValueError:
        raise InputError(f"--ratios {text}: expected three whole numbers, such as 8:1:1") from None
    return train, valid, test


@app.command(
    epilog=examples(
        "sgurinit encode ml --text title,year,genres",
        "sgurinit encode baby --text title,brand --model BAAI/bge-m3 --device cuda --batch 256",
        "sgurinit encode baby --images photos/ --model vit_base_patch32_clip_224.openai",
        "sgurinit encode baby --vectors audio.parquet --name audio",
    ),
    options={"modality": "--name", "columns": "--text"},
)
def encode(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="Data set in the native layout, as prepare writes it."),
    ],
    *,
    text: Annotated[
        str,
        typer.Option(
            metavar="NAME,NAME", help="Encode the text of these columns of items.parquet, joined."
        ),
    ] = "",
    images: Annotated[
        Path | None, typer.Option(help="Encode the images in a folder, named by item id.")
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="With --images: column of items.parquet with the file names.")
    ] = None,
    vectors: Annotated[
        Path | None,
        typer.Option(help="Take finished vectors by item id: .parquet, .csv, .tsv or .npy."),
    ] = None,
    ids: Annotated[
        Path | None, typer.Option(help="With .npy --vectors: text file with the id of each row.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the features. Default: text, image or the file's name."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Model of sentence-transformers (text) or timm (images): name or folder. "
            "Default: minilm for text, CLIP ViT-B/32 for images."
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, ... Default: the best there is.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Texts or images at a time.")] = 64,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace features of that name.")
    ] = False,
) -> None:
    """Make features of the items from text, from images or from finished vectors."""
    from sgurinit.data.encode import encode as make
    from sgurinit.data.encode import image_files, join_vectors, texts
    from sgurinit.report.terminal.progress import StageProgress, waiting

    if sum((bool(text), images is not None, vectors is not None)) != 1:
        raise InputError("give one of --text, --images and --vectors")
    if vectors is not None:
        done = join_vectors(data, name or vectors.stem, vectors, ids=ids, replace=replace)
    else:
        options: dict[str, Any] = given(model=model, device=device, batch=batch)
        values: list[Any]
        encoder: Any
        with waiting(console, "loading the model"):
            if images is not None:
                values = list(image_files(data, images, column))
                from sgurinit.data.encode.timm_model import timm_encoder

                encoder, usual = timm_encoder(**options), "image"
            else:
                values = list(texts(data, names(text)))
                from sgurinit.data.encode.text import TextEncoder

                encoder, usual = TextEncoder(**options), "text"
        if_stopped("what was encoded is kept; run the same command again to resume")
        with StageProgress(console) as progress:
            done = make(data, name or usual, values, encoder, replace=replace, progress=progress)
    say(console, f"{done.modality}: {done.items:,} items, {done.width} numbers each")
    for reason, count in done.missing.items():
        say(console, f"without {done.modality}: {count:,} items, {reason}")
    if done.missing:
        say(console, f"listed in {data / 'features' / f'{done.modality}.missing.csv'}")
    if done.unknown:
        say(console, f"left out: {done.unknown:,} vectors of items that are not in the data")
    emit({"out": data, **asdict(done)})


@app.command(
    epilog=examples(
        "sgurinit convert data/tiktok tiktok-recbole --to recbole",
        "sgurinit convert start.safetensors ml.useremb --to recbole --table joint",
    )
)
def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="Folder or name of the data, or a saved start (.safetensors)."
        ),
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder to make; for a start a .useremb file.")
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
        typer.Option(help="Table of the start: a modality or joint. Default: the first."),
    ] = None,
) -> None:
    """Write a data set or a start in the layout of another framework."""
    from sgurinit.report.terminal.progress import waiting

    lost: list[str]
    if Path(source).suffix == ".safetensors":
        with waiting(console, "converting"):
            recognised, lost, advice = "a start", [], _export_start(source, out, to, table)
    else:
        from sgurinit.data.convert import convert as change

        with waiting(console, "converting"):
            done = change(source, out, to)
        recognised, lost, advice = done.source, list(done.losses), done.advice
    say(console, f"read as {recognised}")
    for line in lost:
        say(console, line)
    say(console, f"saved to {out}")
    if advice:
        say(console, f"to load it, in the framework's config:\n{advice}")
    emit({"out": out, "source": recognised, "losses": lost, "advice": advice})


def _export_start(source: str, out: Path, to: str, table: str | None) -> str:
    from sgurinit.core import UserStart
    from sgurinit.data.layouts.recbole import write_user_vectors

    if to != "recbole":
        raise InputError(f"--to {to}: a start is exported to recbole only")
    start = UserStart.load(source)
    return write_user_vectors(start, out, table or next(iter(start.users)))
