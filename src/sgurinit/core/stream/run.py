"""The out-of-core run: reads interactions in chunks and writes users bucket by bucket."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sgurinit.core._parallel import count_threads
from sgurinit.core._start_file import STREAM_FORMAT
from sgurinit.core.inputs.arrays import (
    Float64Array,
    FloatArray,
    IdArray,
    IntArray,
)
from sgurinit.core.inputs.features import BFLOAT16, ItemFeatures, restore_bfloat16
from sgurinit.core.inputs.ids import name_kind
from sgurinit.core.steps.aggregate import Aggregator, split_columns, split_users
from sgurinit.core.steps.joint import compute_joint_items
from sgurinit.core.steps.processor import NUMPY, Own, Processor
from sgurinit.core.steps.space import Space
from sgurinit.core.stream.buckets import Buckets, divide_users
from sgurinit.core.stream.edges import (
    UNREADABLE,
    EdgeFiles,
    Place,
    check_positions,
    convert_ids,
    look_up_positions,
)
from sgurinit.core.stream.request import DTYPES, JOINT_TABLE, StreamRequest
from sgurinit.errors import InputError
from sgurinit.files import (
    claim_unfinished,
    create_array,
    explain_write_errors,
    find_unfinished,
    read_arrays,
    read_json,
    replace_file,
    write_arrays,
    write_json,
    write_table,
    write_tensors,
)
from sgurinit.locks import clear_folder
from sgurinit.progress import ProgressCallback, no_progress

_REQUEST_FILE = "request.json"

# Memory for the ids of a column at a time: an array has room for the longest in every row.
_ID_BYTES = 1 << 28

logger = logging.getLogger("sgurinit")


def run_stream(
    request: StreamRequest,
    out: Path,
    *,
    n_jobs: int | None,
    processor: Processor = NUMPY,
    progress: ProgressCallback = no_progress,
) -> None:
    """Compute the start of every user and write it to a folder, see `SGURInit.stream`.

    Raises
    ------
    InputError
        `out` exists already or cannot be written, or the interactions or `n_jobs` are not usable.
    """
    n_threads = count_threads(n_jobs)
    resumes = "; the same call resumes the work"
    with claim_unfinished(out) as whole, explain_write_errors(out, resumes):
        _prepare_work(whole, request.describe(), out)
        with _explain_damage(whole.parent):
            _Stream(request, whole, n_threads, processor, progress).run()
        whole.replace(out)
        clear_folder(whole.parent)


def read_interrupted_seed(out: Path) -> int | None:
    """Read the seed of an interrupted stream to `out`; None where there is none."""
    parameters = (_read_request(find_unfinished(out)) or {}).get("parameters")
    seed = parameters.get("seed") if isinstance(parameters, dict) else None
    return seed if type(seed) is int else None


def _read_request(whole: Path) -> dict[str, Any] | None:
    """Read what an interrupted stream was to compute; None where that is not known."""
    with suppress(InputError):
        return read_json(_find_work(whole) / _REQUEST_FILE)
    return None


@contextmanager
def _explain_damage(folder: Path) -> Iterator[None]:
    """Say what to do about a file of an interrupted stream that is damaged."""
    try:
        yield
    except InputError as error:
        if f"{folder}/" not in str(error):
            raise
        raise InputError(
            f"{error}: the work of an interrupted stream is damaged; remove the folder {folder} "
            "to begin again"
        ) from None


def _find_work(whole: Path) -> Path:
    """Folder of what a stream makes its result of, beside the unfinished result."""
    return whole.with_name(f"{whole.name}.work")


def _prepare_work(whole: Path, request: Mapping[str, Any], out: Path) -> None:
    """Keep what was done where it belongs to the same request, else clear it."""
    path = _find_work(whole) / _REQUEST_FILE
    if _read_request(whole) == json.loads(json.dumps(request)):
        logger.warning("%s: resumes the interrupted work in %s", out, whole.parent)
        return
    path.unlink(missing_ok=True)  # first, for without it the rest counts for nothing
    if clear_folder(whole.parent):
        logger.warning("%s: removed what an interrupted command left in %s", out, whole.parent)
    path.parent.mkdir()
    write_json(path, request)


class _Stream:
    """The stages of a stream. Each resumes from what an interrupted stream has finished.

    The result is made in the folder `whole`, and what it is made of beside it.
    """

    def __init__(
        self,
        request: StreamRequest,
        whole: Path,
        n_jobs: int,
        processor: Processor,
        progress: ProgressCallback,
    ) -> None:
        self.request, self.n_jobs, self.progress = request, n_jobs, progress
        self.processor = processor
        self.whole, self.work = whole, _find_work(whole)
        self.users = whole / "users"
        self.users.mkdir(parents=True, exist_ok=True)
        # Parquet files are made of the tables, which are not part of the result then.
        self.tables = self.users if request.layout == "npy" else self.work / "tables"
        self.tables.mkdir(exist_ok=True)
        # Penalty and content weight of a collaborative joint space.
        self.settings: list[float | None] = [None, None]

    def run(self) -> None:
        counts, user_ids = self._count_interactions()
        buckets = self._make_buckets(counts, user_ids)
        degrees = buckets.count_item_degrees()
        if not degrees.any():
            raise InputError("there are no training interactions: at least one is needed")
        tensors: dict[str, Any] = {}
        sizes: dict[str, list[int]] = {}
        for name in self.request.tables:
            space = self._fit_space(name, buckets, degrees)
            clusters = space.to_clusters()
            tensors[f"clusters/{name}/centroids"] = clusters.centroids
            tensors[f"clusters/{name}/labels"] = clusters.labels
            sizes[name] = np.bincount(space.items.labels).tolist()
            self._write_users(name, space, buckets)
        if self.request.layout == "parquet":
            self._convert_to_parquet(buckets, user_ids)
        elif user_ids is not None:
            write_table(self.whole / "user_ids.parquet", pl.DataFrame({"user": user_ids}))
        write_tensors(self.whole / "items.safetensors", tensors, {"format": STREAM_FORMAT})
        write_json(
            self.whole / "start.json",
            {
                "format": STREAM_FORMAT,
                "config": self.request.parameters.to_config(),
                "tables": list(self.request.tables),
                "layout": self.request.layout,
                "dtype": self.request.dtype,
                "n_users": buckets.n_users,
                "n_items": self.request.n_items,
                "n_interactions": int(degrees.sum()),
                "duplicate_interactions": int(counts.sum()) - int(degrees.sum()),
                "items_without_interactions": int((degrees == 0).sum()),
                "cluster_sizes": sizes,
                "penalty": self.settings[0],
                "content_weight": self.settings[1],
                "files": self._list_files(),
            },
        )

    def _count_interactions(self) -> tuple[IntArray, IdArray | None]:
        """Count the interactions of every user, duplicates included, and collect the users' ids."""
        counts_file, ids_file = self.work / "counts.npy", self.work / "ids.npy"
        if counts_file.exists():
            (known,) = read_arrays(counts_file, 1)
            return known, read_arrays(ids_file, 1)[0] if ids_file.exists() else None
        total, done = self.request.edges.count_rows(), 0
        counts = np.zeros(0, dtype=np.int64)
        ids: IdArray | None = None
        most = self.request.edges.count_positions()
        for users, items, place in _read_pieces(self.request.edges):
            if self.request.item_ids is None:
                # The items are checked first: external ids are then noticed before memory is
                # taken for a count of every number up to the largest.
                check_positions(items, place, self.request.n_items)
                at = check_positions(users, place, most)
                counts = np.pad(counts, (0, max(0, int(at.max(initial=-1)) + 1 - len(counts))))
                np.add.at(counts, at, 1)
            else:
                own, more = np.unique(convert_ids(users, place), return_counts=True)
                if ids is not None and ids.dtype.kind != own.dtype.kind:
                    raise InputError(
                        f"{place.file}: column {users.name!r} holds {name_kind(own)}, the rows "
                        f"before hold {name_kind(ids)}: use one kind"
                    )
                ids, counts, more = _merge_counts(ids, counts, own, more)
                counts += more
            done += len(users)
            self.progress("reading", done, total)
        if ids is not None:
            write_arrays(ids_file, ids)
        write_arrays(counts_file, counts)
        return counts, ids

    def _make_buckets(self, counts: IntArray, user_ids: IdArray | None) -> Buckets:
        """Write the interactions to buckets of users, each sorted."""
        buckets = Buckets(self.work / "buckets", divide_users(counts), self.request.n_items)
        if not buckets.are_written():
            buckets.folder.mkdir(exist_ok=True)
            buckets.write_pairs(self._read_pairs(user_ids))
        unsorted = [number for number in range(len(buckets)) if not buckets.is_sorted(number)]
        self._map("grouping", unsorted, buckets.sort)
        return buckets

    def _read_pairs(self, user_ids: IdArray | None) -> Iterator[tuple[IntArray, IntArray]]:
        total, done = self.request.edges.count_rows(), 0
        known, n_items = self.request.item_ids, self.request.n_items
        most = self.request.edges.count_positions()
        order = None if known is None else np.argsort(known, kind="stable")
        for users, items, place in _read_pieces(self.request.edges):
            if known is None or order is None or user_ids is None:
                yield check_positions(users, place, most), check_positions(items, place, n_items)
            else:
                # The users' ids are sorted.
                own = np.searchsorted(user_ids, convert_ids(users, place)).astype(np.int64)
                yield own, look_up_positions(items, known, order, place)
            done += len(users)
            self.progress("dividing", done, total)

    def _fit_space(self, name: str, buckets: Buckets, degrees: Float64Array) -> Space:
        """Fit the space of a table; the items of the joint space are written."""
        parameters = self.request.parameters
        try:
            if name != JOINT_TABLE:
                table, preprocess = self.request.features[name], True
            else:
                table, preprocess = self._compute_joint_items(buckets, degrees), False
                self._write_joint_items(table.values)
            self.progress(f"items of {name}", 0, 1)
            space = Space.fit(
                degrees, table, parameters, preprocess=preprocess, processor=self.processor
            )
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        self.progress(f"items of {name}", 1, 1)
        return space

    def _compute_joint_items(self, buckets: Buckets, degrees: Float64Array) -> ItemFeatures:
        """Compute the items of the joint space and save them, since that can take long."""
        path = self.work / "joint.npy"
        self.progress("joint space", 0, 0)
        if not path.exists():
            assert self.request.parameters.joint_dim is not None  # noqa: S101 - checked before
            joint = compute_joint_items(
                [partial(buckets.read_matrix, number) for number in range(len(buckets))],
                degrees,
                self.request.features,
                self.request.parameters.joint_dim,
                self.request.parameters,
                n_jobs=self.n_jobs,
                processor=self.processor,
                on_pass=lambda passes: self.progress("joint space", passes, 0),
            )
            write_arrays(path, joint.rows, joint.present, np.array(joint.settings or ()))
        rows, present, settings = read_arrays(path, 3)
        self.settings = settings.tolist() or [None, None]
        return ItemFeatures(rows, present)

    def _write_joint_items(self, items: FloatArray) -> None:
        """Write the items of the joint space with their ids, in the type of the users' rows."""
        kind, ids = DTYPES[self.request.dtype], self.request.item_ids
        # Parquet has no bfloat16.
        rows = items.astype(np.float32 if kind == BFLOAT16 else kind)
        columns = [
            pl.Series("item", np.arange(len(rows)) if ids is None else ids),
            pl.Series(JOINT_TABLE, rows, dtype=_find_parquet_type(rows)),
        ]
        write_table(self.whole / "items.parquet", pl.DataFrame(columns))

    def _list_files(self) -> list[str]:
        """Names of the files of the result, beside start.json itself.

        What a killed command left of a file has a hidden name.
        """
        files = (path for path in self.whole.rglob("[!.]*") if path.is_file())
        names = {path.relative_to(self.whole).as_posix() for path in files}
        return sorted(names - {"start.json"})

    def _write_users(self, name: str, space: Space, buckets: Buckets) -> None:
        """Write the users' rows of a table.

        Every finished bucket is noted in a journal: its first column, its number, and the checksum
        of its rows.
        """
        path = self.tables / f"{name}.npy"
        shape = (buckets.n_users, space.items.rows.shape[1])
        journal = self.work / f"{name}.done"
        dtype = DTYPES[self.request.dtype]
        if not _is_table(path, dtype, shape):
            journal.unlink(missing_ok=True)
            replace_file(path, lambda partial: create_array(partial, dtype, shape))
        done = set(journal.read_bytes().split(b"\n")) if journal.exists() else set()
        aggregator = Aggregator(
            space.items,
            local_weight=space.parameters.local_weight,
            local_norm=space.parameters.local_norm,
        )
        for columns in split_columns(space.items.rows):

            def note(number: int, at: slice = columns) -> str:
                rows = np.load(path, mmap_mode="r")[buckets.user_range(number)]
                checksum = 0
                for users in split_users(len(rows), at.stop - at.start):
                    checksum = zlib.crc32(np.ascontiguousarray(rows[users, at]).data, checksum)
                return f"{at.start}:{number}:{checksum}"

            noted = {line.rpartition(b":")[0] for line in done}
            left = [
                number
                for number in range(len(buckets))
                if f"{columns.start}:{number}".encode() not in noted
                or note(number).encode() not in done
            ]
            if not left:
                continue
            with self.processor.explain_memory():
                table = self.processor.put(aggregator.make_table(columns))

            def fill(
                number: int,
                table: Own = table,
                at: slice = columns,
                note: Callable[[int], str] = note,
            ) -> None:
                # Mapped for this bucket only, so that its pages do not stay in memory.
                mapped = np.load(path, mmap_mode="r+")
                out = restore_bfloat16(mapped)
                users_of_bucket = buckets.user_range(number)
                matrix = space.select_present(buckets.read_matrix(number))
                for users in split_users(int(matrix.shape[0]), table.shape[1]):
                    weights = aggregator.compute_weights(matrix[users])
                    with self.processor.explain_memory():
                        rows = weights.multiply(table, self.processor)
                    out[users_of_bucket][users, at] = rows
                mapped.flush()
                with journal.open("a") as file:
                    file.write(f"{note(number)}\n")

            self._map(f"users of {name}", left, fill)

    def _convert_to_parquet(self, buckets: Buckets, user_ids: IdArray | None) -> None:
        def write(number: int) -> None:
            path = self.users / f"part-{number:05}.parquet"
            users = buckets.user_range(number)
            ids = np.arange(users.start, users.stop) if user_ids is None else user_ids[users]
            columns = [pl.Series("user", ids)]
            for name in self.request.tables:
                rows = np.load(self.tables / f"{name}.npy", mmap_mode="r")[users]
                columns.append(pl.Series(name, np.array(rows), dtype=_find_parquet_type(rows)))
            write_table(path, pl.DataFrame(columns))

        self._map("writing", list(range(len(buckets))), write)

    def _map(self, stage: str, numbers: list[int], work: Callable[[int], object]) -> None:
        """Do the work of the numbered buckets, on several threads."""
        with ThreadPoolExecutor(self.n_jobs) as threads:
            for done, _ in enumerate(threads.map(work, numbers), start=1):
                self.progress(stage, done, len(numbers))


