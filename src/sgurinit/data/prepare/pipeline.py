"""The steps from a raw log to a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sgurinit.arguments import check_integer
from sgurinit.core.inputs.features import ItemFeatures
from sgurinit.data.dataset import SPLITS
from sgurinit.data.item_vectors import is_vector_type, read_vector_column
from sgurinit.data.layouts.native import write_native_files
from sgurinit.data.layouts.tables import align_features, holds_values, read_parquet_types
from sgurinit.data.prepare import filters
from sgurinit.data.prepare.card import Card, Step, count_log, count_splits, count_untrained
from sgurinit.data.prepare.log import Log, guess_roles, read_log
from sgurinit.data.prepare.sources import COLUMN_NAMES, Source, find_source
from sgurinit.data.prepare.splits import SPLIT_METHODS, Ratios, check_leakage, split_log
from sgurinit.errors import InputError
from sgurinit.files import new_folder, refuse_occupied, write_json
from sgurinit.progress import ProgressCallback, no_progress


def prepare(
    source: Source | str | Path,
    out: str | Path,
    *,
    min_value: float | None = None,
    core: int | tuple[int, int] = 5,
    split: str = "random",
    ratios: Ratios = (8, 1, 1),
    seed: int = 0,
    time_unit: str | None = None,
    name: str | None = None,
    features: Mapping[str, str | Path] | None = None,
    progress: ProgressCallback = no_progress,
) -> Card:
    """Make a data set in the native layout from a raw log.

    The steps are, in this order: drop interactions below `min_value`, keep the earliest interaction
    of each user-item pair, take the k-core, split, and check the split for leaks. The folder is
    written atomically.

    Parameters
    ----------
    source : Source, str or Path
        A log, or a file or folder that `find_source` recognizes.
    out : str or Path
        Folder to create.
    min_value : float, optional
        Smallest rating or count to keep. Default: all are kept.
    core : int or (int, int), default 5
        Smallest number of interactions of every user and item, or of a user and of an item; 1 keeps
        all.
    split : str, default "random"
        How to split, a name in `SPLIT_METHODS`:

        - ``"random"``: a random share of each user's interactions is held out.
        - ``"user-time"``: the last share of each user's interactions is held out.
        - ``"leave-one-out"``: each user's last interaction is for test, the one before for
          validation.
        - ``"time"``: all interactions are cut at two moments.
        - ``"cold-items"``, ``"cold-users"``: a share of the items or users is held out with all
          their interactions.
    ratios : (int, int, int), default (8, 1, 1)
        Shares of train, valid and test.
    seed : int, default 0
        Seed of everything random.
    time_unit : str, optional
        Unit of the log's times: ``"s"``, ``"ms"``, ``"us"``, ``"ns"``, ``"iso"`` for text such as
        ``2024-01-31T12:00:00Z``, or ``"order"`` for numbers that only give an order. Default: that
        of the source, mostly seconds.
    name : str, optional
        Name of the data set. Default: the name of the folder `out`.
    features : mapping of str to path, optional
        Modality name to a Parquet file with the items' vectors: a column of ids, named as in the
        log or as in `COLUMN_NAMES`, and a column of lists of numbers. Default: no features.
    progress : callable, optional
        Called with ``(stage, done, total)``. A total of 0 means unknown.

    Returns
    -------
    Card
        Counts after each step. `card.json` in the folder holds the same.

    Raises
    ------
    InputError
        If a file is faulty, an option cannot be met, no interaction is left, or the split leaks.

    See Also
    --------
    find_source : Name the columns of a log, and its table of items.
    load_dataset : Load the data set.
    sgurinit.data.encode.encode : Add features.

    Examples
    --------
    >>> import polars as pl
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from sgurinit.data import load_dataset
    >>> from sgurinit.data.prepare import prepare
    >>> log = pl.DataFrame({"user": [u for u in range(10) for _ in range(10)],
    ...                     "item": [i for _ in range(10) for i in range(10)]})
    >>> with TemporaryDirectory() as folder:
    ...     log.write_parquet(Path(folder, "log.parquet"))
    ...     card = prepare(Path(folder, "log.parquet"), Path(folder, "data"))
    ...     dataset = load_dataset(Path(folder, "data"))
    >>> [step.name for step in card.steps]
    ['as read', 'each pair once', '5-core (0 rounds)']
    >>> dataset
    Dataset('data', 10 users, 10 items)
      interactions: train 80, valid 10, test 10
      features: none yet
    """
    check_integer(seed, "seed", 0)
    out = Path(out)
    refuse_occupied(out)
    minimum = (core, core) if isinstance(core, int) else core
    _check_options(minimum, ratios, split)
    if not isinstance(source, Source):
        source = find_source(Path(source))
    vectors = {
        modality: _read_vectors(source, modality, f) for modality, f in (features or {}).items()
    }
    progress("reading", 0, 0)
    log, steps = _filter_log(source, read_log(source, time_unit), min_value, minimum, progress)
    progress("split", 0, 0)
    labels = split_log(log, split, ratios, seed)
    check_leakage(log, labels, split)
    progress("writing", 0, 0)
    log = _drop_unused_ids(log)
    items, n_described, vector_columns = _item_table(source, log)
    item_features = {
        modality: _select_items(path, ids, rows, items["item"])
        for modality, (path, ids, rows) in vectors.items()
    }
    on_items, of_users = count_untrained(log, labels)
    options: dict[str, Any] = {
        "min_value": min_value,
        "core": list(minimum),
        "split": split,
        "ratios": list(ratios),
    }
    if features:
        options["features"] = {modality: Path(file).name for modality, file in features.items()}
    card = Card(
        name=name or out.name,
        source=source.path.name,
        recognized_as=f"{source.kind}: "
        + ", ".join(f"{role} from {column}" for role, column in source.columns.items()),
        options=options | {"seed": seed, "time_unit": time_unit or source.time_unit},
        steps=tuple(steps),
        splits=count_splits(log, labels),
        test_pairs_on_untrained_items=on_items,
        test_pairs_of_untrained_users=of_users,
        items_described=n_described,
        versions={package: version(package) for package in ("sgurinit", "polars", "numpy")},
        left_out=source.left_out + (() if features else vector_columns),
        features={
            modality: {"columns": own.width, "items": own.n_present}
            for modality, own in item_features.items()
        },
        possible_roles=guess_roles(source),
    )
    with new_folder(out) as folder:
        write_native_files(
            folder,
            card.name,
            interactions=_query_interactions(log, labels),
            users=log.user_ids.alias("user").to_frame(),
            items=items,
            features=item_features,
        )
        write_json(folder / "card.json", card.to_dict())
    return card


def _filter_log(
    source: Source,
    log: Log,
    min_value: float | None,
    minimum: tuple[int, int],
    progress: ProgressCallback,
) -> tuple[Log, list[Step]]:
    """Filter a log, and count what is left after every step."""
    steps = [count_log("as read", log)]
    if min_value is not None:
        log = filters.filter_by_value(log, min_value)
        steps.append(_refuse_empty(source, count_log(f"value >= {min_value:g}", log)))
    progress("each pair once", 0, 0)
    log = filters.drop_repeated_pairs(log)
    steps.append(count_log("each pair once", log))
    progress("k-core", 0, 0)
    log, rounds = filters.filter_k_core(log, *minimum)
    core = f"{_core_name(minimum)} ({rounds} round{'s' * (rounds != 1)})"
    steps.append(_refuse_empty(source, count_log(core, log)))
    return log, steps


def _check_options(minimum: tuple[int, int], ratios: Ratios, split: str) -> None:
    if min(minimum) < 1:
        raise InputError(f"core is {min(minimum)}, expected 1 or more")
    if len(ratios) != 3 or min(ratios) < 0 or ratios[0] == 0 or sum(ratios) == ratios[0]:
        raise InputError(
            f"ratios is {':'.join(map(str, ratios))}, expected three whole numbers for train, "
            "valid and test, such as 8:1:1; train and at least one other must be more than 0"
        )
    if split not in SPLIT_METHODS:
        raise InputError(f"split is {split!r}, allowed are {', '.join(SPLIT_METHODS)}")


def _core_name(minimum: tuple[int, int]) -> str:
    users, items = minimum
    return f"{users}-core" if users == items else f"{users} per user, {items} per item"


def _refuse_empty(source: Source, step: Step) -> Step:
    if not step.interactions:
        raise InputError(
            f"{source.path}: no interaction is left after '{step.name}'; use a weaker filter"
        )
    return step


def _drop_unused_ids(log: Log) -> Log:
    """Drop the ids without an interaction, and renumber the others."""
    users, user_ids = _renumber(log.users, log.user_ids)
    items, item_ids = _renumber(log.items, log.item_ids)
    return replace(log, users=users, items=items, user_ids=user_ids, item_ids=item_ids)


def _renumber(codes: NDArray[np.uint32], ids: pl.Series) -> tuple[NDArray[np.uint32], pl.Series]:
    used = np.bincount(codes, minlength=len(ids)) > 0
    positions = (np.cumsum(used) - 1).astype(np.uint32)
    return positions[codes], ids.filter(pl.Series(used))


def _item_table(source: Source, log: Log) -> tuple[pl.DataFrame, int | None, tuple[str, ...]]:
    """Return the table of the remaining items, without columns of vectors.

    Also the number of items that the source describes, and the names of the columns of vectors.
    """
    items = log.item_ids.alias("item").to_frame()
    if source.items is None:
        return items, None, ()
    known = source.items()
    vectors = tuple(
        column.name
        for column in known
        if is_vector_type(column.dtype) and not holds_values(column.dtype)
    )
    known = known.drop(vectors)
    repeated = known["item"].is_duplicated()
    if repeated.any():
        raise InputError(
            f"the table of items has item {known['item'].filter(repeated)[0]!r} more than once; "
            "give one row each"
        )
    lookup = known.select("item").with_row_index("row")
    wanted = items.select(pl.col("item").cast(pl.String))
    rows = wanted.join(lookup, on="item", how="left", maintain_order="left")["row"]
    if not rows.count():
        first = repr(known["item"][0]) if len(known) else "missing"
        raise InputError(
            f"the table of items has none of the {len(items)} items of the log; the first item of "
            f"the log is {items['item'][0]!r}, that of the table is {first}"
        )
    described = items.hstack(known.drop("item").select(pl.all().gather(rows)))
    return described, int(rows.count()), vectors


def _read_vectors(
    source: Source, modality: str, file: str | Path
) -> tuple[Path, pl.Series, NDArray[Any]]:
    """Return the file, the ids of the items with a vector, as text, and the vectors."""
    path = Path(file)
    if path.suffix != ".parquet":
        raise InputError(
            f"{path}: expected a Parquet file with a column of item ids and a column of lists of "
            "numbers"
        )
    schema = read_parquet_types(path)
    names = (source.columns["item"], *COLUMN_NAMES["item"])
    column = next((name for name in names if name in schema), names[0])
    ids, rows = read_vector_column(path, modality, column)
    return path, ids.cast(pl.String), rows


def _select_items(path: Path, ids: pl.Series, rows: NDArray[Any], items: pl.Series) -> ItemFeatures:
    """Return the vectors of the remaining items, in their order."""
    known = items.cast(pl.String)
    wanted = ids.is_in(known.implode())
    if not wanted.any():
        raise InputError(
            f"{path}: has none of the {len(items)} items of the log; the first item of the log is "
            f"{items[0]!r}, that of the file is {ids[0]!r}"
        )
    return align_features(path, ids.filter(wanted), rows[wanted.to_numpy()], known)


def _query_interactions(log: Log, labels: NDArray[np.uint8]) -> pl.LazyFrame:
    """Query the log with its ids, so that the text of all ids is never in memory at once."""
    columns: dict[str, Any] = {"u": log.users, "i": log.items, "s": labels}
    columns |= {n: v for n, v in (("value", log.value), ("time", log.seconds())) if v is not None}
    users = pl.LazyFrame({"user": log.user_ids}).with_row_index("u")
    items = pl.LazyFrame({"item": log.item_ids}).with_row_index("i")
    splits = pl.LazyFrame({"s": range(3), "split": SPLITS}, schema_overrides={"s": pl.UInt8})
    frame = pl.LazyFrame(columns)
    for table, key in ((users, "u"), (items, "i"), (splits, "s")):
        frame = frame.join(table, on=key, how="left", maintain_order="left")
    return frame.select("user", "item", "split", *(n for n in ("value", "time") if n in columns))
