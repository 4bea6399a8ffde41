"""Claims on folders and files: one process at a time, and nothing outlives a killed one."""

from __future__ import annotations

import os
import re
import resource
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sgurinit.errors import InputError
from sgurinit.files import (
    claim_unfinished,
    create_array,
    new_folder,
    write_arrays,
    write_json,
    write_table,
    write_tensors,
)
from sgurinit.locks import claim_file, claim_folder, claim_hidden

HOLD = """
import sys
from pathlib import Path
from sgurinit.locks import claim_folder
with claim_folder(Path(sys.argv[1])):
    print(flush=True)
    sys.stdin.read()
"""


def test_the_second_is_told_who_holds_the_folder_and_takes_over_when_it_is_killed(tmp_path: Path):
    words = [sys.executable, "-c", HOLD, tmp_path / "out"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        expected = rf"out: another process is using it: process {holder.pid} on .* since 20.*'-c "
        with pytest.raises(InputError, match=expected), claim_folder(tmp_path / "out"):
            pass
        holder.send_signal(signal.SIGKILL)
    assert list((tmp_path / "out").iterdir())
    with claim_folder(tmp_path / "out"):
        pass
    assert not list((tmp_path / "out").iterdir())


def test_a_hidden_folder_goes_when_it_is_empty(tmp_path: Path):
    with claim_hidden(tmp_path / ".a", tmp_path / "a"):
        message = "a: another process is using it"
        with (
            pytest.raises(InputError, match=message),
            claim_hidden(tmp_path / ".a", tmp_path / "a"),
        ):
            pass
        assert (tmp_path / ".a").is_dir()
    assert not (tmp_path / ".a").exists()
    with claim_hidden(tmp_path / ".a", tmp_path / "a"):
        (tmp_path / ".a" / "kept").touch()
    assert [path.name for path in (tmp_path / ".a").iterdir()] == ["kept"]


def test_writers_of_one_folder_wait_for_each_other(tmp_path: Path):
    order = []

    def write() -> None:
        with claim_file(tmp_path / "b"):
            order.append("second")

    with claim_file(tmp_path / "a"):
        thread = threading.Thread(target=write)
        thread.start()
        thread.join(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_what_a_killed_command_left_is_removed_and_reported(tmp_path: Path, caplog):
    left = tmp_path / ".out.partial" / "out"
    left.mkdir(parents=True)
    (left / "half").touch()
    with new_folder(tmp_path / "out") as folder:
        (folder / "whole").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        "out",
        "out/whole",
    ]
    assert "out: removed what an interrupted command left" in caplog.text


def test_after_a_kill_in_the_clean_up_the_next_call_cleans_up(tmp_path: Path):
    (tmp_path / "out" / "users").mkdir(parents=True)
    (tmp_path / ".out.partial" / "out.work").mkdir(parents=True)
    with pytest.raises(InputError, match="exists already"), new_folder(tmp_path / "out"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    # With the result still in it, it is somebody's unfinished work.
    (tmp_path / ".out.partial" / "out").mkdir(parents=True)
    with pytest.raises(InputError, match="exists already"), claim_unfinished(tmp_path / "out"):
        pass
    assert (tmp_path / ".out.partial" / "out").is_dir()


@pytest.mark.parametrize("name", ["../out", "deep/er/out"])
def test_a_new_folder_of_any_name(name: str, tmp_path: Path, monkeypatch):
    (tmp_path / "here" / "x").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "x")
    with new_folder(Path(name)) as folder:
        (folder / "whole").touch()
    assert (Path(name) / "whole").exists()


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_the_mode_of_files_follows_the_umask(mask: int, tmp_path: Path):
    before = os.umask(mask)
    try:
        write_tensors(tmp_path / "a.safetensors", {"x": np.zeros(2)}, {"a": "b"})
        write_table(tmp_path / "a.parquet", pl.DataFrame({"x": [1]}))
        with new_folder(tmp_path / "new"):
            pass
    finally:
        os.umask(before)
    for path in (tmp_path / "a.safetensors", tmp_path / "a.parquet"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o777 & ~mask


def test_equal_tensors_and_metadata_give_equal_bytes(tmp_path: Path):
    metadata = {name: f'é"\\\n\x01\x7f\u2028{name}' for name in "abcdefgh"}
    tensors = {"x": np.arange(3.0), "y": np.ones((2, 2), dtype=np.float32)}
    for number in range(5):  # the library writes them in a random order
        write_tensors(tmp_path / f"{number}.safetensors", tensors, metadata)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    write_tensors(tmp_path / "0.safetensors", tensors)


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """Let no file grow beyond a size, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


NUMBERS = np.random.default_rng(0).normal(size=100_000)
WRITES = {
    "a.json": lambda path: write_json(path, NUMBERS.tolist()),
    "a.csv": lambda path: write_table(path, pl.DataFrame({"x": NUMBERS})),
    "a.parquet": lambda path: write_table(path, pl.DataFrame({"x": NUMBERS})),
    "a.npy": lambda path: write_arrays(path, NUMBERS),
    "a.safetensors": lambda path: write_tensors(path, {"x": NUMBERS}, {"a": "b"}),
}


@pytest.mark.parametrize("name", WRITES)
def test_no_space_is_one_line_and_keeps_the_older_file(name: str, tmp_path: Path):
    path = tmp_path / name
    path.write_text("older")
    with small_files(100_000), pytest.raises(InputError) as caught:
        WRITES[name](path)
    # NumPy says how much it could write instead.
    reason = r"\(File too large\)|\(\d+ requested and \d+ written\)"
    assert re.fullmatch(rf"{path}: cannot be written ({reason})", str(caught.value))
    assert path.read_text() == "older"
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_mapped_array_has_its_space_before_it_is_filled(tmp_path: Path):
    create_array(tmp_path / "a.npy", np.dtype("f4"), (1000, 1000))
    state = (tmp_path / "a.npy").stat()
    assert state.st_blocks * 512 >= state.st_size >= 4_000_000
    assert not np.load(tmp_path / "a.npy").any()
