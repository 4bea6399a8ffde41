"""Time and memory of the method itself: beside the straightforward way, and at scale.

    python benchmarks/core.py baby                       # -> benchmarks/core_baby.csv
    python benchmarks/core.py stream FOLDER [--sizes 1e6,1e7,3e7,1e8] [--collaborative 0]
                                                         # -> benchmarks/core_stream.csv
    python benchmarks/core.py threads                    # -> benchmarks/core_threads.csv

`baby` makes data of Amazon Baby's size and runs, on one thread and in a process each, ours and the
way that it is usually written: a scatter-add over the interactions in torch and scikit-learn's
`KMeans(n_init=10)`. Both compute the preset `stair` (K = 8, symmetric weights, `local_weight` 0.1)
on features of full width. `stream` makes logs with ten interactions per user and a hundred per item
and features of 64 and 768 columns in FOLDER, and streams the users of the first modality and of the
joint space of 64 columns to it: K = 64, all else the method's defaults. `threads` times the
routines that threads share on one and on two of them. A share of the memory bandwidth is the least
traffic (every item row that a user's sum reads, and every user written) over what a copy of a large
array moves in the same time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from sgurinit import SGURInit
from sgurinit.core.params import PRESETS

HERE = Path(__file__).parent
BABY = {"users": 19_445, "items": 7_050, "interactions": 118_551}
WIDTHS = {"image": 4096, "text": 384}
STAIR = PRESETS["stair"]
REPEATS = 7  # of `baby`, in turn
CHUNK = 1 << 22  # interactions of a generated file


def baby() -> tuple[sp.csr_array, dict[str, np.ndarray]]:
    """Interactions with long tails, and features around twenty centres."""
    rng = np.random.default_rng(0)
    # Nobody is without an interaction, as in the real data: the plain way has no rule for that.
    pairs = set(enumerate(rng.integers(BABY["items"], size=BABY["users"]).tolist()))
    while len(pairs) < BABY["interactions"]:
        user, item = rng.random(2) ** (1.5, 2) * (BABY["users"], BABY["items"])
        pairs.add((int(user), int(item)))
    users, items = np.array(sorted(pairs)).T
    matrix = sp.csr_array(
        (np.ones(len(users), np.float32), (users, items)), shape=(BABY["users"], BABY["items"])
    )
    topics = rng.integers(20, size=BABY["items"])
    features = {
        name: (rng.normal(size=(20, width))[topics] + rng.normal(size=(len(topics), width))).astype(
            np.float32
        )
        for name, width in WIDTHS.items()
    }
    return matrix, features


def inertia(rows: np.ndarray, labels: np.ndarray) -> float:
    """Sum of squared distances to the means of the clusters."""
    return sum(
        float(((part - part.mean(axis=0, dtype=np.float64)) ** 2).sum())
        for part in (rows[labels == label] for label in np.unique(labels))
    )


def norm(rows: np.ndarray) -> float:
    """Frobenius norm, summed in float64."""
    return float(np.sqrt(sum(float(row @ row) for row in rows)))


def peak_gb() -> float:
    """Highest memory of this process so far (Linux).

    `getrusage` would start from that of the process which started this one.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    found = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(found) * 1024 / 1e9


def ours() -> dict[str, Any]:
    """The library."""
    matrix, features = baby()
    began, worked = time.perf_counter(), time.process_time()
    start = SGURInit.from_preset("stair", random_state=0).fit(matrix, features).start_
    seconds, own = time.perf_counter() - began, time.process_time() - worked
    peak = peak_gb()
    assert start.source is not None  # noqa: S101 - fitted here
    sums = 0.0
    for space in start.source.spaces.values():
        began = time.perf_counter()
        start.source.users(space)
        sums += time.perf_counter() - began
    width = sum(WIDTHS.values())
    traffic = width * 4 * (matrix.nnz + matrix.shape[0])
    return {
        "seconds": seconds,
        "cpu_seconds": own,
        "peak_gb": peak,
        "sums_seconds": sums,
        "bandwidth_share": traffic / sums / copied_per_second(),
        **{f"inertia_{n}": inertia(features[n], c.labels) for n, c in start.clusters.items()},
        **{f"norm_{n}": norm(u) for n, u in start.users.items()},
    }


