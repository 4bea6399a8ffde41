"""A comparison's folder: what is damaged in it is named."""

from __future__ import annotations

import json

import pytest

from sgurinit.errors import InputError
from sgurinit.experiments.folder import ComparisonFolder
from sgurinit.experiments.run import METRIC_NAMES, read_trial

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
