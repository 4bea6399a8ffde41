"""Memory of the allocator, cores, and Ctrl-C."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from sgurinit.runtime import children_ignore_interrupts, count_cores, keep_freed_memory


def test_the_allocator_is_set_to_keep_memory(monkeypatch):
    options = {}
    library = SimpleNamespace(mallopt=options.__setitem__)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    keep_freed_memory()
    trim_threshold, mmap_threshold = -1, -3  # as malloc.h has them
    assert options == {trim_threshold: 1 << 30, mmap_threshold: 1 << 30}


@pytest.mark.parametrize("error", [OSError, TypeError, AttributeError])
def test_other_c_libraries_are_left_alone(monkeypatch, error):
    def missing(name):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", missing)
    keep_freed_memory()


def test_there_is_a_core():
    assert count_cores() >= 1


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt, also in a background job, whose shell may ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("threads", [0, 1])
def test_an_interrupt_while_processes_are_created_is_not_lost(threads: int):
    """The processes ignore it, and their parent gets it afterwards, whichever thread took it."""
    code = "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('still here')"
    said = []

    def create() -> None:
        with children_ignore_interrupts():
            said.append(subprocess.check_output([sys.executable, "-c", code], text=True))
            os.kill(os.getpid(), signal.SIGINT)
            said.append("reached")

    done = threading.Event()
    others = [threading.Thread(target=done.wait) for _ in range(threads)]
    for other in others:
        other.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            create()
    finally:
        done.set()
        for other in others:
            other.join()
    assert said == ["still here\n", "reached"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.parametrize("module", ["import time; time.sleep(600)", "def work(): input()"])
def test_a_worker_ends_with_its_parent(module: str, tmp_path: Path):
    """Also while the module of its function is imported, and without a traceback."""
    code = """
import multiprocessing, os, time
from sgurinit.runtime import run_as_worker

context = multiprocessing.get_context("spawn")
worker = context.Process(target=run_as_worker, args=("slow:work",), daemon=True)
worker.start()
while not os.path.exists("begun"):
    time.sleep(0.01)
os.kill(os.getpid(), 9)
"""
    (tmp_path / "slow.py").write_text(f"open('begun', 'w').close()\n{module}\n")
    (tmp_path / "parent.py").write_text(
        "\n".join(["if __name__ == '__main__':", *(f"    {line}" for line in code.splitlines())])
    )
    output, writer = os.pipe()
    try:
        parent = [sys.executable, "parent.py"]
        subprocess.run(parent, cwd=tmp_path, stdout=writer, stderr=writer, check=False)
    finally:
        os.close(writer)
    with os.fdopen(output, "rb") as held:  # ends once no process holds the other end
        assert held.read() == b""


@pytest.mark.slow
def test_a_worker_whose_parent_closed_the_link_says_nothing(tmp_path: Path):
    """The parent may take seconds to end, and says why it does."""
    (tmp_path / "sending.py").write_text(
        "def work(link):\n    link.recv()\n    while True:\n        link.send('news')\n"
    )
    (tmp_path / "parent.py").write_text("""
import multiprocessing
from sgurinit.runtime import run_as_worker

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    link, other = context.Pipe()
    worker = context.Process(target=run_as_worker, args=("sending:work", other), daemon=True)
    worker.start()
    other.close()
    link.send("begin")
    assert link.recv() == "news"
    link.close()
    worker.join()  # longer than the worker waits for its parent's end
    print(worker.exitcode)
""")
    done = subprocess.run(
        [sys.executable, "parent.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("1\n", "")
