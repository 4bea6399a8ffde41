"""Starts of users that do not fit into memory, written to disk range by range."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from joblib import effective_n_jobs
from safetensors.numpy import save_file

from sgurinit.core.inputs.arrays import Float32Array, Float64Array, IdArray, IntArray
from sgurinit.core.inputs.features import BFLOAT16, ItemFeatures, as_features, as_floats
from sgurinit.core.inputs.ids import check_item_ids
from sgurinit.core.params import Parameters
from sgurinit.core.steps.aggregate import Aggregator, column_blocks, user_blocks
from sgurinit.core.steps.joint import joint_items
from sgurinit.core.steps.space import Space
from sgurinit.core.stream.buckets import Buckets, divide
from sgurinit.core.stream.edges import COLUMNS, Edges, ids_of, places, positions
from sgurinit.errors import InputError
from sgurinit.files import read_json, write_arrays, write_json
from sgurinit.progress import ProgressCallback, no_progress

FORMAT = "sgurinit.users/1"
JOINT = "joint"
STORAGE: Mapping[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": BFLOAT16,
}
LAYOUTS = ("npy", "parquet")


@dataclass(frozen=True, eq=False)
class Wanted:
    """What a stream is asked for, checked.

    Parameters
    ----------
    edges : Edges
        Training interactions on disk.
    features : mapping of str to ItemFeatures
        Item features, best memory-mapped.
    item_ids : ndarray or None
        Ids of the items where the interactions hold external ids, None where they hold positions.
    parameters : Parameters
        Parameters of the method.
    tables : tuple of str
        Modalities, and ``"joint"``, whose users are wanted.
    layout : {"npy", "parquet"}
        How users are written.
    dtype : {"float32", "float16", "bfloat16"}
        What their numbers are stored as.
    """

    edges: Edges
    features: Mapping[str, ItemFeatures]
    item_ids: IdArray | None
    parameters: Parameters
    tables: tuple[str, ...]
    layout: str
    dtype: str

    @classmethod
    def check(
        cls,
        interactions: str | Path | Sequence[str | Path],
        features: Mapping[str, Any],
        parameters: Parameters,
        *,
        item_ids: Any,
        tables: Sequence[str] | None,
        layout: str,
        dtype: str,
        columns: tuple[str, str] = COLUMNS,
    ) -> Wanted:
        """Check everything that can be checked before the work begins."""
        checked = as_features(features)
        n_items = next(iter(checked.values())).n_items
        ids = None if item_ids is None else check_item_ids(item_ids, n_items)
        known = [*checked, *([JOINT] if parameters.joint_dim is not None else [])]
        wanted = known if tables is None else list(tables)
        for name in wanted:
            if name not in known:
                hint = "; set joint_dim" if name == JOINT else ""
                raise InputError(f"tables: {name!r} is none of {', '.join(known)}{hint}")
        for value, allowed, what in ((layout, LAYOUTS, "layout"), (dtype, STORAGE, "dtype")):
            if value not in allowed:
                raise InputError(f"{what} must be one of {', '.join(allowed)}, got {value!r}")
        if layout == "parquet" and dtype == "bfloat16":
            raise InputError("dtype: Parquet has no bfloat16; give layout npy, or dtype float16")
        if not wanted:
            raise InputError("tables is empty, expected at least one")
        if parameters.preprocess and set(wanted) == {JOINT}:
            raise InputError(
                f"preprocess={parameters.preprocess!r} has no effect: of the tables only those of "
                "modalities see it, and none is wanted; leave `preprocess` out"
            )
        edges = Edges.find(interactions, columns)
        return cls(edges, checked, ids, parameters, tuple(wanted), layout, dtype)

    @property
    def n_items(self) -> int:
        """Number of items."""
        return next(iter(self.features.values())).n_items

    def facts(self) -> dict[str, Any]:
        """What has to be the same for a stream to go on."""
        return {
            "interactions": self.edges.facts(),
            "features": {name: _digest(table) for name, table in self.features.items()},
            "item_ids": None if self.item_ids is None else _hash(self.item_ids.tolist()),
            "parameters": self.parameters.to_config(),
            "tables": list(self.tables),
            "layout": self.layout,
            "dtype": self.dtype,
        }


def run_stream(
    wanted: Wanted, out: Path, *, n_jobs: int | None, progress: ProgressCallback = no_progress
) -> None:
    """Compute the start of every user and write it to a folder, see `SGURInit.stream`."""
    if out.exists():
        raise InputError(f"{out}: exists already; give a new folder, or remove it first")
    work = unfinished(out)
    try:
        _begin(work, wanted.facts())
        _Stream(wanted, work, effective_n_jobs(n_jobs), progress).run()
        (work / "wanted.json").unlink()
        work.replace(out)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error}); what is done is kept") from error


def _begin(work: Path, facts: Mapping[str, Any]) -> None:
    """Go on in `work`, or anew where what is there was made from something else."""
    kept = work / "wanted.json"
    if work.exists() and not (kept.exists() and read_json(kept) == json.loads(json.dumps(facts))):
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    if not kept.exists():
        write_json(kept, facts)


def unfinished(out: Path) -> Path:
    """Folder that holds what is done of a stream to `out` before it is whole."""
    return out.with_name(f".{out.name}.partial")


class _Stream:
    """The stages of a stream; each finds what an interrupted one has left and goes on from it."""

    def __init__(self, wanted: Wanted, work: Path, n_jobs: int, progress: ProgressCallback) -> None:
        self.wanted, self.work, self.n_jobs, self.progress = wanted, work, n_jobs, progress
        self.users = work / "users"
        self.users.mkdir(exist_ok=True)

    def run(self) -> None:
        counts, user_ids = self._users()
        buckets = self._grouped(counts, user_ids)
        degrees = buckets.item_degrees()
        if not degrees.any():
            raise InputError("there are no training interactions: at least one is needed")
        clusters: dict[str, Any] = {}
        sizes: dict[str, list[int]] = {}
        for name in self.wanted.tables:
            space = self._space(name, buckets, degrees, clusters)
            found = space.clusters()
            clusters[f"clusters/{name}/centroids"] = found.centroids
            clusters[f"clusters/{name}/labels"] = found.labels
            sizes[name] = np.bincount(space.items.labels).tolist()
            self._aggregate(name, space, buckets)
        if self.wanted.layout == "parquet":
            self._to_parquet(buckets, user_ids)
        elif user_ids is not None:
            pl.DataFrame({"user": user_ids}).write_parquet(self.work / "user_ids.parquet")
        save_file(clusters, self.work / "items.safetensors", metadata={"format": FORMAT})
        shutil.rmtree(buckets.folder)
        names = ("counts.npy", "ids.npy", "joint.npy")
        for path in (*(self.work / name for name in names), *self.users.glob("*.done")):
            path.unlink(missing_ok=True)
        total = int(counts.sum())
        write_json(
            self.work / "start.json",
            {
                "format": FORMAT,
                "config": self.wanted.parameters.to_config(),
                "tables": list(self.wanted.tables),
                "layout": self.wanted.layout,
                "dtype": self.wanted.dtype,
                "n_users": buckets.n_users,
                "n_items": self.wanted.n_items,
                "n_interactions": int(degrees.sum()),
                "duplicate_interactions": total - int(degrees.sum()),
                "items_without_interactions": int((degrees == 0).sum()),
                "cluster_sizes": sizes,
            },
        )

    def _users(self) -> tuple[IntArray, IdArray | None]:
        """Interactions of every user, duplicates included, and the users' ids in that order."""
        kept, ids_kept = self.work / "counts.npy", self.work / "ids.npy"
        if kept.exists():
            return np.load(kept), np.load(ids_kept) if ids_kept.exists() else None
        total, done = self.wanted.edges.count(), 0
        counts = np.zeros(0, dtype=np.int64)
        ids: IdArray | None = None
        for users, items, place in self.wanted.edges.chunks():
            if self.wanted.item_ids is None:
                # First, so that ids that were meant to be external are noticed before a count is
                # made for every number up to the largest.
                positions(items, place, self.wanted.n_items)
                at = positions(users, place, None)
                counts = np.pad(counts, (0, max(0, int(at.max(initial=-1)) + 1 - len(counts))))
                np.add.at(counts, at, 1)
            else:
                own, more = np.unique(ids_of(users, place), return_counts=True)
                ids, counts, more = _merged(ids, counts, own, more, place)
                counts += more
            done += len(users)
            self.progress("reading", done, total)
        if ids is not None:
            write_arrays(ids_kept, ids)
        write_arrays(kept, counts)
        return counts, ids

    def _grouped(self, counts: IntArray, user_ids: IdArray | None) -> Buckets:
        """Bring the interactions into an order by user, on disk."""
        buckets = Buckets(self.work / "buckets", divide(counts), self.wanted.n_items)
        filled = buckets.folder / "filled"
        if not filled.exists():
            buckets.folder.mkdir(exist_ok=True)
            buckets.fill(self._pairs(user_ids))
            filled.touch()
        self._each(
            "grouping",
            [n for n in range(len(buckets)) if not buckets.is_settled(n)],
            buckets.settle,
        )
        return buckets

    def _pairs(self, user_ids: IdArray | None) -> Any:
        total, done = self.wanted.edges.count(), 0
        known = self.wanted.item_ids
        order = None if known is None else np.argsort(known, kind="stable")
        for users, items, place in self.wanted.edges.chunks():
            if known is None or order is None or user_ids is None:
                yield positions(users, place, None), positions(items, place, self.wanted.n_items)
            else:
                # The users' ids are sorted.
                own = np.searchsorted(user_ids, ids_of(users, place)).astype(np.int64)
                yield own, places(items, known, order, place)
            done += len(users)
            self.progress("dividing", done, total)

    def _space(
        self, name: str, buckets: Buckets, degrees: Float64Array, kept: dict[str, Any]
    ) -> Space:
        parameters = self.wanted.parameters
        try:
            if name != JOINT:
                table, preprocess = self.wanted.features[name], True
            else:
                table, preprocess = self._described(buckets, degrees), False
                kept["items/joint"] = table.values
            self.progress(f"items of {name}", 0, 1)
            space = Space.fit(degrees, table, parameters, preprocess=preprocess)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        self.progress(f"items of {name}", 1, 1)
        return space

    def _described(self, buckets: Buckets, degrees: Float64Array) -> ItemFeatures:
        """Items of the joint space; kept, since the interactions may be gone through for long."""
        path = self.work / "joint.npy"
        self.progress("joint space", 0, 0)
        if not path.exists():
            assert self.wanted.parameters.joint_dim is not None  # noqa: S101 - checked before
            items, present = joint_items(
                [partial(buckets.matrix, number) for number in range(len(buckets))],
                degrees,
                self.wanted.features,
                self.wanted.parameters.joint_dim,
                self.wanted.parameters,
                n_jobs=self.n_jobs,
                on_pass=lambda passes: self.progress("joint space", passes, 0),
            )
            write_arrays(path, items, present)
        with path.open("rb") as file:
            return ItemFeatures(np.load(file), np.load(file))

    def _aggregate(self, name: str, space: Space, buckets: Buckets) -> None:
        path = self.users / f"{name}.npy"
        shape = (buckets.n_users, space.items.rows.shape[1])
        journal = self.users / f"{name}.done"
        done = set(journal.read_text().split()) if journal.exists() else set()
        if not path.exists():
            partial = path.with_suffix(".partial")
            np.lib.format.open_memmap(partial, "w+", STORAGE[self.wanted.dtype], shape)
            partial.replace(path)
        aggregator = Aggregator(
            space.items,
            local_weight=space.parameters.local_weight,
            local_norm=space.parameters.local_norm,
        )
        for columns in column_blocks(space.items.rows):
            left = [n for n in range(len(buckets)) if f"{columns.start}:{n}" not in done]
            if not left:
                continue
            table = aggregator.table(columns)

            def fill(number: int, table: Float32Array = table, at: slice = columns) -> None:
                # Mapped for this range alone, so that its pages do not stay in memory.
                mapped = np.load(path, mmap_mode="r+")
                out = as_floats(mapped)
                range_ = buckets.users(number)
                matrix = space.featured(buckets.matrix(number))
                for users in user_blocks(int(matrix.shape[0]), table.shape[1]):
                    rows = aggregator.weights(matrix[users]).of_table(table)
                    out[range_][users, at] = rows
                mapped.flush()
                with journal.open("a") as file:
                    file.write(f"{at.start}:{number}\n")

            self._each(f"users of {name}", left, fill)

    def _to_parquet(self, buckets: Buckets, user_ids: IdArray | None) -> None:
        def write(number: int) -> None:
            path = self.users / f"part-{number:05}.parquet"
            if path.exists():
                return
            users = buckets.users(number)
            ids = np.arange(users.start, users.stop) if user_ids is None else user_ids[users]
            columns = [pl.Series("user", ids)]
            for name in self.wanted.tables:
                rows = np.load(self.users / f"{name}.npy", mmap_mode="r")[users]
                columns.append(pl.Series(name, np.array(rows), dtype=_array(rows)))
            partial = path.with_suffix(".partial")
            pl.DataFrame(columns).write_parquet(partial)
            partial.replace(path)

        self._each("writing", list(range(len(buckets))), write)
        for name in self.wanted.tables:
            (self.users / f"{name}.npy").unlink()

    def _each(self, stage: str, numbers: list[int], work: Callable[[int], object]) -> None:
        """Do the work of every range, several at a time."""
        with ThreadPoolExecutor(self.n_jobs) as threads:
            for done, _ in enumerate(threads.map(work, numbers), start=1):
                self.progress(stage, done, len(numbers))


