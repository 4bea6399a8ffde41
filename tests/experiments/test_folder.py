"""A comparison's folder: what is damaged in it is named."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sgurinit.errors import InputError
from sgurinit.experiments import Study, load_comparison
from sgurinit.experiments.folder import ComparisonFolder
from sgurinit.experiments.plan import comparison_settings
from sgurinit.experiments.provenance import count_runs_by_machine
from sgurinit.experiments.run import METRIC_NAMES, read_trial
from sgurinit.experiments.semantic_gap import gaps_table
from sgurinit.experiments.summary import summarize_runs
from sgurinit.experiments.tables import curves_table, results_table
from sgurinit.report.page import write_report
from sgurinit.report.page.settings_section import make_settings_section
from sgurinit.report.terminal.scores import comparison_table

STUDY = """
data: {path: planted}
models: {bprmf: null}
arms: {random: null, sgurinit: null, permuted: null}
seeds: 2
train: {max_epochs: 1}
search: {trials: 2, finalists: 1, spaces: {bprmf: {reg: [0.001, 0.01]}}}
"""


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """The folder of a finished study."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "s.yaml").write_text(STUDY)
    return Study.read(folder / "s.yaml").run().folder


@pytest.fixture(scope="session")
def summary(whole):
    return json.loads((whole / "summary.json").read_text())


def write(folder, summary):
    (folder / "summary.json").write_text(json.dumps(summary))


def replaced(value, path, new):
    """A copy in which the part at the path is `new`; without it if `new` is `LEFT_OUT`."""
    key, *rest = path
    changed = value.copy()
    if rest:
        changed[key] = replaced(value[key], rest, new)
    elif new is LEFT_OUT:
        del changed[key]
    else:
        changed[key] = new
    return changed


LEFT_OUT = object()
EARLIER = {"mean": 0.1, "sd": None, "per_seed": [0.1, 0.1], "p_value": 0.01}
ODD = (None, True, -1, 1.5, 10**30, "x", "\ud800", "2", [], {}, [1], {"x": 1}, LEFT_OUT)


def test_a_whole_summary_is_read(whole, summary):
    found = ComparisonFolder.read(whole)
    assert found.seconds == sum(sum(entry["seconds"]) for entry in summary["results"])
    assert [entry["arm"] for entry in found.entries] == ["random", "sgurinit", "permuted"]
    assert found.settings.model_dump(mode="json") == summary["settings"]


@pytest.mark.parametrize(
    ("path", "new", "reason"),
    [
        ("results", None, "valid array"),
        ("results", [], "at least 1 item"),
        ("results.0", 3, "object"),
        ("results.1.model", "lightgcn", "expected every model and arm of the settings once"),
        ("results.1.test.recall@20", LEFT_OUT, r"no recall@20"),
        ("results.1.test.recall@20.per_seed", [0.5], "expected 2 values"),
        ("results.1.test.recall@20", EARLIER, "it ignores the seeds"),
        ("results.1.test.recall@20.low", LEFT_OUT, "one of them is missing"),
        ("results.1.test.recall@20.high", LEFT_OUT, "one of them is missing"),
        ("results.1.groups", {}, "no users with"),
        ("results.1.against.permuted.ndcg@20", LEFT_OUT, r"no ndcg@20"),
        ("results.1.seconds", [None, 1], r"valid number"),
        ("results.1.epochs", [1], "expected 2 values"),
        ("untrained.0.test.mrr@5", LEFT_OUT, "no mrr@5"),
        ("chosen", None, "it is missing"),
        ("chosen.bprmf.random.config.reg", LEFT_OUT, "no reg"),
        ("data.n_users", "5", "valid integer"),
        ("data.modalities.text.agreement.ratio", "x", "valid number"),
        ("environment.cores", LEFT_OUT, "Field required"),
        ("machines.0.runs", "6", "valid integer"),
        ("environment.git", {"commit": "a"}, "Field required"),
    ],
)
def test_a_damaged_summary_is_refused_by_field(path, new, reason, summary, tmp_path):
    keys = [int(key) if key.isdigit() else key for key in path.split(".")]
    write(tmp_path, replaced(summary, keys, new))
    first = path.split(".")[0]
    message = rf"summary\.json: {first}.* is damaged or from an earlier version \(.*{reason}"
    with pytest.raises(InputError, match=message) as error:
        ComparisonFolder.read(tmp_path)
    assert "\n" not in str(error.value)