def straightforward() -> dict[str, Any]:
    """Scatter-add over the interactions, and scikit-learn's K-means, on features of full width.

    Weights are symmetric, as in the preset `stair`.
    """
    import torch  # noqa: PLC0415 - ours does without
    from sklearn.cluster import KMeans  # noqa: PLC0415

    torch.set_num_threads(1)
    matrix, features = baby()
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
        found[f"inertia_{name}"] = inertia(rows, means.labels_)
        found[f"norm_{name}"] = norm(start.numpy())
    seconds, own = time.perf_counter() - began, time.process_time() - worked
    return {"seconds": seconds, "cpu_seconds": own, "peak_gb": peak_gb(), **found}


def copied_per_second() -> float:
    """Bytes read and written per second by a copy of an array larger than any cache."""
    source = np.ones(1 << 27, dtype=np.float32)
    target = np.empty_like(source)
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        np.copyto(target, source)
        best = min(best, time.perf_counter() - began)
    return 2 * source.nbytes / best


def make_log(folder: Path, size: int) -> None:
    """Interactions in files, features mapped to disk."""
    if (folder / "whole").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    n_users, n_items = size // 10, size // 100
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


def stream(folder: Path, collaborative: float) -> dict[str, Any]:
    """One stream of what `make_log` made."""
    stages: dict[str, float] = {}
    stage, last = "", time.perf_counter()

    def progress(now_at: str, done: int, _total: int) -> None:
        """Count what passed since the last call for the stage that it was in."""
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
    estimator.stream(
        str(folder / "log-*.parquet"), features, out, tables=["a", "joint"], progress=progress
    )
    seconds, own = time.perf_counter() - began, time.process_time() - worked
    facts = json.loads((out / "start.json").read_text())
    rmtree(out)
    sums = sum(spent for name, spent in stages.items() if name.startswith("users of"))
    traffic = 2 * 64 * 4 * (facts["n_interactions"] + facts["n_users"])
    return {
        "seconds": seconds,
        "cpu_seconds": own,
        "peak_gb": peak_gb(),
        "bandwidth_share": traffic / sums / copied_per_second(),
        **{f"{name} s": spent for name, spent in stages.items() if name},
    }


def threads() -> pl.DataFrame:
    """Seconds of each routine on one thread and, twice the work, on two."""
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
            # Threads of ours alone, none of BLAS.
            with threadpool_limits(1), ThreadPoolExecutor(count) as pool:
                times = []
                for _ in range(5):
                    began = time.perf_counter()
                    list(pool.map(lambda _, routine=routine: routine(), range(2)))
                    times.append(time.perf_counter() - began)
                seconds.append(min(times))
        rows.append({"routine": name, "one": seconds[0], "two": seconds[1]})
    return pl.DataFrame(rows).with_columns(speedup=pl.col("one") / pl.col("two"))


def in_process(arguments: Sequence[str], n_threads: int) -> dict[str, Any]:
    """Run a part of this file in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(n_threads)}
    done = subprocess.run(  # noqa: S603 - our own file
        [sys.executable, __file__, "--part", *arguments],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def run_part(arguments: Sequence[str]) -> dict[str, Any]:
    """What a process of its own does."""
    name, *rest = arguments
    if name == "stream":
        return stream(Path(rest[0]), float(rest[1]))
    return {"ours": ours, "straightforward": straightforward}[name]()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["baby", "stream", "threads"])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--sizes", default="1e6,1e7,3e7,1e8")
    parser.add_argument("--collaborative", type=float, default=0.0)
    parser.add_argument("--out", type=Path, help="Where the table goes.")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        print(json.dumps(run_part(arguments.part)))
        return
    if arguments.what == "baby":
        runs = [
            {"way": way, "repeat": repeat, **in_process([way], 1)}
            for repeat in range(REPEATS)
            for way in ("ours", "straightforward")
        ]
        table = pl.DataFrame(runs)
        print(table.group_by("way", maintain_order=True).median().drop("repeat"))
    elif arguments.what == "threads":
        table = threads()
    else:
        rows = []
        for size in (int(float(word)) for word in arguments.sizes.split(",")):
            folder = arguments.folder / str(size)
            make_log(folder, size)
            found = in_process(["stream", str(folder), str(arguments.collaborative)], 2)
            rows.append({"interactions": size, "collaborative": arguments.collaborative, **found})
            print(f"{size:>11,} {found['seconds']:7.1f} s {found['peak_gb']:5.2f} GB", flush=True)
        table = pl.DataFrame(rows).with_columns(
            million_per_second=pl.col("interactions") / pl.col("seconds") / 1e6
        )
    table.write_csv(arguments.out or HERE / f"core_{arguments.what}.csv")
    with pl.Config(tbl_cols=-1, tbl_width_chars=200, fmt_str_lengths=60):
        print(table)


if __name__ == "__main__":
    main()
