"""Time and memory of the method: beside a plain implementation, and on large logs.

    python benchmarks/core.py baby                       # -> benchmarks/core_baby.csv
    python benchmarks/core.py hybrid                     # -> benchmarks/core_hybrid.csv
    python benchmarks/core.py stream FOLDER [--sizes 1e6,1e7,3e7,1e8] [--per-item 100]
                                    [--collaborative]    # -> benchmarks/core_stream.csv
    python benchmarks/core.py threads                    # -> benchmarks/core_threads.csv

`baby` makes data of the size of Amazon Baby. On them it runs this library (`ours`) and the usual
way to write the method (`straightforward`): a scatter-add over the interactions in torch and
scikit-learn's `KMeans(n_init=10)`. Each run is a separate process with one thread. Both compute
the preset `stair` (K = 8, symmetric weights, `local_weight` 0.1) on features of full width.

`hybrid` computes the preset `hybrid` and its joint space of 64 columns on the same data, with two
threads, in three separate processes.

`stream` makes logs in FOLDER, with ten interactions per user, a hundred per item (`--per-item`),
and features of 64 and 768 columns. It streams the users of the first modality and of the joint
space of 64 columns to files. K is 64, all other parameters have their defaults.

`threads` times routines that the library runs in threads, on one thread and, with twice the work,
on two.

A share of the memory bandwidth is a ratio. The numerator is the least traffic: every item row that
a user's sum reads, and every user's row that is written. The denominator is what a copy of a large
array moves in the same time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from processes import parse_sizes, read_peak_bytes, run_in_process
from threadpoolctl import threadpool_limits

from sgurinit import SGURInit
from sgurinit.core.params import PRESETS

HERE = Path(__file__).parent
BABY = {"users": 19_445, "items": 7_050, "interactions": 118_551}
WIDTHS = {"image": 4096, "text": 384}
STAIR = PRESETS["stair"]
REPEATS = 7  # of `baby`; the two ways alternate
CHUNK = 1 << 22  # interactions per generated file


def make_baby(
    sizes: Mapping[str, int] = BABY, widths: Mapping[str, int] = WIDTHS
) -> tuple[sp.csr_array, dict[str, np.ndarray]]:
    """Make interactions with long tails, and features around twenty centers."""
    rng = np.random.default_rng(0)
    n_users, n_items = sizes["users"], sizes["items"]
    # Every user has an interaction, as in the real data. The plain way has no rule for others.
    pairs = set(enumerate(rng.integers(n_items, size=n_users).tolist()))
    while len(pairs) < sizes["interactions"]:
        user, item = rng.random(2) ** (1.5, 2) * (n_users, n_items)
        pairs.add((int(user), int(item)))
    users, items = np.array(sorted(pairs)).T
    matrix = sp.csr_array(
        (np.ones(len(users), np.float32), (users, items)), shape=(n_users, n_items)
    )
    topics = rng.integers(20, size=n_items)
    features = {
        name: (rng.normal(size=(20, width))[topics] + rng.normal(size=(n_items, width))).astype(
            np.float32
        )
        for name, width in widths.items()
    }
    return matrix, features


def compute_inertia(rows: np.ndarray, labels: np.ndarray) -> float:
    """Sum the squared distances to the means of the clusters."""
    return sum(
        float(((part - part.mean(axis=0, dtype=np.float64)) ** 2).sum())
        for part in (rows[labels == label] for label in np.unique(labels))
    )


def compute_norm(rows: np.ndarray) -> float:
    """Compute the Frobenius norm, summed in float64."""
    return float(np.sqrt(sum(float(row @ row) for row in rows)))


def run_ours(matrix: sp.csr_array, features: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Compute the start with this library."""
    began, worked = time.perf_counter(), time.process_time()
    start = SGURInit.from_preset("stair", random_state=0).fit(matrix, features).start_
    seconds, own = time.perf_counter() - began, time.process_time() - worked
    peak = read_peak_bytes() / 1e9
    sums = 0.0
    for space in start.fit.spaces.values():
        began = time.perf_counter()
        start.fit.compute_users(space)
        sums += time.perf_counter() - began
    width = sum(rows.shape[1] for rows in features.values())
    traffic = width * 4 * (matrix.nnz + matrix.shape[0])
    return {
        "seconds": seconds,
        "cpu_seconds": own,
        "peak_gb": peak,
        "sums_seconds": sums,
        "bandwidth_share": traffic / sums / measure_copy_rate(),
        **{
            f"inertia_{n}": compute_inertia(features[n], c.labels)
            for n, c in start.clusters.items()
        },
        **{f"norm_{n}": compute_norm(u) for n, u in start.users.items()},
    }


