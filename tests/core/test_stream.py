"""A stream gives the numbers of a fit for any chunk size, and resumes after being killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sgurinit.core import ItemFeatures, SGURInit
from sgurinit.core.inputs.features import restore_bfloat16
from sgurinit.core.steps import aggregate, held_out
from sgurinit.core.stream import buckets, edges
from sgurinit.core.stream import run as stream_run
from sgurinit.core.stream.buckets import Buckets
from sgurinit.core.stream.request import DTYPES
from sgurinit.errors import InputError
from sgurinit.locks import clear_folder

N_ITEMS = 40
FEATURES = {
    "a": np.random.default_rng(0).normal(size=(N_ITEMS, 6)).astype(np.float32),
    "b": ItemFeatures(
        np.random.default_rng(1).normal(size=(N_ITEMS, 3)), np.arange(N_ITEMS) % 5 > 0
    ),
}

HYBRID = {"collaborative": True, "penalty": 10.0, "content_weight": 0.3}


def pairs(n=900, n_users=70, seed=0):
    rng = np.random.default_rng(seed)
    found = np.column_stack([rng.integers(0, n_users, n), rng.integers(0, N_ITEMS, n)])
    found[0, 0] = n_users - 1
    found[found[:, 0] == 3, 0] = 4  # nobody is user 3
    return found


def write(path: Path, found: np.ndarray, *, text: bool = False) -> Path:
    columns = {name: found[:, i] for i, name in enumerate(("user", "item"))}
    if text:
        columns = {name: [f"{name}-{v}" for v in values] for name, values in columns.items()}
    pl.DataFrame(columns).write_parquet(path)
    return path


def estimator(**options) -> SGURInit:
    return SGURInit(**{"n_clusters": 3, "joint_dim": 4, "random_state": 0} | options)


def users(start, name):
    return start.joint(4).users if name == "joint" else start.users[name]


def assert_equals_fit(folder: Path, start) -> None:
    for name in ("a", "b", "joint"):
        found = np.load(folder / "users" / f"{name}.npy", mmap_mode="r")
        assert_close(found, users(start, name))


def assert_close(found, expected) -> None:
    """Equal but for the last digit: a product of matrices rounds by its shape."""
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    chunk=st.integers(1, 1000),
    bucket=st.integers(1, 1000),
    block=st.integers(1, 5000),
    columns=st.integers(1, 3000),
    n_jobs=st.sampled_from([None, 2]),
    norm=st.sampled_from(["sym", "mean"]),
    n_files=st.integers(1, 3),
    options=st.sampled_from([{}, HYBRID]),
)
def test_it_equals_the_fit_for_any_size_of_the_pieces(
    chunk, bucket, block, columns, n_jobs, norm, n_files, options, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("stream")
    for number, part in enumerate(np.array_split(pairs(), n_files)):
        write(folder / f"{number}.parquet", part)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edges, "_CHUNK_ROWS", chunk)
        patch.setattr(buckets, "_BUCKET_SIZE", bucket)
        patch.setattr(aggregate.split_users, "__defaults__", (block,))
        patch.setattr(aggregate.split_columns, "__defaults__", (columns,))
        found = estimator(local_norm=norm, n_jobs=n_jobs, **options)
        out = found.stream(folder / "*.parquet", FEATURES, folder / "out")
    start = estimator(local_norm=norm, **options).fit(pairs(), FEATURES).start_
    assert_equals_fit(out, start)
    facts = json.loads((out / "start.json").read_text())
    for name in ("n_users", "n_items", "n_interactions", "duplicate_interactions"):
        assert facts[name] == getattr(start.diagnostics, name)
    assert facts["cluster_sizes"]["a"] == list(start.diagnostics.modalities["a"].cluster_sizes)
    assert sorted(path.name for path in out.iterdir()) == [
        "items.parquet",
        "items.safetensors",
        "start.json",
        "users",
    ]
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_ids_and_parquet(dtype, tmp_path, monkeypatch):
    monkeypatch.setattr(edges, "_CHUNK_ROWS", 70)
    monkeypatch.setattr(buckets, "_BUCKET_SIZE", 100)
    path = write(tmp_path / "log.parquet", pairs(), text=True)
    ids = [f"item-{i}" for i in np.random.default_rng(0).permutation(N_ITEMS)]
    out = estimator().stream(
        path, FEATURES, tmp_path / "out", item_ids=ids, layout="parquet", dtype=dtype
    )
    start = estimator().fit(pl.read_parquet(path), FEATURES, item_ids=ids).start_
    table = pl.read_parquet(out / "users" / "*.parquet")
    assert table["user"].to_list() == start.user_ids.tolist()
    assert len(list((out / "users").iterdir())) > 3
    for name in ("a", "b", "joint"):
        tolerance = 1e-6 if dtype == "float32" else 1e-3
        found = table[name].to_numpy().astype(np.float64)
        np.testing.assert_allclose(found, users(start, name), rtol=tolerance, atol=tolerance / 10)
        assert table[name].dtype.inner == (pl.Float32 if dtype == "float32" else pl.Float16)
    npy = estimator().stream(path, FEATURES, tmp_path / "npy", item_ids=ids, tables=["b"])
    assert pl.read_parquet(npy / "user_ids.parquet")["user"].to_list() == start.user_ids.tolist()
    assert [file.name for file in (npy / "users").iterdir()] == ["b.npy"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "dtype", "inner"),
    [
        ("parquet", "float32", pl.Float32),
        ("parquet", "float16", pl.Float16),
        ("npy", "float32", pl.Float32),
        ("npy", "bfloat16", pl.Float32),
    ],
)
@pytest.mark.parametrize("with_ids", [True, False])
def test_joint_items_are_written_with_their_ids(with_ids, layout, dtype, inner, tmp_path):
    path = write(tmp_path / "log.parquet", pairs(), text=with_ids)
    ids = [f"item-{i}" for i in np.random.default_rng(0).permutation(N_ITEMS)] if with_ids else None
    streaming = estimator(**HYBRID)
    out = streaming.stream(
        path, FEATURES, tmp_path / "out", item_ids=ids, layout=layout, dtype=dtype
    )
    log = pl.read_parquet(path) if with_ids else pairs()
    start = streaming.fit(log, FEATURES, item_ids=ids).start_
    table = pl.read_parquet(out / "items.parquet")
    assert table.columns == ["item", "joint"]
    assert table["joint"].dtype == pl.Array(inner, 4)
    found = dict(zip(table["item"].to_list(), table["joint"].to_numpy(), strict=True))
    names = start.item_ids.tolist() if with_ids else list(range(N_ITEMS))
    assert len(found) == len(names)
    tolerance = 1e-3 if dtype == "float16" else 1e-6
    rows = np.array([found[name] for name in names], dtype=np.float64)
    np.testing.assert_allclose(rows, start.joint(4).items, rtol=tolerance, atol=tolerance)
    written = [file for file in out.rglob("*") if file.is_file() and file.name != "start.json"]
    listed = json.loads((out / "start.json").read_text())["files"]
    assert listed == sorted(file.relative_to(out).as_posix() for file in written)


def test_without_the_joint_table_no_items_are_written(tmp_path):
    path = write(tmp_path / "log.parquet", pairs())
    out = estimator().stream(path, FEATURES, tmp_path / "out", tables=["a"])
    assert not (out / "items.parquet").exists()


def test_a_collaborative_space_needs_a_width(tmp_path):
    path = write(tmp_path / "log.parquet", pairs())
    hybrid = SGURInit.from_preset("hybrid", n_clusters=3)
    message = "collaborative=True has no effect without `joint_dim`"
    with pytest.raises(InputError, match=message):
        hybrid.stream(path, FEATURES, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_errors_name_the_columns_of_the_log(tmp_path):
    log = tmp_path / "log.parquet"
    ids = [str(i) for i in range(N_ITEMS)]
    names = {"item_ids": ids, "columns": ("customer_id", "sku")}
    out = tmp_path / "out"
    for users, items, message in (
        (["a", None], ["1", "2"], r"log.parquet, row 1: column 'customer_id' is empty"),
        (["a", "b"], ["1", "x"], r"log.parquet, row 1: column 'sku' has 'x', which is not"),
        ([0.5, 1.0], ["1", "2"], r"log.parquet: column customer_id is Float64"),
    ):
        pl.DataFrame({"customer_id": users, "sku": items}).write_parquet(log)
        with pytest.raises(InputError, match=message):
            estimator().stream(log, FEATURES, out, **names)
    pl.DataFrame({"customer_id": ["a"], "sku": ["1"]}).write_parquet(log)
    other = tmp_path / "more.parquet"
    pl.DataFrame({"customer_id": [1], "sku": ["1"]}).write_parquet(other)
    message = "more.parquet: column 'customer_id' holds integers, the rows before hold strings"
    with pytest.raises(InputError, match=message):
        estimator().stream([log, other], FEATURES, out, **names)


def test_an_unknown_item_is_named_by_its_row_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(edges, "_CHUNK_ROWS", 3)
    path = write(tmp_path / "log.parquet", np.array([[0, i] for i in (1, 2, 3, 4, 99, 98)]))
    message = "row 4: column 'item' has 99, which is not among the known ids: 2 item ids in the 3"
    with pytest.raises(InputError, match=message):
        estimator().stream(path, FEATURES, tmp_path / "out", item_ids=range(N_ITEMS))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_an_edge_list_and_memory_mapped_half_precision(dtype, tmp_path):
    np.save(tmp_path / "edges.npy", pairs().astype(np.int32))
    half = FEATURES["a"].astype(DTYPES[dtype])
    np.save(tmp_path / "a.npy", half)
    mapped = {"a": np.load(tmp_path / "a.npy", mmap_mode="r")}
    whole = estimator().fit(pairs(), {"a": half.astype(np.float64)}).start_
    out = estimator().stream(tmp_path / "edges.npy", mapped, tmp_path / "out")
    found = np.load(out / "users" / "a.npy")
    np.testing.assert_allclose(found, whole.users["a"], rtol=1e-5, atol=1e-6)
    out = estimator().stream(tmp_path / "edges.npy", mapped, tmp_path / "half", dtype=dtype)
    found = restore_bfloat16(np.load(out / "users" / "a.npy", mmap_mode="r"))
    assert found.dtype == half.dtype
    np.testing.assert_allclose(found.astype(float), whole.users["a"], rtol=5e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "stage", ["reading", "dividing", "grouping", "items of b", "users of a", "users of joint"]
)
@pytest.mark.parametrize("layout", ["npy", "parquet"])
def test_it_resumes_from_an_interruption_at_any_stage(stage, layout, tmp_path, monkeypatch):
    monkeypatch.setattr(edges, "_CHUNK_ROWS", 200)
    monkeypatch.setattr(buckets, "_BUCKET_SIZE", 200)
    path = write(tmp_path / "log.parquet", pairs())
    seen: list[tuple[str, int]] = []

    def stop(at, done, total):
        if at == stage and done >= min(2, total):
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        estimator().stream(path, FEATURES, out, progress=stop, layout=layout)
    assert not out.exists()
    estimator().stream(
        path,
        FEATURES,
        out,
        layout=layout,
        progress=lambda at, _, total: seen.append((at, total)),
    )
    start = estimator().fit(pairs(), FEATURES).start_
    if layout == "npy":
        assert_equals_fit(out, start)
    else:
        table = pl.read_parquet(out / "users" / "*.parquet")
        assert_close(table["b"].to_numpy(), start.users["b"])
    if stage.startswith("users of"):  # what was grouped stays so, and what was written
        assert not {"reading", "dividing", "grouping"} & {at for at, _ in seen}
        whole = len(buckets.divide_users(np.bincount(pairs()[:, 0]))) - 1
        assert all(total < whole for at, total in seen if at == stage)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("given", [HYBRID, {"collaborative": True}], ids=["given", "chosen"])
def test_a_collaborative_space_is_the_same_from_disk_and_is_kept(given, tmp_path, monkeypatch):
    path = write(tmp_path / "log.parquet", pairs())
    start = estimator(local_weight=0.9, **given).fit(pairs(), FEATURES).start_
    monkeypatch.setattr(buckets, "_BUCKET_SIZE", 100)
    streaming = estimator(local_weight=0.9, n_jobs=2, **given)
    reported: list[tuple[str, int, int]] = []

    def progress(*report):
        reported.append(report)
        if report[0] == "users of joint":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        streaming.stream(path, FEATURES, tmp_path / "o", progress=progress)
    assert max(done for stage, done, _ in reported if stage == "joint space") > 1
    reported.clear()
    out = streaming.stream(
        path, FEATURES, tmp_path / "o", progress=lambda *report: reported.append(report)
    )
    assert [done for stage, done, _ in reported if stage == "joint space"] == [0]
    found = np.load(out / "users" / "joint.npy").astype(float)
    expected = users(start, "joint").astype(float)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, rtol=1e-4, atol=1e-5)
    facts = json.loads((out / "start.json").read_text())
    settings = (start.diagnostics.penalty, start.diagnostics.content_weight)
    assert None not in settings
    assert (facts["penalty"], facts["content_weight"]) == settings


@pytest.mark.slow
def test_it_resumes_after_being_killed(tmp_path):
    path = write(tmp_path / "log.parquet", pairs(20000, 5000))
    np.save(tmp_path / "a.npy", FEATURES["a"])
    program = (
        "import sys, time, numpy as np\n"
        "from sgurinit.core import SGURInit\n"
        "from sgurinit.core.stream import buckets\n"
        "buckets._BUCKET_SIZE = 100\n"
        "def progress(*report):\n"
        "    print(*report, flush=True)\n"
        "    time.sleep(0.002)\n"
        "log, features, out = sys.argv[1:]\n"
        "SGURInit(n_clusters=3, joint_dim=4).stream("
        "log, {'a': np.load(features)}, out, progress=progress)\n"
    )
    words = [sys.executable, "-c", program, path, tmp_path / "a.npy", tmp_path / "out"]
    for stage in ("grouping", "users of a"):
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        for line in process.stdout or ():
            if line.startswith(stage):
                break
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "out").exists()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    facts = json.loads((tmp_path / "out" / "start.json").read_text())
    options = {"n_clusters": 3, "joint_dim": 4, "random_state": facts["config"]["seed"]}
    start = SGURInit(**options).fit(pairs(20000, 5000), {"a": FEATURES["a"]}).start_
    found = np.load(tmp_path / "out" / "users" / "a.npy")
    assert_close(found, start.users["a"])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_interactions(tmp_path, monkeypatch):
    monkeypatch.setattr(edges, "_CHUNK_ROWS", 20_000)
    monkeypatch.setattr(buckets, "_BUCKET_SIZE", 20_000)
    monkeypatch.setattr(held_out, "_SAMPLE_INTERACTIONS", 20_000)
    features = {"a": np.random.default_rng(0).normal(size=(2000, 6))}
    rng = np.random.default_rng(1)
    peaks = []
    for n in (100_000, 1_000_000):
        found = np.column_stack([rng.integers(0, 5000, n), rng.integers(0, 2000, n)])
        path = write(tmp_path / f"{n}.parquet", found)
        tracemalloc.start()
        estimator(**HYBRID).stream(path, features, tmp_path / f"out-{n}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Ten times the interactions; the sample for the settings only has about its size.
    assert peaks[1] < 1.5 * peaks[0]


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """Return a log and the output of its stream, which was stopped while it wrote the users."""
    monkeypatch.setattr(buckets, "_BUCKET_SIZE", 200)
    path = write(tmp_path / "log.parquet", pairs())

    def stop(at, done, total):
        if at == "users of joint" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        estimator().stream(path, FEATURES, tmp_path / "out", progress=stop)
    return path, tmp_path / "out"


@pytest.mark.parametrize("name", ["counts.npy", "buckets/00001.npy", "joint.npy"])
def test_damaged_work_is_refused_and_begins_again_without_it(name, stopped):
    path, out = stopped
    folder = out.with_name(".out.partial")
    file = folder / "out.work" / name
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: wrong checksum: .* remove the folder") as error:
        estimator().stream(path, FEATURES, out)
    assert "\n" not in str(error.value)
    clear_folder(folder)
    estimator().stream(path, FEATURES, out)
    assert_equals_fit(out, estimator().fit(pairs(), FEATURES).start_)


@pytest.mark.parametrize("at", [0, 100, -1, -5000])
@pytest.mark.parametrize("name", ["out/users/a.npy", "out.work/a.done", "out.work/request.json"])
def test_damaged_rows_and_notes_are_made_again(name, at, stopped):
    path, out = stopped
    file = out.with_name(".out.partial") / name
    content = bytearray(file.read_bytes())
    content[at % len(content)] ^= 1
    file.write_bytes(content)
    estimator().stream(path, FEATURES, out)
    assert_equals_fit(out, estimator().fit(pairs(), FEATURES).start_)


def test_damaged_pairs_are_refused(tmp_path):
    made = Buckets(tmp_path, np.array([0, 2]), n_items=3)
    made.write_pairs([(np.array([0, 1]), np.array([2, 0]))])
    (tmp_path / "00000.pairs").write_bytes(bytes(16))
    with pytest.raises(InputError, match=r"00000\.pairs: wrong checksum"):
        made.sort(0)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"parameters": 3}', '{"parameters": {}}',
                                     '{"parameters": {"seed": "x"}}'])  # fmt: skip
def test_a_damaged_request_is_begun_again_with_another_seed(content, stopped):
    path, out = stopped
    (out.with_name(".out.partial") / "out.work/request.json").write_text(content)
    assert stream_run.read_interrupted_seed(out) is None
    SGURInit(n_clusters=3, joint_dim=4).stream(path, FEATURES, out)
    assert (out / "start.json").exists()


def test_other_data_or_parameters_begin_again(tmp_path):
    path = write(tmp_path / "log.parquet", pairs())

    def stop(stage, *_):
        if stage == "users of a":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        estimator().stream(path, FEATURES, tmp_path / "out", progress=stop)
    with pytest.raises(KeyboardInterrupt):
        estimator(local_weight=0.25).stream(path, FEATURES, tmp_path / "out", progress=stop)
    write(path, pairs(1000, seed=1))
    out = estimator(local_weight=0.25).stream(path, FEATURES, tmp_path / "out")
    assert_equals_fit(out, estimator(local_weight=0.25).fit(pairs(1000, seed=1), FEATURES).start_)


def nulls(path):
    pl.DataFrame({"user": [1, None], "item": [1, 2]}).write_parquet(path)


def columns(path):
    pl.DataFrame({"users": [1], "item": [1]}).write_parquet(path)


def words(path):
    pl.DataFrame({"user": ["a"], "item": [1]}).write_parquet(path)


def beyond(path):
    write(path, np.array([[0, 1], [1, N_ITEMS]]))


def negative(path):
    write(path, np.array([[0, 1], [-1, 1]]))


def large(path):
    write(path, np.array([[0, 1], [2**31 - 2, 4_000_000_000]]))


def stray(path):
    write(path, np.array([[0, 1], [2**31 - 2, 1]]))


def nobody(path):
    write(path, np.empty((0, 2), dtype=np.int64))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (nulls, r"log\.parquet, row 1: column 'user' is empty; drop such rows"),
        (columns, r"log\.parquet: has no column 'user', it has users, item"),
        (words, r"log\.parquet.*column 'user' holds String, expected integer positions"),
        (beyond, r"log\.parquet, row 1: column 'item' has position 40, expected 0 to 39"),
        (
            negative,
            r"log\.parquet, row 1: column 'user' has position -1, expected 0 to 1999; for ",
        ),
        (stray, r"row 1: column 'user' has position 2147483646, expected 0 to 1999; for external"),
        (large, r"row 1: column 'item' has position 4000000000, expected 0 to 39; for external"),
        (nobody, "there are no training interactions"),
        (lambda path: path.write_text("user,item"), r"log\.parquet: expected a Parquet file"),
        (lambda path: None, r"log\.parquet: no such file"),
        (lambda path: path.mkdir(), r"log\.parquet: no \.parquet file in this folder"),
    ],
)
def test_bad_interactions_name_the_file_and_the_row(make, message, tmp_path):
    make(tmp_path / "log.parquet")
    with pytest.raises(InputError, match=message):
        estimator().stream(tmp_path / "log.parquet", FEATURES, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_archive_of_arrays_is_no_edge_list(tmp_path):
    with (tmp_path / "log.npy").open("wb") as file:
        np.savez(file, pairs())
    with pytest.raises(InputError, match=r"log\.npy: is an archive of arrays, expected one \.npy"):
        estimator().stream(tmp_path / "log.npy", FEATURES, tmp_path / "out")


def test_preprocessing_that_changes_no_table_is_refused(tmp_path):
    path = write(tmp_path / "log.parquet", pairs())
    streaming = estimator(preprocess=("center",))
    with pytest.raises(InputError, match=r"preprocess=\('center',\) has no effect"):
        streaming.stream(path, FEATURES, tmp_path / "out", tables=["joint"])
    streaming.stream(path, FEATURES, tmp_path / "out", tables=["joint", "a"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tables": ["c"]}, "tables: 'c' is none of a, b, joint"),
        ({"tables": []}, "tables is empty"),
        ({"layout": "csv"}, "layout must be one of npy, parquet, got 'csv'"),
        ({"dtype": "bfloat16", "layout": "parquet"}, "Parquet has no bfloat16; give layout npy"),
        ({"dtype": "int8"}, "dtype must be one of float32, float16, bfloat16, got 'int8'"),
        (
            {"item_ids": list(range(100, 100 + N_ITEMS))},
            r"log.parquet, row 0: column 'item' has \d+, which is not among the known ids: 40 item "
            r"ids in the 900 rows read have no vector; .*give `item_ids` .*log.parquet",
        ),
        (
            {"item_ids": [str(i) for i in range(N_ITEMS)]},
            "holds integers, the known ids are strings",
        ),
    ],
)
def test_bad_options_are_named(options, message, tmp_path):
    path = write(tmp_path / "log.parquet", pairs())
    with pytest.raises(InputError, match=message):
        estimator().stream(path, FEATURES, tmp_path / "out", **options)


def test_an_existing_folder_is_refused(tmp_path):
    path = write(tmp_path / "log.parquet", pairs())
    with pytest.raises(InputError, match="exists already"):
        estimator().stream(path, FEATURES, tmp_path)
    with pytest.raises(InputError, match="'joint' is none of a, b; set joint_dim"):
        estimator(joint_dim=None).stream(path, FEATURES, tmp_path / "o", tables=["joint"])


def test_a_range_holds_whole_users_and_about_as_many_interactions(monkeypatch):
    monkeypatch.setattr(buckets, "_BUCKET_SIZE", 10)
    counts = np.array([3, 3, 3, 3, 30, 0, 0, 4, 8])
    bounds = buckets.divide_users(counts)
    assert bounds.tolist() == [0, 4, 5, 7, 9] or (bounds[0] == 0 and bounds[-1] == len(counts))
    assert (np.diff(bounds) > 0).all()
    assert Buckets(Path(), bounds, 3).n_users == len(counts)


def test_long_ids_are_read_in_pieces(tmp_path, monkeypatch):
    path = write(tmp_path / "log.parquet", pairs(), text=True)
    ids = [f"item-{i}" for i in range(N_ITEMS)]
    whole = estimator().stream(path, FEATURES, tmp_path / "whole", item_ids=ids)
    monkeypatch.setattr(stream_run, "_ID_BYTES", 1000)
    pieces = estimator().stream(path, FEATURES, tmp_path / "pieces", item_ids=ids)
    for file in ("users/a.npy", "users/joint.npy", "user_ids.parquet", "items.safetensors"):
        assert (pieces / file).read_bytes() == (whole / file).read_bytes()
    few = {"a": FEATURES["a"][:39]}
    with pytest.raises(InputError, match=r"log\.parquet, row \d+: column 'item' has 'item-39'"):
        estimator().stream(path, few, tmp_path / "out", item_ids=ids[:39])


def test_a_stream_killed_while_it_cleans_up_is_whole(tmp_path, monkeypatch):
    path = write(tmp_path / "log.parquet", pairs())
    whole = estimator().stream(path, FEATURES, tmp_path / "whole")

    def stop(folder):
        if (tmp_path / "out").exists():
            raise KeyboardInterrupt
        return clear_folder(folder)

    monkeypatch.setattr(stream_run, "clear_folder", stop)
    with pytest.raises(KeyboardInterrupt):
        estimator().stream(path, FEATURES, tmp_path / "out")
    with pytest.raises(InputError, match="exists already"):
        estimator().stream(path, FEATURES, tmp_path / "out")
    assert not list(tmp_path.glob(".*"))
    assert (tmp_path / "out/start.json").read_bytes() == (whole / "start.json").read_bytes()


def test_a_stream_killed_while_it_writes_its_facts_lists_whole_files(tmp_path, monkeypatch):
    path = write(tmp_path / "log.parquet", pairs())
    whole = estimator().stream(path, FEATURES, tmp_path / "whole")

    def stop(at, _):
        at.with_name(f".{at.name}.partial").touch()  # as a kill leaves it
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        write_json = stream_run.write_json
        patched.setattr(
            stream_run,
            "write_json",
            lambda at, data: (stop if at.name == "start.json" else write_json)(at, data),
        )
        with pytest.raises(KeyboardInterrupt):
            estimator().stream(path, FEATURES, tmp_path / "out")
    estimator().stream(path, FEATURES, tmp_path / "out")
    assert (tmp_path / "out/start.json").read_bytes() == (whole / "start.json").read_bytes()


@pytest.mark.parametrize("n_jobs", [0, "a", 1.5, True])
def test_a_wrong_number_of_threads_is_refused_before_any_work(n_jobs, tmp_path):
    path = write(tmp_path / "log.parquet", pairs())
    with pytest.raises(InputError, match="expected None or an integer other than 0"):
        estimator(n_jobs=n_jobs).stream(path, FEATURES, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [path]
