"""Benchmarks give both sides the same inputs and compute their figures from what they measure."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from sgurinit.data import load_dataset, planted
from sgurinit.models import BPRMF, LightGCN, model_resolver
from sgurinit.training.sampler import TripleSampler

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Import a script of the folder, whose names are common words, for one test."""
    names = [path.stem for path in BENCHMARKS.glob("*.py")]
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield import_module
    for name in names:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["core", "prepare", "spark", "spmm", "toolkit", "training"])
def test_help_names_the_arguments(load, name, capsys):
    with pytest.raises(SystemExit) as end:
        load(name).main(["--help"])
    assert end.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_a_process_returns_its_last_line_and_reports_its_errors(load, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\n"
        "print('noise')\n"
        "print('{\"threads\": ' + os.environ['OMP_NUM_THREADS'] + '}')\n"
        "sys.exit(sys.argv[1] if len(sys.argv) > 1 else 0)\n"
    )
    run = load("processes").run_in_process
    assert run(script, threads=3) == {"threads": 3}
    with pytest.raises(SystemExit, match=r"(?s)script.py out of luck failed.*out of luck"):
        run(script, "out of luck", threads=3)


def test_processes_take_turns(load, tmp_path):
    processes = load("processes")
    lock = tmp_path / "lock"
    with (
        processes.take_turn(None, "cpu"),
        processes.take_turn(lock, "cpu"),
        lock.open("w") as other,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


# core.py


def test_the_plain_implementation_computes_the_same_start(load, monkeypatch):
    """With as many distinct items as clusters, K-means has one solution."""
    core = load("core")
    monkeypatch.setattr(core, "measure_copy_rate", lambda: 1e9)
    sizes = {"users": 300, "items": 80, "interactions": 1500}
    matrix, _ = core.make_baby(sizes, {})
    assert matrix.nnz == 1500
    rng = np.random.default_rng(0)
    topics = np.resize(np.arange(8), 80)
    features = {
        name: rng.normal(size=(8, width)).astype(np.float32)[topics]
        for name, width in core.WIDTHS.items()
    }
    ours = core.run_ours(matrix, features)
    theirs = core.run_straightforward(matrix, features)
    for name in features:
        assert ours[f"norm_{name}"] == pytest.approx(theirs[f"norm_{name}"], rel=1e-5)
        for way in (ours, theirs):
            assert way[f"inertia_{name}"] == pytest.approx(0, abs=1e-3)


def test_both_ways_get_the_same_data(load):
    core = load("core")
    sizes, widths = {"users": 30, "items": 20, "interactions": 90}, {"image": 5, "text": 3}
    (one, its_features), (other, features) = (core.make_baby(sizes, widths) for _ in range(2))
    assert (one != other).nnz == 0
    assert (one.sum(axis=1) > 0).all(), "the plain way has no rule for users without interactions"
    for name, width in widths.items():
        assert features[name].shape == (20, width)
        np.testing.assert_array_equal(features[name], its_features[name])


def test_the_ways_alternate_and_are_summarized_by_medians(load, monkeypatch):
    core = load("core")
    calls = []

    def run(_script: str, _part: str, way: str, *, threads: int) -> dict[str, float]:
        calls.append((way, threads))
        return {"seconds": float(len(calls) ** 2)}

    monkeypatch.setattr(core, "run_in_process", run)
    monkeypatch.setattr(core, "REPEATS", 3)
    table = core.measure_baby()
    assert calls == [("ours", 1), ("straightforward", 1)] * 3
    summary = core.summarize(table)
    assert summary.rows() == [("ours", 9.0), ("straightforward", 16.0)]


def test_stages_of_a_stream_add_up_to_at_most_its_seconds(load, monkeypatch, tmp_path):
    core = load("core")
    monkeypatch.setattr(core, "measure_copy_rate", lambda: 1e9)
    core.make_log(tmp_path / "log", 20_000, per_item=100)
    log = pl.read_parquet(tmp_path / "log" / "log-*.parquet")
    assert len(log) == 20_000
    found = core.run_part(["stream", str(tmp_path / "log"), "0.0"])
    stages = [seconds for name, seconds in found.items() if name.endswith(" s")]
    assert len(stages) > 1
    assert sum(stages) <= found["seconds"]


def test_the_hybrid_is_measured_with_its_joint_space(load):
    core = load("core")
    found = core.run_hybrid(
        *core.make_baby({"users": 60, "items": 40, "interactions": 300}, {"x": 8})
    )
    assert found["joint_seconds"] > 0
    assert found["norm"] > 0


def test_rate_of_a_stream_is_interactions_per_second(load, monkeypatch, tmp_path):
    core = load("core")
    monkeypatch.setattr(core, "run_in_process", lambda *_, **__: {"seconds": 0.5, "peak_gb": 1.0})
    out = tmp_path / "table.csv"
    core.main(["stream", str(tmp_path), "--sizes", "1e3,2e3", "--out", str(out)])
    table = pl.read_csv(out)
    assert table["interactions"].to_list() == [1000, 2000]
    assert table["million_per_second"].to_list() == pytest.approx([0.002, 0.004])


# prepare.py


def test_preparing_is_measured_by_stage(load, tmp_path):
    prepare = load("prepare")
    log = tmp_path / "log.csv"
    prepare.make_log(log, 20_000)
    assert len(pl.read_csv(log)) == 20_000
    found = prepare.measure(log)
    assert 0 < found["kept"] < 20_000
    stages = [seconds for name, seconds in found.items() if name.endswith(" s")]
    assert len(stages) > 1
    assert sum(stages) <= found["seconds"]
    assert not log.with_suffix("").exists(), "the data set is not left behind"


# spark.py


def test_spark_and_the_core_get_the_same_items(load, tmp_path):
    spark = load("spark")
    load("core").make_log(tmp_path, 2_000, per_item=100)
    items = pd.read_parquet(spark.make_items(tmp_path)).sort_values("item")
    rows = np.load(tmp_path / "a.npy")
    assert items["item"].to_list() == list(range(len(rows)))
    np.testing.assert_array_equal(np.stack(items["vector"]), rows.astype(np.float32))


def test_a_skewed_log_has_a_hot_user_and_a_hot_item(load, tmp_path):
    spark = load("spark")
    shares = {}
    for skewed in (False, True):
        folder = tmp_path / str(skewed)
        spark.make_skewed(folder, 20_000, skewed=skewed)
        log = pl.read_parquet(folder / "log-*.parquet")
        assert not log.is_duplicated().any()
        shares[skewed] = [(log[name] == 0).mean() for name in ("user", "item")]
    assert shares[False] == [0, 0]
    assert shares[True] == pytest.approx([0.05, 0.10], abs=0.01)


def test_engines_are_measured_on_the_same_log(load, monkeypatch, tmp_path):
    spark = load("spark")
    calls = []

    def run(_script: str, _part: str, *part: str, threads: int) -> dict[str, float]:
        calls.append((*part[:2], threads))
        return {"seconds": 1.0, "cpu_seconds": 3.0}

    monkeypatch.setattr(spark, "run_in_process", run)
    out = tmp_path / "table.csv"
    spark.main(["sizes", str(tmp_path), "--sizes", "2e3", "--out", str(out)])
    folder = str(tmp_path / "2000")
    assert calls == [("spark", folder, 2), ("core", folder, 2)]
    table = pl.read_csv(out)
    assert table["engine"].to_list() == ["spark", "core"]
    assert table["cpu_seconds_per_million"].to_list() == pytest.approx([1500.0, 1500.0])


def test_shuffles_and_stages_are_read_from_the_event_log(load, tmp_path):
    task = {
        "Event": "SparkListenerTaskEnd",
        "Task Metrics": {"Shuffle Write Metrics": {"Shuffle Bytes Written": 10}},
    }
    failed = {"Event": "SparkListenerTaskEnd", "Task Metrics": None}
    stage = {"Event": "SparkListenerStageCompleted"}
    lines = [json.dumps(event, separators=(",", ":")) for event in (task, failed, stage, task)]
    (tmp_path / "events_1_local-1").write_text("\n".join(lines))
    (tmp_path / "other").write_text("\n".join(lines))
    assert load("spark").read_events(tmp_path) == (20, 1)


def test_descendants_are_the_processes_below_one(load):
    spark = load("spark")
    me = spark.list_processes()[os.getpid()]
    assert me.parent == os.getppid()
    assert me.rss > 0
    processes = {
        pid: spark.Process(parent, str(pid), 0, 0.0)
        for pid, parent in {2: 1, 3: 2, 4: 3, 5: 1}.items()
    }
    assert [process.name for process in spark.find_descendants(processes, 2)] == ["3", "4"]


# training.py and toolkit.py


def test_shares_of_an_epoch_are_medians_without_the_first(load):
    # Time, seconds of work and of saving at the end of each epoch.
    ends = [(100.0, 50.0, 9.0), (110.0, 58.0, 10.0), (120.0, 64.0, 12.0), (130.0, 73.0, 12.5)]
    saving, loop = load("training").compute_shares(ends)
    assert saving == pytest.approx(0.1)
    assert loop == pytest.approx(0.1)


def test_work_and_saving_are_not_counted_twice(load, tmp_path):
    out = tmp_path / "table.csv"
    arguments = ["planted", "--models", "freedom", "--threads", "1", "--epochs", "3"]
    load("training").main([*arguments, "--out", str(out)])
    table = pl.read_csv(out)
    assert table.select("model", "threads").rows() == [("freedom", 1)]
    for row in table.rows(named=True):
        assert row["saving"] >= 0
        assert row["loop"] >= 0
        assert row["saving"] + row["loop"] <= 1
        seconds = row["train_seconds"] + row["valid_seconds"]
        floor = row["train_floor"] + row["valid_floor"]
        assert row["times_floor"] == pytest.approx(seconds / floor)


def test_a_part_of_a_generated_size_is_measured_in_turns(load, tmp_path, monkeypatch):
    training = load("training")
    small = load("sizes").Size(60, 40, 600, {"text": 4}, models=("vbpr", "lightgcn"))
    monkeypatch.setitem(training.SIZES, "million", small)
    out = tmp_path / "table.csv"
    training.main(
        [
            "--size", "million", "--threads", "1", "--epochs", "1", "--batch-size", "64",
            "--steps", "2", "--users", "30", "--jobs", "2", "--out", str(out),
        ]
    )  # fmt: skip
    table = pl.read_csv(out).sort("model")
    assert table.select("size", "model").rows() == [("million", "lightgcn"), ("million", "vbpr")]
    assert table.select((pl.col("train_seconds", "valid_seconds", "peak_mb") > 0).all()).row(0) == (
        (True,) * 3
    )


def test_a_part_of_an_epoch_is_scaled_to_the_whole(load, monkeypatch):
    """The seconds that do not grow with the steps are kept apart."""
    training, data = load("training"), planted(200, 100)
    for owner, name in (
        (training.TripleSampler, "epoch"),
        (training.FullRanking, "evaluate"),
        (training.RecommenderModule, "on_train_epoch_start"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # undone at the end
    monkeypatch.setattr(training.RecommenderModule, "on_train_epoch_start", lambda self: None)
    parts = training.cut_epochs(3, 20)
    module = object.__new__(training.RecommenderModule)
    module.on_train_epoch_start()
    whole = -(-len(data.train) // 100)
    assert len(TripleSampler(data, 100, 0).epoch(0)) == 3
    assert parts.steps == [3 / whole]
    assert len(parts.fixed) == 1
    ranking = training.FullRanking(data, "valid")
    n_users = len(ranking.users)
    found = ranking.evaluate(BPRMF(data).make_scorer())
    assert {len(values) for values in found.values()} == {20}
    assert parts.users == [20 / n_users]
    assert len(parts.ranking) == 1
    assert len(ranking.users) == n_users


def test_sizes_need_data_or_a_known_name(load, capsys):
    for arguments in ([], ["--size", "tiktok,baby"], ["DATA", "--size", "huge"]):
        with pytest.raises(SystemExit):
            load("training").main(arguments)
        assert "name baby, million, or tiktok together with DATA" in capsys.readouterr().err


def test_a_model_that_fails_does_not_end_the_table(load, monkeypatch, tmp_path, capsys):
    training = load("training")

    def run(_script: str, *words: str, threads: int) -> dict[str, float]:
        if "vbpr" in words:
            raise SystemExit("out of luck")
        figures = {"train_seconds": 1.5, "valid_seconds": 0.5, "peak_mb": 5}
        return figures | {"train_floor": 0.5, "valid_floor": 0.5}

    monkeypatch.setattr(training, "run_in_process", run)
    out = tmp_path / "table.csv"
    arguments = ["DATA", "--models", "vbpr,bprmf", "--threads", "2"]
    training.main([*arguments, "--out", str(out)])
    assert pl.read_csv(out)["model"].to_list() == ["bprmf"]
    assert "out of luck" in capsys.readouterr().err


# floor.py and sizes.py


@pytest.fixture
def step() -> tuple:
    data = planted(200, 100)
    batch = TripleSampler(data, 128, seed=0).epoch(0)[0]
    return data, batch


def test_floor_of_bprmf_is_its_rows_and_adam(load, step):
    data, batch = step
    model = BPRMF(data, BPRMF.Config(width=16))
    counted = load("floor").count_step(model, batch)
    assert counted.bytes == 32 * 16 * (200 + 100) + 6 * 4 * 16 * 128
    assert counted.flops == 0
    ranking = load("floor").count_ranking(model, n_users=50)
    assert ranking.bytes == 4 * 16 * (50 + 100)
    assert ranking.flops == 2 * 16 * 50 * 100


@pytest.mark.parametrize("n_layers", [1, 3])
def test_floor_of_lightgcn_adds_the_products_of_its_graph(load, step, n_layers):
    data, batch = step
    model = LightGCN(data, LightGCN.Config(width=16, n_layers=n_layers))
    entries, nodes = 2 * len(data.train), 200 + 100
    product = entries * (4 + 4 + 4 * 16) + nodes * 4 * 16
    counted = load("floor").count_step(model, batch)
    rows = 12 * 4 * 16 * 128
    assert counted.bytes == 32 * 16 * nodes + rows + 2 * n_layers * product
    assert counted.flops == 2 * n_layers * 2 * 16 * entries
    ranking = load("floor").count_ranking(model, n_users=50)
    assert ranking.bytes == n_layers * product + 4 * 16 * (50 + 100)


@pytest.mark.parametrize("name", sorted(model_resolver.options))
def test_floor_of_every_model_holds_its_parameters_and_batch(load, step, name):
    data, batch = step
    model = model_resolver.lookup(name)(data)
    counted = load("floor").count_step(model, batch)
    size = sum(parameter.numel() for parameter in model.parameters())
    assert counted.bytes >= 32 * size + 4 * 4 * 64 * 128
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_floor_is_the_slower_of_moving_and_computing(load):
    floor = load("floor")
    rates = floor.Rates(bandwidth=10, flops=100)
    assert floor.Work(30, 100).seconds(rates) == 3
    assert (floor.Work(30, 100) * 2 + floor.Work(0, 600)).seconds(rates) == 8


def test_rates_are_those_of_the_device(load, monkeypatch):
    floor = load("floor")
    monkeypatch.setitem(floor._COPIED_BYTES, "cpu", 1 << 20)
    monkeypatch.setitem(floor._MATRIX_ROWS, "cpu", 64)

    def time_work(work, device, repeats):
        work()
        return [0.7, 0.5, *[0.6] * (repeats - 2)]

    monkeypatch.setattr(floor, "time_work", time_work)
    assert floor.measure_rates("cpu") == floor.Rates(2 * (1 << 20) / 0.5, 2 * 64**3 / 0.5)


def test_a_generated_size_is_exact_and_has_long_tails(load):
    sizes = load("sizes")
    size = sizes.Size(2000, 500, 20_000, {"text": 8, "image": 5})
    data, again = (sizes.make_dataset("small", size) for _ in range(2))
    assert data.fingerprint == again.fingerprint
    splits = dict(data.splits())
    assert sum(map(len, splits.values())) == 20_000
    assert (data.n_users, data.n_items) == (2000, 500)
    assert {name: table.width for name, table in data.features.items()} == size.widths
    for part in splits.values():
        assert len(np.unique(part.users)) == 2000, "every user is trained and ranked"
    assert 0.09 < len(splits["test"]) / 20_000 < 0.2
    counts = np.sort(data.popularity())[::-1]
    assert counts[:50].sum() > counts[-250:].sum(), "a tenth of the items, more than half of them"
    degrees = np.bincount(splits["train"].users)
    assert degrees.max() > 5 * np.median(degrees)


def test_generated_sizes_are_those_that_are_named(load):
    sizes = load("sizes").SIZES
    found = {name: (s.n_users, s.n_items, s.n_interactions) for name, s in sizes.items()}
    assert found == {
        "baby": (19_445, 7_050, 160_792),
        "million": (1_000_000, 200_000, 10_000_000),
    }
    assert all(set(size.models) <= set(model_resolver.options) for size in sizes.values())


def test_the_toolkit_is_measured_alike_and_compared_per_epoch(load, monkeypatch, tmp_path):
    training = load("training")
    calls = []

    def run(script: str | Path, *words: str, threads: int) -> dict[str, object]:
        calls.append((Path(script).name, words, threads))
        if Path(script).name == "toolkit.py":
            return {"train_seconds": [9, 2, 4, 3], "valid_seconds": [9, 1, 1, 2], "peak_mb": 7}
        figures = {"train_seconds": 1.5, "valid_seconds": 0.5, "peak_mb": 5}
        return figures | {"train_floor": 0.25, "valid_floor": 0.25}

    monkeypatch.setattr(training, "run_in_process", run)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    out = tmp_path / "table.csv"
    training.main(
        [
            "DATA", "--toolkit", "CHECKOUT", "--models", "bprmf", "--threads", "2",
            "--epochs", "4", "--device", "cuda", "--out", str(out),
        ]
    )  # fmt: skip
    (ours, theirs) = calls
    assert ours[0] == "training.py"
    assert theirs[0] == "toolkit.py"
    assert ours[1][0] == theirs[1][2] == "DATA"
    for _, words, threads in calls:
        assert words[words.index("--epochs") + 1] == "4"
        assert words[words.index("--threads") + 1] == "2"
        assert words[words.index("--device") + 1] == "cuda"
        assert threads == 2
    (row,) = pl.read_csv(out).rows(named=True)
    # Medians without the first epoch: 3 + 1 seconds, against 1.5 + 0.5.
    assert row["toolkit_train_seconds"] == 3
    assert row["toolkit_valid_seconds"] == 1
    assert row["speedup"] == pytest.approx(2.0)
    assert row["times_floor"] == pytest.approx(4.0)


def test_the_toolkit_has_settings_for_models_of_this_library_only(load):
    assert set(load("toolkit").TOOLKIT) <= set(model_resolver.options)


def test_the_toolkit_gets_the_interactions_and_features_of_the_data_set(load, tmp_path):
    toolkit = load("toolkit")
    data = load_dataset("planted")
    settings = toolkit.write_data(data, tmp_path, scale=False)
    folder = tmp_path / data.name
    log = pl.read_csv(folder / settings["inter_file_name"], separator="\t")
    for label, part in enumerate((data.train, data.valid, data.test)):
        rows = log.filter(pl.col("x_label") == label)
        assert set(rows.select("userID", "itemID").rows()) == set(
            zip(part.users.tolist(), part.items.tolist(), strict=True)
        )
        assert len(rows) == len(part.users)
    tables = [features.values for features in data.features.values()]
    np.testing.assert_array_equal(np.load(folder / settings["text_feature_file"]), tables[0])
    np.testing.assert_array_equal(np.load(folder / settings["vision_feature_file"]), tables[-1])


def test_seconds_and_metrics_are_parsed_from_the_toolkits_log(load):
    log = """
epoch 0 training [time: 1.50s, train loss: 3.0]
epoch 0 evaluating [time: 0.25s, valid_score: 0.1]
epoch 1 training [time: 1.00s, train loss: 2.0]
epoch 1 evaluating [time: 0.50s, valid_score: 0.2]
best eval result in epoch 1
best valid: recall@10: 0.1000    recall@20: 0.2000    ndcg@10: 0.0500    ndcg@20: 0.0700
best test: recall@10: 0.1100    recall@20: 0.2100    ndcg@10: 0.0600    ndcg@20: 0.0800
"""
    found = load("toolkit").parse_log(log)
    assert found["train_seconds"] == [1.5, 1.0]
    assert found["valid_seconds"] == [0.25, 0.5]
    assert found["best_epoch"] == 2  # epochs completed
    assert found["valid"]["recall@20"] == 0.2
    assert found["test"]["ndcg@10"] == 0.06


# spmm.py


def test_every_form_of_the_product_is_measured_beside_its_floor(load, capsys, monkeypatch):
    spmm = load("spmm")
    monkeypatch.setitem(spmm.SIZES, "tiktok", (30, 20, 100))
    monkeypatch.setattr(spmm, "measure_rates", lambda _: load("floor").Rates(1e9, 1e9))
    spmm.main(["--width", "4"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["form"] for row in rows] == ["entries", "entries 64", "rows", "rows 64"]
    graph = spmm.make_graph(30, 20, 100)
    n_bytes = len(graph.columns) * (4 + 4 + 16) + 50 * 16
    assert spmm.count_bytes(graph, 4) == n_bytes
    assert rows[0]["floor_ms"] == pytest.approx(1000 * n_bytes / 1e9, abs=1e-3)
    assert all(row["ms"] > 0 for row in rows)


@pytest.mark.parametrize(("name", "words"), [("training", ["--size", "million"]), ("spmm", [])])
def test_an_absent_device_is_one_line(name, words, load, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="2"):
        load(name).main([*words, "--device", "cuda"])
    assert capsys.readouterr().err.endswith("--device: torch finds no CUDA device here\n")
