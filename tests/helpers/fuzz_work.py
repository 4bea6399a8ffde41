"""Unfinished and finished work for the fuzzer: streams, encodings, comparisons and studies."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import polars as pl
import yaml
from fuzz_changes import Kind, change_file, odd_json
from fuzz_readers import ITEMS, LOG, VECTORS, prepare_folder
from typing_extensions import override

from sgurinit import SGURInit, UserStart, compare
from sgurinit.core.stream import buckets, edges
from sgurinit.data import load_dataset, planted
from sgurinit.data.encode import blocks, encode
from sgurinit.data.item_vectors import read_item_features
from sgurinit.errors import InputError
from sgurinit.experiments import Study, load_comparison
from sgurinit.experiments.events import RunEvent
from sgurinit.report.page import write_report
from sgurinit.training import TrainSettings

# Several parts, of small files.
buckets._BUCKET_SIZE, edges._CHUNK_ROWS, blocks.BLOCK_SIZE = 20, 30, 2

STUDY = {
    "data": {"path": "planted", "cold_items": 0.1},
    "models": {"bprmf": {"reg": 0.01}, "vbpr": None},
    "arms": {
        "random": None,
        "mine": {"kind": "sgurinit", "n_clusters": 2, "sweep": {"local_weight": [0, 0.5, 1]}},
    },
    "seeds": 2,
    "train": {"max_epochs": 3},
    "search": {"trials": 2, "spaces": {"bprmf": {"reg": [0.01, 0.1]}}},
}
YAML_TOKENS = [
    "&a", "*a", "*b", "!!python/object/apply:os.system [ls]", "!!binary x", "? ", "- ", ": ", "#",
    "|\n", ">\n", "---\n", "...\n", "<<: *a", "{" * 3000, "[" * 3000, "1e999", ".nan", ".inf", "0x",
    "seeds: 1000000000\n", "2001-01-01", "~", "on", "1_000", "1:30", "\t", "%YAML 9.9\n", "'", '"',
    "a: &b [*b]\n", "x: &x {<<: *x}\n", "9" * 5000, "sweep: {n_clusters: [1, 2]}\n",
]  # fmt: skip


def stop_after(number: int) -> Callable[..., None]:
    """Make a callback that stops the work at a call."""
    calls = 0

    def stop(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            raise KeyboardInterrupt

    return stop


class StreamWork(Kind):
    """Streams that were stopped at several places, then resumed, and a finished one."""

    stops = (2, 5, 9, 12, 15, 18, 21)

    @override
    def write(self, folder: Path) -> None:
        LOG.select("user", "item").write_parquet(folder / "log.parquet")
        table = pl.DataFrame({"item": ITEMS["item"], "text": VECTORS})
        table.write_parquet(folder / "items.parquet")
        for at in self.stops:
            with suppress(KeyboardInterrupt):
                self.stream(folder, at, stop_after(at))
        self.stream(folder, 0)
        users = folder / "out0" / "users"
        self.expected = {name: np.load(users / f"{name}.npy") for name in ("text", "joint")}

    def stream(
        self, folder: Path, at: int, progress: Callable[..., None] = lambda *_: None
    ) -> None:
        features, ids = read_item_features({"text": folder / "items.parquet"})
        SGURInit(n_clusters=2, joint_dim=2, random_state=0, n_jobs=1).stream(
            folder / "log.parquet",
            features,
            folder / f"out{at}",
            item_ids=ids,
            layout=("npy", "parquet")[at % 2],
            progress=progress,
        )

    @override
    def read(self, folder: Path, changed: str, rng: random.Random, *, forged: bool) -> None:
        if changed.startswith("out0"):
            with suppress(InputError):  # it says what else reads such a folder
                UserStart.load(folder / "out0")
        stopped = [at for at in self.stops if changed.startswith(f".out{at}.")]
        at = next(iter(stopped), rng.choice(self.stops))
        if (folder / f"out{at}").exists():  # stopped after the end
            return
        self.stream(folder, at)
        users = folder / f"out{at}" / "users"
        for name, rows in self.expected.items() if stopped else ():
            found = (
                pl.read_parquet(users / "*.parquet")[name].to_numpy()
                if at % 2
                else np.load(users / f"{name}.npy")
            )
            np.testing.assert_array_equal(found, rows)


class Length:
    """Encodes a text as its length, and is stopped at a block."""

    name = "length"

    def __init__(self, stop_at: int = 0) -> None:
        self.stop = stop_after(stop_at)

    def __call__(self, values: Sequence[str]) -> tuple[np.ndarray, dict[int, str]]:
        self.stop()
        return np.array([[len(value), 1.0] for value in values]), {}


class EncodeWork(Kind):
    """An encoding that was stopped, then resumed."""

    pattern = ".length.partial/*"

    @override
    def write(self, folder: Path) -> None:
        prepare_folder(folder / "data")
        with suppress(KeyboardInterrupt):
            self.encode(folder, Length(3))

    def encode(self, folder: Path, encoder: Length) -> None:
        encode(folder / "data", "length", ["a" * n for n in range(8)] + [None], encoder)

    @override
    def read(self, folder: Path, changed: str, rng: random.Random, *, forged: bool) -> None:
        self.encode(folder, Length())
        found = load_dataset(folder / "data").features["length"]
        np.testing.assert_array_equal(found.rows(), [[n, 1] for n in range(8)])


class CompareWork(Kind):
    """A comparison that was stopped in its third run, then resumed."""

    stop_at = 14

    @override
    def write(self, folder: Path) -> None:
        self.data = planted(60, 40)
        with suppress(KeyboardInterrupt):
            self.run(folder, stop_after(self.stop_at))

    def run(self, folder: Path, on_event: Callable[[RunEvent], None] = lambda _: None) -> None:
        settings = TrainSettings(max_epochs=2)
        arms = ["random", "sgurinit"]
        compare(self.data, ["bprmf"], arms, 2, out=folder / "out", settings=settings,
                on_event=on_event)  # fmt: skip

    @override
    def read(self, folder: Path, changed: str, rng: random.Random, *, forged: bool) -> None:
        self.run(folder)


class Compared(CompareWork):
    """A finished comparison: run again, read, and reported."""

    stop_at = 0

    @override
    def read(self, folder: Path, changed: str, rng: random.Random, *, forged: bool) -> None:
        if rng.random() < 0.5:
            self.run(folder)
        load_comparison(folder / "out")
        write_report(folder / "out")


class StudyWork(Kind):
    """A study that was stopped in its search, then resumed."""

    @override
    def write(self, folder: Path) -> None:
        study = {
            "data": {"path": "planted"},
            "models": {"bprmf": None},
            "arms": {"random": None},
            "seeds": 1,
            "train": {"max_epochs": 1},
            "search": {
                "trials": 3, "finalists": 2, "halving": {"epochs": [1], "keep": 0.5},
                "spaces": {"bprmf": {"reg": [0.001, 0.01, 0.1]}},
            },
        }  # fmt: skip
        (folder / "s.yaml").write_text(yaml.safe_dump(study))
        with suppress(KeyboardInterrupt):
            self.run(folder, stop_after(12))

    def run(self, folder: Path, on_event: Callable[[RunEvent], None] = lambda _: None) -> None:
        Study.read(folder / "s.yaml").run(folder / "out", on_event=on_event)

    @override
    def read(self, folder: Path, changed: str, rng: random.Random, *, forged: bool) -> None:
        self.run(folder)


class Studies(Kind):
    """Files of studies."""

    @override
    def write(self, folder: Path) -> None:
        (folder / "s.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))

    @override
    def change(self, folder: Path, path: Path, rng: random.Random) -> bool:
        place, how = folder / path, rng.random()
        text = place.read_text()
        if how < 0.4:
            changed = odd_json(json.loads(json.dumps(STUDY)), rng)
            place.write_text(yaml.safe_dump(changed, sort_keys=False))
        elif how < 0.8:
            at = rng.randrange(len(text) + 1)
            end = at + rng.choice([0, 0, 1, 8])
            place.write_text(text[:at] + rng.choice(YAML_TOKENS) + text[end:])
        elif how < 0.85:
            levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)]
            place.write_text("a0: &a0 [1]\n" + "".join(levels) + text)
        elif how < 0.9:
            fields = "".join(f"      f{n}: [{'1, ' * 99}1]\n" for n in range(20))
            place.write_text(text.replace("      local_weight:", fields + "      local_weight:"))
        else:
            return change_file(place, rng)
        return False

    @override
    def read(self, folder: Path, changed: str, rng: random.Random, *, forged: bool) -> None:
        study = Study.read(folder / "s.yaml")
        study.plan.count()
        study.plan.model_dump_json()
        assert len(str(study.folder)) > 0


KINDS: dict[str, type[Kind]] = {
    "stream-work": StreamWork,
    "encode-work": EncodeWork,
    "compare-work": CompareWork,
    "study-work": StudyWork,
    "compared": Compared,
    "studies": Studies,
}