def run_hybrid(matrix: sp.csr_array, features: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Compute the preset `hybrid` and its joint space."""
    began, worked = time.perf_counter(), time.process_time()
    estimator = SGURInit.from_preset("hybrid", random_state=0, n_jobs=2).fit(matrix, features)
    fitted = time.perf_counter()
    joint = estimator.start_.joint(64)
    ended = time.perf_counter()
    return {
        "fit_seconds": fitted - began,
        "joint_seconds": ended - fitted,
        "cpu_seconds": time.process_time() - worked,
        "peak_gb": read_peak_bytes() / 1e9,
        "norm": compute_norm(joint.users),
    }


def run_straightforward(matrix: sp.csr_array, features: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Compute the same start with a scatter-add in torch and scikit-learn's K-means."""
    import torch  # noqa: PLC0415 - this library computes starts without it
    from sklearn.cluster import KMeans  # noqa: PLC0415

    torch.set_num_threads(1)
    began, worked = time.perf_counter(), time.process_time()
    edges = matrix.tocoo()
    users, items = (torch.from_numpy(part.astype(np.int64)) for part in (edges.row, edges.col))
    user_degrees = torch.bincount(users, minlength=matrix.shape[0]).clamp(min=1).float()
    item_degrees = torch.bincount(items, minlength=matrix.shape[1]).clamp(min=1).float()
    weights = (user_degrees[users] * item_degrees[items]).rsqrt()
    found: dict[str, Any] = {}
    for name, rows in features.items():
        table = torch.from_numpy(rows)
        local = torch.zeros(matrix.shape[0], table.shape[1])
        local.index_add_(0, users, table[items] * weights[:, None])
        means = KMeans(STAIR["n_clusters"], n_init=10, random_state=0).fit(rows)
        centroids = torch.from_numpy(means.cluster_centers_).float()
        common = torch.zeros(matrix.shape[0], table.shape[1])
        common.index_add_(0, users, centroids[torch.from_numpy(means.labels_).long()[items]])
        weight = STAIR["local_weight"]
        start = weight * local + (1 - weight) * common / user_degrees[:, None]
        found[f"inertia_{name}"] = compute_inertia(rows, means.labels_)
        found[f"norm_{name}"] = compute_norm(start.numpy())
    seconds, own = time.perf_counter() - began, time.process_time() - worked
    peak = read_peak_bytes() / 1e9
    return {"seconds": seconds, "cpu_seconds": own, "peak_gb": peak, **found}


def summarize(table: pl.DataFrame) -> pl.DataFrame:
    """Compute the median of each figure over the repeats, per way."""
    return table.group_by("way", maintain_order=True).median().drop("repeat")


def measure_copy_rate() -> float:
    """Measure the bytes read and written per second by a copy of an array larger than caches."""
    source = np.ones(1 << 27, dtype=np.float32)
    target = np.empty_like(source)
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        np.copyto(target, source)
        best = min(best, time.perf_counter() - began)
    return 2 * source.nbytes / best


def make_log(folder: Path, size: int, per_item: int) -> None:
    """Make a log in Parquet files, and features in ``.npy`` files."""
    if (folder / "whole").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    n_users, n_items = size // 10, size // per_item
    rng = np.random.default_rng(0)
    for first in range(0, size, CHUNK):
        count = min(CHUNK, size - first)
        users = rng.integers(n_users, size=count)
        items = (rng.random(count) ** 2 * n_items).astype(np.int64)
        table = pl.DataFrame({"user": users, "item": items})
        table.write_parquet(folder / f"log-{first:09}.parquet")
    for name, width in (("a", 64), ("b", 768)):
        rows = np.lib.format.open_memmap(
            folder / f"{name}.npy", "w+", np.dtype(np.float16), (n_items, width)
        )
        directions = rng.normal(size=(8, width))
        for first in range(0, n_items, 1 << 16):
            part = rows[first : first + (1 << 16)]
            part[:] = rng.normal(size=(len(part), 8)) @ directions + rng.normal(size=part.shape)
        rows.flush()
    (folder / "whole").touch()


def run_stream(folder: Path, collaborative: bool) -> dict[str, Any]:
    """Stream the users of a log of `make_log` to files."""
    stages: dict[str, float] = {}
    stage, last = "", time.perf_counter()

    def progress(now_at: str, done: int, _total: int) -> None:
        """Add the time since the last call to the stage that was running."""
        nonlocal stage, last
        ended = now_at if done else stage
        now = time.perf_counter()
        stages[ended] = stages.get(ended, 0.0) + now - last
        stage, last = now_at, now

    out = folder / "users"
    rmtree(out, ignore_errors=True)
    features = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in "ab"}
    estimator = SGURInit(
        n_clusters=64, joint_dim=64, collaborative=collaborative, random_state=0, n_jobs=2
    )
    began, worked = time.perf_counter(), time.process_time()
    last = began
    estimator.stream(
        str(folder / "log-*.parquet"), features, out, tables=["a", "joint"], progress=progress
    )
    seconds, own = time.perf_counter() - began, time.process_time() - worked
    facts = json.loads((out / "start.json").read_text())
    rmtree(out)
    sum_seconds = sum(spent for name, spent in stages.items() if name.startswith("users of"))
    traffic = 2 * 64 * 4 * (facts["n_interactions"] + facts["n_users"])
    return {
        "seconds": seconds,
        "cpu_seconds": own,
        "peak_gb": read_peak_bytes() / 1e9,
        "bandwidth_share": traffic / sum_seconds / measure_copy_rate(),
        **{f"{name} s": spent for name, spent in stages.items() if name},
    }