def test_runs_of_other_machines_are_counted_apart(whole, summary, tmp_path):
    """Runs are copied from one machine to another; then the tables are written again."""
    assert [machine["runs"] for machine in summary["machines"]] == [6]
    folder = tmp_path / "s"
    shutil.copytree(whole, folder)
    (tmp_path / "s.yaml").write_text(STUDY)
    for path in sorted(folder.glob("runs/bprmf/random/*/environment.json")):
        there = json.loads(path.read_text()) | {
            "cpu": "Other",
            "cores": 64,
            "gpu": "Card",
            "git": None,
        }
        path.write_text(json.dumps(there))
    found = Study.read(tmp_path / "s.yaml").run(folder)
    here, other = found.summary["machines"]
    assert here == summary["machines"][0] | {"runs": 4}
    assert other == {"cpu": "Other", "cores": 64, "gpu": "Card", "commit": None, "runs": 2}
    page = write_report(folder).read_text()
    assert "machine of 2 runs" in page
    assert "Other, 64 cores, Card<" in page


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file"), ("[]", "object"), ('{"cpu": "a"}', "versions: Field required")],
)
def test_a_run_without_its_machine_is_refused_in_one_line(content, reason, tmp_path):
    if content is not None:
        (tmp_path / "environment.json").write_text(content)
    with pytest.raises(InputError, match=rf"environment\.json: .*{reason}.*result\.json") as error:
        count_runs_by_machine([tmp_path])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("field", "new"), [("seeds", "x"), ("seeds", 0), ("arms", [])])
def test_damaged_settings_are_refused_by_field(field, new, summary, tmp_path):
    write(tmp_path, replaced(summary, ["settings", field], new))
    with pytest.raises(InputError, match=rf"summary\.json: settings.*{field}"):
        ComparisonFolder.read(tmp_path)


def parts_of(value, path=()):
    """The path of every part, with one metric and one entry of a kind."""
    if isinstance(value, dict):
        keys = [key for key in value if "@" not in key or key == "ndcg@20"]
        children = [(key, value[key]) for key in keys]
    else:
        children = list(enumerate(value))[-1:] if isinstance(value, list) else []
    for key, part in children:
        yield (*path, key)
        yield from parts_of(part, (*path, key))


@pytest.mark.slow
def test_a_report_of_any_changed_summary_is_written_or_refused_in_one_line(
    whole, summary, tmp_path
):
    folder = Path(
        shutil.copytree(whole, tmp_path / "out", ignore=lambda *_: {"starts", "gaps.csv"})
    )
    cases = list(itertools.product(parts_of(summary), ODD))
    assert len(cases) > 2000
    written, refused = 0, []
    for at in np.random.default_rng(0).choice(len(cases), 100, replace=False):
        path, new = cases[at]
        write(folder, replaced(summary, path, new))
        try:
            found = load_comparison(folder)
            make_settings_section(ComparisonFolder.read(folder), {})
            comparison_table(found.summary)
            write_report(folder)
            written += 1
        except InputError as error:
            refused.append(str(error))
        except Exception as error:
            raise AssertionError(f"{path}: {new!r}") from error
    assert len(refused) > written > 0
    assert not [message for message in refused if "\n" in message]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"a": 1e999}']
)
def test_what_is_no_json_is_refused(content, tmp_path):
    (tmp_path / "summary.json").write_bytes(content)
    with pytest.raises(InputError, match=r"summary\.json: "):
        ComparisonFolder.read(tmp_path)


def test_damaged_tables_are_refused(summary, tmp_path):
    write(tmp_path, summary)
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


def test_names_that_look_like_numbers_are_text(summary, tmp_path):
    write(tmp_path, summary)
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
def test_tables_without_finite_numbers_are_refused(damage, summary, tmp_path):
    write(tmp_path, summary)
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


@pytest.mark.parametrize("kind", [pl.Int128, pl.Decimal(20, 2)])
def test_numbers_that_numpy_does_not_have_are_read(kind, runs, tmp_path):
    before = make_all(runs, tmp_path)
    for run in runs:
        path = tmp_path / run.label / "users.parquet"
        wide = pl.read_parquet(path).with_columns(pl.col("n_train").cast(kind))
        wide.with_columns(pl.lit(1).cast(kind).alias("recall@50")).write_parquet(path)
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