def _merged(
    ids: IdArray | None, counts: IntArray, own: IdArray, more: IntArray, place: str
) -> tuple[IdArray, IntArray, IntArray]:
    """All ids so far in order, and the counts before and of `own` in that order."""
    if ids is None:
        return own, np.zeros(len(own), dtype=np.int64), more
    if ids.dtype.kind != own.dtype.kind:
        raise InputError(f"{place}: column 'user' holds ids of another kind than the rows before")
    every = np.union1d(ids, own)
    spread = [np.zeros(len(every), dtype=np.int64) for _ in range(2)]
    spread[0][np.searchsorted(every, ids)] = counts
    spread[1][np.searchsorted(every, own)] = more
    return every, spread[0], spread[1]


def _digest(table: ItemFeatures) -> str:
    digest = hashlib.sha256(f"{table.values.shape} {table.values.dtype.name}".encode())
    digest.update(np.packbits(table.mask()).tobytes())
    step = max(1, (1 << 24) // (table.values.itemsize * table.width))
    for first in range(0, table.n_items, step):
        digest.update(np.ascontiguousarray(table.values[first : first + step]).tobytes())
    return digest.hexdigest()


def _hash(values: Any) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _array(rows: np.ndarray[Any, Any]) -> pl.Array:
    inner = pl.Float16 if rows.dtype == np.float16 else pl.Float32
    return pl.Array(inner, rows.shape[1])
