"""Comparisons of a model class from outside the library: resuming and other processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn

from sgurinit.data import Dataset, write_native
from sgurinit.errors import InputError
from sgurinit.experiments import (
    RunEvent,
    Study,
    compare,
    comparison_settings,
    load_comparison,
    train_and_test,
)
from sgurinit.experiments.reproduce import format_command
from sgurinit.models import BPRMF, LightGCN, Recommender, model_resolver, register_model
from sgurinit.report.page import write_report
from sgurinit.resolve import resolve_model
from sgurinit.training import TrainSettings


class TwoTower(BPRMF):
    """A model that the library does not know."""


@pytest.fixture(autouse=True)
def registered_as_before() -> Iterator[None]:
    before = dict(model_resolver.lookup_dict)
    yield
    model_resolver.lookup_dict.clear()
    model_resolver.lookup_dict.update(before)


def test_a_class_is_compared_and_resumed_under_its_name(
    tmp_path: Path, small: Dataset, brief: TrainSettings
) -> None:
    models = [TwoTower, "lightgcn"]
    fields = {"twotower": {"width": 8}}
    compare(small, models, ["random"], 1, out=tmp_path, settings=brief, overrides=fields)
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert list(settings["models"]) == ["twotower", "lightgcn"]
    assert settings["models"]["twotower"]["width"] == 8
    events: list[RunEvent] = []
    arms = ["random", "sgurinit"]
    compare(
        small, models, arms, 1,
        out=tmp_path, settings=brief, overrides=fields, on_event=events.append,
    )  # fmt: skip
    assert [event.run for event in events if event.kind == "kept"] == [
        "twotower/random/seed-0",
        "lightgcn/random/seed-0",
    ]
    assert resolve_model("TwoTower") is TwoTower


def test_a_single_run_takes_a_class(small: Dataset) -> None:
    short = TrainSettings(max_epochs=1)
    assert train_and_test(small, TwoTower, "random", settings=short)["epochs"] == 1


def test_a_study_knows_a_registered_class(
    tmp_path: Path, small: Dataset, brief: TrainSettings
) -> None:
    write_native(small, tmp_path / "small")
    file = tmp_path / "study.yaml"
    train = f"{{max_epochs: {brief.max_epochs}, patience: {brief.patience}}}"
    file.write_text(
        "data: {path: small}\nmodels: {twotower: }\narms: {random: }\nseeds: 1\n"
        f"train: {train}\n"
    )
    with pytest.raises(InputError, match=r"call sgurinit\.models\.register_model"):
        Study.read(file)
    register_model(TwoTower)
    found = Study.read(file).run(tmp_path / "out")
    assert [entry["model"] for entry in found.summary["results"]] == ["twotower"]


def test_a_class_defined_again_replaces_the_first() -> None:
    def define() -> type[Recommender]:
        class Again(BPRMF):
            pass

        return Again

    comparison_settings([define()], ["random"], 1)
    second = define()
    comparison_settings([second], ["random"], 1)
    assert resolve_model("again") is second


def test_classes_that_cannot_be_compared_are_refused() -> None:
    class Half(Recommender):
        pass

    same_name = type("LightGCN", (BPRMF,), {})
    for model, message in (
        (Half, "Half is abstract: it does not implement embed, loss, user_tables"),
        (same_name, "has the name of sgurinit.models.lightgcn.LightGCN, 'lightgcn'; rename"),
        (nn.Linear, "Linear is not a subclass of sgurinit.models.Recommender"),
        (
            "twotowr",
            r"known: .*lightgcn.*; your own model: pass its class, or call sgurinit",
        ),
    ):
        with pytest.raises(InputError, match=message):
            comparison_settings([model], ["random"], 1)
    assert resolve_model("lightgcn") is LightGCN


def test_a_plan_with_a_class_has_no_command() -> None:
    found = format_command(comparison_settings([TwoTower], ["random"], 1), "xwines", "out")
    assert found.startswith("# in Python: twotower (not in sgurinit): pass the class to")
    assert "path: xwines" in found


def test_a_class_that_workers_cannot_import_names_one_job(
    tmp_path: Path, small: Dataset, brief: TrainSettings
) -> None:
    class Local(BPRMF):
        pass

    with pytest.raises(InputError, match=r"cannot import the model .*Local; .* or use jobs=1"):
        compare(small, [Local], ["random"], 1, out=tmp_path, settings=brief, jobs=2)


SCRIPT = """
import sys
from sgurinit import compare
from sgurinit.data import planted
from sgurinit.errors import InputError
from sgurinit.models import BPRMF
from sgurinit.training import TrainSettings

class Tower(BPRMF):
    pass

if __name__ == "__main__":
    try:
        compare(
            planted(60, 40, n_topics=4), [Tower], ["random"], int(sys.argv[2]),
            out=sys.argv[1], settings=TrainSettings(max_epochs=1), jobs=int(sys.argv[3]),
            on_event=lambda event: event.kind == "kept" and print(event.kind, event.run),
        )
    except InputError as error:
        sys.exit(f"refused: {error}")
"""


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.slow
def test_a_script_without_a_guard_names_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from sgurinit import compare\n"
        "from sgurinit.data import planted\n"
        'compare(planted(60, 40), ["bprmf"], ["random"], 1, out="out", jobs=2)\n'
    )
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "a worker process died" in last
    assert '`if __name__ == "__main__":`' in last


@pytest.mark.slow
def test_a_class_of_a_script_reaches_workers_and_its_folder_is_read_without_it(
    tmp_path: Path,
) -> None:
    script, out = tmp_path / "script.py", str(tmp_path / "out")
    script.write_text(SCRIPT)
    first = run_python(str(script), out, "1", "2")
    assert first.returncode == 0, first.stderr
    again = run_python(str(script), out, "2", "1")
    assert again.returncode == 0, again.stderr
    assert again.stdout.split() == ["kept", "tower/random/seed-0"]
    assert set(load_comparison(out).results["model"]) == {"tower"}
    write_report(out)


@pytest.mark.slow
def test_a_class_without_a_file_is_refused_by_the_workers(tmp_path: Path) -> None:
    found = run_python("-c", SCRIPT, str(tmp_path / "out"), "1", "2")
    assert "refused: a worker process cannot import the model __main__:Tower" in found.stderr
    assert "jobs=1" in found.stderr
    assert "Traceback" not in found.stderr
