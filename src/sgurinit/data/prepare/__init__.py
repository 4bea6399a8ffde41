"""Raw logs become data sets: read, filter, split, check, write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgurinit.core.inputs.features import ItemFeatures
from sgurinit.data.dataset import SPLITS
from sgurinit.data.layouts.native import write_parts
from sgurinit.data.layouts.tables import placed
from sgurinit.data.layouts.vectors import is_vector, item_vectors
from sgurinit.data.prepare import filters
from sgurinit.data.prepare.card import Card, Step, split_steps, step, untrained
from sgurinit.data.prepare.log import Log, read_log
from sgurinit.data.prepare.sources import NAMES, Source, find_source, first_line
from sgurinit.data.prepare.splits import KINDS, Ratios, check_leakage, split
from sgurinit.errors import InputError
from sgurinit.files import new_folder, refuse_occupied, write_json
from sgurinit.progress import ProgressCallback, no_progress

__all__ = ["KINDS", "NAMES", "Card", "Source", "Step", "find_source", "prepare"]


def prepare(
    source: Source | str | Path,
    out: str | Path,
    *,
    min_value: float | None = None,
    core: int | tuple[int, int] = 5,
    kind: str = "random",
    ratios: Ratios = (8, 1, 1),
    seed: int = 0,
    time_unit: str | None = None,
    name: str | None = None,
    features: Mapping[str, str | Path] | None = None,
    progress: ProgressCallback = no_progress,
) -> Card:
    """Make a data set of the native layout from a raw log.

    The steps, in this order: values of at least `min_value`; each pair of user and item once, the
    earliest; the k-core; the split. Then the split is checked for leaks and all is written, or
    nothing.

    Parameters
    ----------
    source : Source, str or Path
        A log, or a file or folder that `find_source` recognises.
    out : str or Path
        Folder to make.
    min_value : float, optional
        Least rating or count of an interaction that is kept.
    core : int or (int, int), default 5
        Least number of interactions of every user and item, or of a user and of an item; 1 keeps
        all.
    kind : str, default "random"
        How to split, a name in `KINDS`: ``random`` and ``user-time`` hold out a share of each
        user's interactions, drawn or the last ones; ``leave-one-out`` the last one and the one
        before; ``time`` all that happened after a moment; ``cold-items`` and ``cold-users`` whole
        items and users.
    ratios : (int, int, int), default (8, 1, 1)
        Shares of train, valid and test.
    seed : int, default 0
        Seed of all that is drawn.
    time_unit : str, optional
        Unit of the log's times: ``s``, ``ms``, ``us``, ``ns``, ``iso`` for text such as
        ``2024-01-31T12:00:00Z``, or ``order`` for numbers that are no dates.
    name : str, optional
        Name of the data set; that of `out` without it.
    features : mapping of str to path, optional
        Parquet file with the items' vectors, by modality: a column of ids, named as the log's or
        as `NAMES` has it, and one of lists of numbers. Without any the data set has no features
        yet.
    progress : callable, optional
        Called with ``(stage, done, total)``; a total of 0 is not known.

    Returns
    -------
    Card
        Counts before and after each step; `card.json` holds the same.

    Raises
    ------
    InputError
        For a file at fault, an option that cannot be met, nothing left, or a leak.
    """
    out = Path(out)
    refuse_occupied(out)
    least = (core, core) if isinstance(core, int) else core
    _check_options(least, ratios, kind)
    tell = progress
    if not isinstance(source, Source):
        source = find_source(Path(source))
    vectors = {modality: _vectors(source, modality, f) for modality, f in (features or {}).items()}
    tell("reading", 0, 0)
    log = read_log(source, time_unit)
    steps = [step("as read", log)]
    if min_value is not None:
        log = filters.above(log, min_value)
        steps.append(_left(source, step(f"value >= {min_value:g}", log)))
    tell("each pair once", 0, 0)
    log = filters.once(log)
    steps.append(step("each pair once", log))
    tell("k-core", 0, 0)
    log, rounds = filters.core(log, *least)
    steps.append(_left(source, step(f"{_core_name(least)} ({rounds} rounds)", log)))
    tell("split", 0, 0)
    labels = split(log, kind, ratios, seed)
    check_leakage(log, labels, kind)
    tell("writing", 0, 0)
    log = _renumbered(log)
    items, described, vectors_left = _items(source, log)
    placed_features = {
        modality: _of_items(path, ids, rows, items["item"])
        for modality, (path, ids, rows) in vectors.items()
    }
    on_items, of_users = untrained(log, labels)
    options: dict[str, Any] = {
        "min_value": min_value,
        "core": list(least),
        "split": kind,
        "ratios": list(ratios),
    }
    if features:
        options["features"] = {modality: Path(file).name for modality, file in features.items()}
    made = Card(
        name=name or out.name,
        source=source.path.name,
        recognised=f"{source.kind}: "
        + ", ".join(f"{role} from {column}" for role, column in source.columns.items()),
        options=options | {"seed": seed, "time_unit": time_unit or source.time_unit},
        steps=tuple(steps),
        splits=split_steps(log, labels),
        test_pairs_on_untrained_items=on_items,
        test_pairs_of_untrained_users=of_users,
        items_described=described,
        versions={part: version(part) for part in ("sgurinit", "polars", "numpy")},
        left_out=source.left_out + (() if features else vectors_left),
    )
    with new_folder(out) as folder:
        write_parts(
            folder,
            made.name,
            interactions=_interactions(log, labels),
            users=log.user_ids.alias("user").to_frame(),
            items=items,
            features=placed_features,
        )
        write_json(folder / "card.json", made.to_dict())
    return made


def _check_options(least: tuple[int, int], ratios: Ratios, kind: str) -> None:
    if min(least) < 1:
        raise InputError(f"core is {min(least)}, expected 1 or more")
    if len(ratios) != 3 or min(ratios) < 0 or ratios[0] == 0 or sum(ratios) == ratios[0]:
        raise InputError(
            f"ratios is {':'.join(map(str, ratios))}, expected three whole shares of train, valid "
            "and test, such as 8:1:1; train and one of the others more than 0"
        )
    if kind not in KINDS:
        raise InputError(f"kind is {kind!r}, allowed are {', '.join(KINDS)}")


def _core_name(least: tuple[int, int]) -> str:
    users, items = least
    return f"{users}-core" if users == items else f"{users} per user, {items} per item"


def _left(source: Source, found: Step) -> Step:
    if not found.interactions:
        raise InputError(f"{source.path}: nothing is left after '{found.name}'; keep more")
    return found


def _renumbered(log: Log) -> Log:
    """Forget the ids that nothing refers to any more."""
    users, user_ids = _compact(log.users, log.user_ids)
    items, item_ids = _compact(log.items, log.item_ids)
    return replace(log, users=users, items=items, user_ids=user_ids, item_ids=item_ids)


def _compact(codes: NDArray[np.uint32], ids: pl.Series) -> tuple[NDArray[np.uint32], pl.Series]:
    there = np.bincount(codes, minlength=len(ids)) > 0
    places = (np.cumsum(there) - 1).astype(np.uint32)
    return places[codes], ids.filter(pl.Series(there))


def _items(source: Source, log: Log) -> tuple[pl.DataFrame, int | None, tuple[str, ...]]:
    """Return the table of the items that are left, with what is known about each but vectors.

    Also how many of them are described, and the names of the columns of vectors.
    """
    items = log.item_ids.alias("item").to_frame()
    if source.items is None:
        return items, None, ()
    known = source.items()
    vectors = tuple(column.name for column in known if is_vector(column.dtype))
    known = known.drop(vectors)
    twice = known["item"].is_duplicated()
    if twice.any():
        raise InputError(f"the table of items has {known['item'].filter(twice)[0]!r} twice")
    lookup = known.select("item").with_row_index("row")
    wanted = items.select(pl.col("item").cast(pl.String))
    rows = wanted.join(lookup, on="item", how="left", maintain_order="left")["row"]
    if not rows.count():
        first = repr(known["item"][0]) if len(known) else "missing"
        raise InputError(
            f"the table of items knows none of the {len(items)} items of the log: the first of "
            f"them is {items['item'][0]!r}, the table's {first}"
        )
    others = known.drop("item").select(pl.all().gather(rows))
    return pl.concat([items, others], how="horizontal"), int(rows.count()), vectors


def _vectors(
    source: Source, modality: str, file: str | Path
) -> tuple[Path, pl.Series, NDArray[Any]]:
    """Read the vectors of the items that have any, with their ids as text."""
    path = Path(file)
    if path.suffix != ".parquet":
        raise InputError(
            f"{path}: expected a Parquet file with a column of item ids and one of lists of numbers"
        )
    if not path.is_file():
        raise InputError(f"{path}: file is missing")
    try:
        found = pl.read_parquet_schema(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path}: not a complete Parquet file ({first_line(error)})") from error
    names = (source.columns["item"], *NAMES["item"])
    column = next((name for name in names if name in found), names[0])
    ids, rows = item_vectors(path, modality, column)
    return path, ids.cast(pl.String), rows


def _of_items(path: Path, ids: pl.Series, rows: NDArray[Any], items: pl.Series) -> ItemFeatures:
    """Vectors of the items that are left, in their order."""
    known = items.cast(pl.String)
    wanted = ids.is_in(known.implode())
    if not wanted.any():
        raise InputError(
            f"{path}: knows none of the {len(items)} items of the log: the first of them is "
            f"{items[0]!r}, the file's {ids[0]!r}"
        )
    return placed(path, ids.filter(wanted), rows[wanted.to_numpy()], known)


def _interactions(log: Log, labels: NDArray[np.uint8]) -> pl.LazyFrame:
    """Query the log with its ids, so that the text of all ids is never there at once."""
    columns: dict[str, Any] = {"u": log.users, "i": log.items, "s": labels}
    columns |= {n: v for n, v in (("value", log.value), ("time", log.time)) if v is not None}
    users = pl.LazyFrame({"user": log.user_ids}).with_row_index("u")
    items = pl.LazyFrame({"item": log.item_ids}).with_row_index("i")
    splits = pl.LazyFrame({"s": range(3), "split": SPLITS}, schema_overrides={"s": pl.UInt8})
    frame = pl.LazyFrame(columns)
    for table, key in ((users, "u"), (items, "i"), (splits, "s")):
        frame = frame.join(table, on=key, how="left", maintain_order="left")
    return frame.select("user", "item", "split", *(n for n in ("value", "time") if n in columns))
