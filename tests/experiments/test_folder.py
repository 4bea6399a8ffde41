"""A comparison's folder: what is damaged in it is named."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from sgurinit.errors import InputError
from sgurinit.experiments.folder import ComparisonFolder
from sgurinit.experiments.plan import comparison_settings
from sgurinit.experiments.run import METRIC_NAMES, read_trial
from sgurinit.experiments.semantic_gap import gaps_table
from sgurinit.experiments.summary import summarize_runs
from sgurinit.experiments.tables import curves_table, results_table

ENTRY = {"model": "bprmf", "arm": "random", "test": {"recall@20": {"mean": 0.1}}}
ENTRY |= {"groups": {}, "epochs": [3], "seconds": [0.5]}
SETTINGS = {
    "models": {"bprmf": {}},
    "arms": {"random": {"kind": "random"}},
    "seeds": 1,
    "train": {},
    "mask_valid": True,
}
SUMMARY = {"settings": SETTINGS, "results": [ENTRY]}


def write(folder, summary):
    (folder / "summary.json").write_text(json.dumps(summary))


def test_a_whole_summary_is_read(tmp_path):
    write(tmp_path, SUMMARY)
    found = ComparisonFolder.read(tmp_path)
    assert found.seconds == 0.5
    assert [entry["model"] for entry in found.entries] == ["bprmf"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"results": None}, "results is damaged"),
        ({"results": []}, "results is damaged"),
        ({"results": {}}, "results is damaged"),
        ({"results": [3]}, r"results\.0 is damaged"),
        *(
            ({"results": [{**ENTRY, key: "x"}]}, rf"results\.0\.{key}.* is damaged")
            for key in ("test", "groups", "epochs", "seconds")
        ),
        *(
            ({"results": [{k: v for k, v in ENTRY.items() if k != key}]}, rf"results\.0\.{key} is")
            for key in ("model", "arm", "test", "epochs", "seconds")
        ),
        ({"results": [{**ENTRY, "test": {"recall@2": {}}}]}, r"results\.0\.test is damaged"),
        ({"results": [{**ENTRY, "seconds": [None]}]}, r"results\.0\.seconds\.0 is damaged"),
        ({"settings": []}, "settings are"),
        ({"settings": {"seeds": "x"}}, "settings"),
    ],
)
def test_a_damaged_summary_is_refused_by_field(change, field, tmp_path):
    write(tmp_path, SUMMARY | change)
    with pytest.raises(InputError, match=rf"summary\.json: {field}") as error:
        ComparisonFolder.read(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"a": 1e999}']
)
def test_what_is_no_json_is_refused(content, tmp_path):
    (tmp_path / "summary.json").write_bytes(content)
    with pytest.raises(InputError, match=r"summary\.json: "):
        ComparisonFolder.read(tmp_path)


def test_damaged_tables_are_refused(tmp_path):
    write(tmp_path, SUMMARY)
    found = ComparisonFolder.read(tmp_path)
    for content in (b"", b"\x00\xff", b"model,arm\n", b'"a'):
        for name in ("results.csv", "curves.csv"):
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"results\.csv"):
            found.headline_validation("bprmf")
        with pytest.raises(InputError, match=r"curves\.csv"):
            found.headline_curves("bprmf")


def write_table(folder, name, **columns):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    pl.DataFrame(columns).write_csv(path)


def test_names_that_look_like_numbers_are_text(tmp_path):
    write(tmp_path, SUMMARY)
    found = ComparisonFolder.read(tmp_path)
    scores = {name: [0.5, 0.5] for name in METRIC_NAMES}
    key = {"model": ["007"] * 2, "arm": ["01", "1e3"]}
    write_table(tmp_path, "curves.csv", **key, seed=[0, 0], epoch=[1, 1], train_loss=1.0, **scores)
    assert found.headline_curves("007")["arm"].to_list() == ["01", "1e3"]
    assert found.curves()["model"].to_list() == ["007", "007"]
    names = {"arm": ["1", "2"], "user": ["01", "02"], "kind": ["own", "own"], "rank": [1, 2]}
    write_table(tmp_path, "starts/nearest.csv", **names, item=["1", "2"], title=["1984", "1.0"])
    assert found.start_table("nearest")["title"].to_list() == ["1984", "1.0"]


@pytest.mark.parametrize("damage", ["x", "inf", "NaN", "1e999"])
def test_tables_without_finite_numbers_are_refused(damage, tmp_path):
    write(tmp_path, SUMMARY)
    found = ComparisonFolder.read(tmp_path)
    texts = {
        "arm": ["random"] * 2,
        "measure": ["a"] * 2,
        "model": ["bprmf"] * 2,
        "stage": ["a"] * 2,
    }
    write_table(tmp_path, "gaps.csv", **texts, value=["0.5", damage])
    write_table(tmp_path, "starts/gap.csv", **texts, value=["0.5", damage])
    for read in (found.gaps, lambda: found.start_table("gap")):
        with pytest.raises(InputError, match=r"(gaps|gap)\.csv: .*run the command") as error:
            read()
        assert "\n" not in str(error.value)
    (tmp_path / "gaps.csv").write_text("a" * 10_000)
    with pytest.raises(InputError, match=r"gaps\.csv: ") as error:
        found.gaps()
    assert len(str(error.value)) < 600


RESULT = {
    "best_epoch": 1,
    "epochs": 1,
    "seconds": 0.5,
    "valid": dict.fromkeys(METRIC_NAMES, 0.1),
}


@pytest.mark.parametrize(
    ("changes", "scores", "message"),
    [
        ({"seconds": "x"}, "0.1", r"result\.json, seconds: input should be a valid number"),
        ({"epochs": -1}, "0.1", r"result\.json, epochs: .* greater than or equal to 0"),
        ({"valid": {"recall@20": 0.1}}, "0.1", r"result\.json: a metric is missing; remove"),
        ({"valid": None}, "0.1", r"result\.json, valid: .*remove the file to run it again"),
        ({"test": {"recall@20": None}}, "0.1", r"result\.json, test\.recall@20: "),
        ({}, "x", r"epochs\.csv: recall@20 holds something else than finite numbers"),
        ({}, "0.1,", r"epochs\.csv"),
        ({}, '""', r"epochs\.csv"),
    ],
)
def test_the_damaged_result_of_a_run_is_one_line(tmp_path, changes, scores, message):
    (tmp_path / "result.json").write_text(json.dumps({**RESULT, **changes}))
    (tmp_path / "epochs.csv").write_text(f"recall@20\n0.05\n{scores}\n")
    with pytest.raises(InputError, match=message) as error:
        read_trial(tmp_path, "recall@20")
    assert "\n" not in str(error.value)


@pytest.fixture
def runs(tmp_path):
    """Two finished runs of three users, as far as the tables read them."""
    found = list(comparison_settings(["bprmf"], ["random", "local"], 1).runs())
    scores = dict.fromkeys(METRIC_NAMES, np.array([0.0, 0.5, 1.0]))
    epochs = {"epoch": [0, 1], "train_loss": [None, 0.5], "seconds": [0.1, 0.2]}
    epochs |= {name: [0.1, 0.2] for name in METRIC_NAMES}
    gaps = {"start": {"alignment": 0.5, "separability": None}}
    for run in found:
        folder = tmp_path / run.label
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps({**RESULT, "test": RESULT["valid"]}))
        (folder / "gap.json").write_text(json.dumps(gaps))
        pl.DataFrame({"user_id": ["a", "b", "c"], "n_train": [1, 2, 3], **scores}).write_parquet(
            folder / "users.parquet"
        )
        pl.DataFrame({"group": ["cold items"] * 3, **scores}).write_parquet(
            folder / "groups.parquet"
        )
        pl.DataFrame(epochs).write_csv(folder / "epochs.csv")
    return found


def make_all(runs, folder):
    tables = (results_table, curves_table, summarize_runs, gaps_table)
    return [make(runs, folder) for make in tables]


def test_the_tables_of_whole_runs_are_read(runs, tmp_path):
    assert all(len(table) for table in make_all(runs, tmp_path))


def test_integers_that_numpy_does_not_have_are_read(runs, tmp_path):
    before = make_all(runs, tmp_path)
    for run in runs:
        path = tmp_path / run.label / "users.parquet"
        wide = pl.read_parquet(path).with_columns(pl.col("n_train").cast(pl.Int128))
        wide.with_columns(pl.lit(1).cast(pl.Int128).alias("recall@50")).write_parquet(path)
    (results, *_), (expected, *_) = make_all(runs, tmp_path), before
    assert results.shape == expected.shape
    own = results.filter(metric="recall", k=50, split="test", group="all")
    assert set(own["value"]) == {1.0}


def without(name):
    return lambda table: table.drop(name)


def having(name, value):
    return lambda table: table.with_columns(pl.lit(value).alias(name))


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("users.parquet", without("recall@20"), r"users\.parquet: expected a table of a finished"),
        ("users.parquet", having("n_train", "x"), r"users\.parquet: n_train holds something else"),
        ("users.parquet", having("ndcg@10", float("nan")), r"users\.parquet: ndcg@10 holds"),
        ("users.parquet", lambda table: table.head(2), "has the scores of other users than those"),
        ("users.parquet", lambda table: table.head(0), r"users\.parquet: has no row"),
        ("groups.parquet", without("group"), r"groups\.parquet: expected a table"),
        ("groups.parquet", lambda table: table.head(1), "has the scores of other users"),
        ("epochs.csv", having("recall@20", "x"), r"epochs\.csv: recall@20 holds something else"),
        ("epochs.csv", having("train_loss", "x"), r"epochs\.csv: train_loss holds something else"),
        ("epochs.csv", without("seconds"), r"epochs\.csv: expected a table of a finished run"),
    ],
)
def test_a_damaged_table_of_a_run_is_one_line(file, change, message, runs, tmp_path):
    path = tmp_path / runs[1].label / file
    table = pl.read_csv(path) if path.suffix == ".csv" else pl.read_parquet(path)
    table = change(table)
    _ = table.write_csv(path) if path.suffix == ".csv" else table.write_parquet(path)
    with pytest.raises(InputError, match=message) as error:
        make_all(runs, tmp_path)
    assert "remove result.json" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["3", '{"start": 1}', '{"start": {"alignment": "x"}}', "{"])
def test_damaged_gaps_of_a_run_are_one_line(content, runs, tmp_path):
    (tmp_path / runs[0].label / "gap.json").write_text(content)
    with pytest.raises(InputError, match=r"gap\.json: "):
        gaps_table(runs, tmp_path)


@pytest.mark.parametrize("name", ["users.parquet", "groups.parquet", "epochs.csv"])
def test_a_file_that_is_no_table_is_one_line(name, runs, tmp_path):
    for content in (b"", b"\x00\xff", b"PAR1" * 4):
        (tmp_path / runs[0].label / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            summarize_runs(runs, tmp_path)
