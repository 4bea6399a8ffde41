"""Time and memory of the method: beside a plain implementation, and on large logs.

    python benchmarks/core.py baby                       # -> benchmarks/core_baby.csv
    python benchmarks/core.py hybrid                     # -> benchmarks/core_hybrid.csv
    python benchmarks/core.py stream FOLDER [--sizes 1e6,1e7,3e7,1e8] [--per-item 100]
                                    [--collaborative]    # -> benchmarks/core_stream.csv
    python benchmarks/core.py threads                    # -> benchmarks/core_threads.csv
    python benchmarks/core.py device --device cuda [--sizes 1e7] [--per-item 50]
                                                         # -> benchmarks/core_device.csv

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

`device` times the steps that a device can compute, with NumPy on one thread and with torch on the
device, on interactions of a tenth as many users and one fiftieth as many items (`--per-item`), with
features of 64 columns. Beside each step is the largest difference between a row of the two results,
relative to its norm. `--device cpu` is torch on the CPU, which takes as long, but shows that the
script runs.

A share of the memory bandwidth is a ratio. The numerator is the least traffic: every item row that
a user's sum reads, and every user's row that is written. The denominator is what a copy of a large
array moves in the same time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from sgurinit.core import ItemFeatures
from sgurinit.core.params import PRESETS, Parameters
from sgurinit.core.steps.aggregate import count_item_degrees
from sgurinit.core.steps.collaborative import PartSums, find_directions
from sgurinit.core.steps.held_out import choose_settings, sample_users
from sgurinit.core.steps.item_model import fit_item_model, reduce_item_model
from sgurinit.core.steps.joint import CONTENT_WIDTH, DIRECTIONS_PER_COLUMN, reduce_modality
from sgurinit.core.steps.processor import NUMPY, Processor
from sgurinit.core.steps.space import Space

HERE = Path(__file__).parent
BABY = {"users": 19_445, "items": 7_050, "interactions": 118_551}
WIDTHS = {"image": 4096, "text": 384}
STAIR = PRESETS["stair"]
REPEATS = 7  # of `baby`; the two ways alternate
CHUNK = 1 << 22  # interactions per generated file
# Interactions, and interactions per item, of what is measured at several sizes.
SIZES: Mapping[str, tuple[str, int]] = {
    "stream": ("1e6,1e7,3e7,1e8", 100),
    "device": ("1e7", 50),
}


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


def make_many_items(size: int, per_item: int) -> tuple[sp.csr_array, np.ndarray]:
    """Make interactions that follow 64 topics and popularity, and features around the topics."""
    rng = np.random.default_rng(0)
    n_users, n_items, width = size // 10, size // per_item, 64
    users = np.sort(rng.integers(n_users, size=size, dtype=np.int32))
    items = (rng.random(size) ** 2 * n_items).astype(np.int32)
    own = rng.random(size) < 0.5
    topics = rng.integers(64, size=n_users, dtype=np.int32)[users[own]]
    items[own] = np.minimum(items[own] // 64 * 64 + topics, n_items - 1)
    matrix = sp.csr_array((np.ones(size, np.int8), (users, items)), shape=(n_users, n_items))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    rows = rng.standard_normal((n_items, width), dtype=np.float32)
    rows += rng.standard_normal((64, width), dtype=np.float32)[np.arange(n_items) % 64]
    return matrix, rows


def run_steps(
    matrix: sp.csr_array, rows: np.ndarray, processor: Processor
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each step of a start that a device can compute, and what it returns."""
    dim, n_jobs, degrees = 64, None, count_item_degrees(matrix)
    for n_clusters in (256, 8):
        parameters = Parameters.check(SGURInit(n_clusters=n_clusters, random_state=0).get_params())
        space = Space.fit(
            degrees, ItemFeatures(rows), parameters, preprocess=True, processor=processor
        )
        yield f"{n_clusters} clusters", space.items.centroids
        if n_clusters == 8:
            yield "users' sums", space.compute_users(matrix, n_jobs, processor)
    content = reduce_modality(ItemFeatures(rows), CONTENT_WIDTH * dim, n_jobs, processor)
    content /= np.linalg.norm(content, axis=1, keepdims=True)
    yield "principal axes", content
    with PartSums([lambda: matrix], n_jobs, processor=processor) as sums:
        directions = find_directions(sums, degrees, DIRECTIONS_PER_COLUMN * dim)
        # Columns with the same products are the same directions.
        yield "directions", directions.columns @ directions.columns[:100].T
        settings = choose_settings(
            sample_users([lambda: matrix], directions.keys),
            directions,
            content,
            dim,
            DIRECTIONS_PER_COLUMN * dim,
            penalty=None,
            content_weight=None,
            processor=processor,
        )
        yield "settings", np.array([settings])
        model = fit_item_model(directions, content, *settings, processor)
        yield "item model", model.diagonal[:, None]
        yield "joint items", reduce_item_model(model, sums, dim)


