"""Memory of the allocator, and cores."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import pytest

from sgurinit.runtime import count_cores, keep_freed_memory


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