def _is_table(path: Path, dtype: np.dtype[Any], shape: tuple[int, int]) -> bool:
    """Whether a file holds a table of a type and shape."""
    try:
        table = np.load(path, mmap_mode="r")
    except UNREADABLE:
        return False
    written = np.dtype(f"V{dtype.itemsize}") if dtype == BFLOAT16 else dtype
    return getattr(table, "shape", None) == shape and table.dtype in (dtype, written)


def _read_pieces(edges: EdgeFiles) -> Iterator[tuple[pl.Series, pl.Series, Place]]:
    """Read chunks, and divide those whose ids as arrays would take more than `_ID_BYTES`."""
    for users, items, place in edges.read_chunks():
        texts = [ids for ids in (users, items) if ids.dtype == pl.String]
        longest = max(
            [int(ids.str.len_chars().to_numpy().max(initial=1)) for ids in texts], default=1
        )
        step = max(1, _ID_BYTES // (np.dtype("U1").itemsize * longest))
        for first in range(0, len(users), step):
            part = slice(first, first + step)
            yield users[part], items[part], Place(place.file, place.first + first)


def _merge_counts(
    ids: IdArray | None, counts: IntArray, own: IdArray, more: IntArray
) -> tuple[IdArray, IntArray, IntArray]:
    """Merge the ids so far with those of a chunk, sorted, and spread both counts over them."""
    if ids is None:
        return own, np.zeros(len(own), dtype=np.int64), more
    every = np.union1d(ids, own)
    spread = [np.zeros(len(every), dtype=np.int64) for _ in range(2)]
    spread[0][np.searchsorted(every, ids)] = counts
    spread[1][np.searchsorted(every, own)] = more
    return every, spread[0], spread[1]


def _find_parquet_type(rows: np.ndarray[Any, Any]) -> pl.Array:
    inner = pl.Float16 if rows.dtype == np.float16 else pl.Float32
    return pl.Array(inner, rows.shape[1])