def compare_devices(device: str, sizes: Sequence[int], per_item: int) -> pl.DataFrame:
    """Time the steps with NumPy and with torch on a device."""
    import torch  # noqa: PLC0415 - the other measurements are of a library without it

    from sgurinit.core.steps._on_device import TorchProcessor  # noqa: PLC0415

    own = TorchProcessor(torch.device(device))
    own.find_basis(np.eye(8))  # the first call loads libraries
    name = torch.cuda.get_device_name(own.device) if own.device.type == "cuda" else "torch on a CPU"
    print(f"{name}, {torch.get_num_threads()} threads of torch", flush=True)
    found: list[dict[str, Any]] = []
    for size in sizes:
        matrix, rows = make_many_items(size, per_item)
        steps: dict[str, dict[str, Any]] = {}
        for way, processor in (("numpy", NUMPY), ("device", own)):
            began = time.perf_counter()
            with threadpool_limits(1, user_api="blas"):
                for step, result in run_steps(matrix, rows, processor):
                    seconds = time.perf_counter() - began
                    figures = steps.setdefault(step, {"interactions": size, "step": step})
                    figures[f"{way}_seconds"] = seconds
                    print(f"{size:>11,} {step:>15} {way:>7} {seconds:8.2f} s", flush=True)
                    if way == "device":
                        figures["difference"] = measure_difference(result, figures.pop("result"))
                    else:
                        figures["result"] = result
                    began = time.perf_counter()
        found.extend(steps.values())
    return pl.DataFrame(found).with_columns(
        speedup=pl.col("numpy_seconds") / pl.col("device_seconds")
    )


def measure_difference(rows: np.ndarray, expected: np.ndarray) -> float:
    """Find the largest difference between two rows, relative to the norm; rows near zero aside."""
    norms = np.linalg.norm(expected, axis=1)
    large = norms > 1e-3 * norms.mean()
    return float((np.linalg.norm(rows - expected, axis=1) / norms)[large].max())


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
    parser.add_argument("what", nargs="?", choices=["baby", "hybrid", "threads", *SIZES])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--sizes")
    parser.add_argument("--per-item", type=int)
    parser.add_argument("--device", default="cpu", help="of torch, such as cuda:1; for `device`")
    parser.add_argument("--collaborative", action="store_true")
    parser.add_argument("--out", type=Path, help="CSV file of the table")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.part:
        print(json.dumps(run_part(arguments.part)))
        return
    usual, per_item = SIZES.get(arguments.what, SIZES["stream"])
    sizes, per_item = parse_sizes(arguments.sizes or usual), arguments.per_item or per_item
    if arguments.what == "baby":
        table = measure_baby()
        print(summarize(table))
    elif arguments.what == "hybrid":
        table = measure_hybrid()
    elif arguments.what == "threads":
        table = time_threads()
    elif arguments.what == "device":
        table = compare_devices(arguments.device, sizes, per_item)
    else:
        table = measure_streams(arguments.folder, sizes, per_item, arguments.collaborative)
    table.write_csv(arguments.out or HERE / f"core_{arguments.what}.csv")
    with pl.Config(tbl_cols=-1, tbl_width_chars=200, fmt_str_lengths=60):
        print(table)


if __name__ == "__main__":
    main()