def time_threads() -> pl.DataFrame:
    """Time two calls of each routine, on one thread and on two."""
    rng = np.random.default_rng(0)
    matrix = sp.random_array((20_000, 20_000), density=5e-4, rng=rng, format="csr")
    dense, square = rng.normal(size=(20_000, 64)), rng.normal(size=(1200, 1200))
    clusters = sp.csr_array(
        (np.ones(20_000), rng.integers(64, size=20_000), np.arange(20_001)), shape=(20_000, 64)
    )
    cells = rng.integers(1_000_000, size=5_000_000)
    routines: dict[str, Callable[[], Any]] = {
        "sparse product (SciPy csr @ dense)": lambda: matrix @ dense,
        "dense product (NumPy @)": lambda: square @ square,
        "histogram (SciPy csr @ csr)": lambda: matrix @ clusters,
        "counting (NumPy bincount)": lambda: np.bincount(cells),
    }
    rows = []
    for name, routine in routines.items():
        seconds = []
        for count in (1, 2):
            # BLAS has one thread, so that only the threads of the pool count.
            with threadpool_limits(1), ThreadPoolExecutor(count) as pool:
                times = []
                for _ in range(5):
                    began = time.perf_counter()
                    list(pool.map(lambda _, routine=routine: routine(), range(2)))
                    times.append(time.perf_counter() - began)
                seconds.append(min(times))
        rows.append({"routine": name, "one": seconds[0], "two": seconds[1]})
    return pl.DataFrame(rows).with_columns(speedup=pl.col("one") / pl.col("two"))


def run_part(arguments: Sequence[str]) -> dict[str, Any]:
    """Run the part of a measurement that runs in a separate process."""
    name, *rest = arguments
    if name == "stream":
        return run_stream(Path(rest[0]), "collaborative" in rest[1:])
    parts = {"ours": run_ours, "hybrid": run_hybrid, "straightforward": run_straightforward}
    return parts[name](*make_baby())


def measure_baby() -> pl.DataFrame:
    """Measure both ways on data of the size of Amazon Baby."""
    return pl.DataFrame(
        [
            {"way": way, "repeat": repeat} | run_in_process(__file__, "--part", way, threads=1)
            for repeat in range(REPEATS)
            for way in ("ours", "straightforward")
        ]
    )


def measure_hybrid() -> pl.DataFrame:
    """Measure the preset `hybrid` on data of the size of Amazon Baby."""
    part = (__file__, "--part", "hybrid")
    return pl.DataFrame(
        [{"repeat": repeat} | run_in_process(*part, threads=2) for repeat in range(3)]
    )


def measure_streams(
    parent: Path, sizes: Sequence[int], per_item: int, collaborative: bool
) -> pl.DataFrame:
    """Measure streams of logs of several sizes."""
    rows = []
    for size in sizes:
        folder = parent / f"{size}-{per_item}"
        make_log(folder, size, per_item)
        part = ("--part", "stream", str(folder), *(["collaborative"] if collaborative else []))
        found = run_in_process(__file__, *part, threads=2)
        sizes_of = {"interactions": size, "items": size // per_item}
        rows.append(sizes_of | {"collaborative": collaborative} | found)
        print(f"{size:>11,} {found['seconds']:7.1f} s {found['peak_gb']:5.2f} GB", flush=True)
    return pl.DataFrame(rows).with_columns(
        million_per_second=pl.col("interactions") / pl.col("seconds") / 1e6
    )


def main(words: Sequence[str] | None = None) -> None:
    """Run a measurement and write its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["baby", "hybrid", "stream", "threads"])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--sizes", default="1e6,1e7,3e7,1e8")
    parser.add_argument("--per-item", type=int, default=100)
    parser.add_argument("--collaborative", action="store_true")
    parser.add_argument("--out", type=Path, help="CSV file of the table")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.part:
        print(json.dumps(run_part(arguments.part)))
        return
    if arguments.what == "baby":
        table = measure_baby()
        print(summarize(table))
    elif arguments.what == "hybrid":
        table = measure_hybrid()
    elif arguments.what == "threads":
        table = time_threads()
    else:
        table = measure_streams(
            arguments.folder,
            parse_sizes(arguments.sizes),
            arguments.per_item,
            arguments.collaborative,
        )
    table.write_csv(arguments.out or HERE / f"core_{arguments.what}.csv")
    with pl.Config(tbl_cols=-1, tbl_width_chars=200, fmt_str_lengths=60):
        print(table)


if __name__ == "__main__":
    main()
