"""Values are encoded in blocks that a killed process leaves behind for the next one."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from sgurinit.errors import InputError
from sgurinit.files import read_json, write_json
from sgurinit.progress import ProgressCallback

BLOCK = 1024
"""Values that are encoded, and kept, at a time."""

Value_contra = TypeVar("Value_contra", contravariant=True)
Block = tuple[NDArray[Any], dict[int, str]]


class Encoder(Protocol[Value_contra]):
    """Turns values into vectors of one width."""

    name: str
    """What the vectors come from; other names give other vectors."""

    def __call__(self, values: Sequence[Value_contra]) -> Block:
        """Encode values: a row for each in order, but for those that failed, and why those did."""
        ...


@dataclass(frozen=True)
class State:
    """How far an encoding is."""

    key: str
    """Of everything that the vectors depend on."""
    done: int = 0
    """Values that were tried."""
    width: int = 0
    """Width of the vectors; 0 before there is one."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why an item has no vector, by its position."""


def encode_blocks(
    values: Sequence[Any], encoder: Encoder[Any], partial: Path, progress: ProgressCallback
) -> tuple[Path, State]:
    """Encode what is not None.

    After each block the vectors are appended to ``partial.rows`` and the state is written to
    ``partial.json``; a call with the same values and encoder goes on where another was stopped.

    Parameters
    ----------
    values : sequence
        Per item a text or a file, or None.
    encoder : Encoder
        Of such values.
    partial : Path
        Name of the two files, without a suffix.
    progress : callable
        Called with ``(stage, done, total)``.

    Returns
    -------
    Path
        The file of vectors, float32, those of the items that have one in order.
    State

    Raises
    ------
    InputError
        If the encoder cannot go on.
    """
    there = [n for n, value in enumerate(values) if value is not None]
    vectors, notes = partial.with_suffix(".rows"), partial.with_suffix(".json")
    state = _begun(notes, vectors, _key(values, encoder.name))
    with vectors.open("r+b" if state.done else "wb") as file:
        file.truncate(4 * state.width * (state.done - len(state.failed)))
        file.seek(0, os.SEEK_END)
        for first in range(state.done, len(there), BLOCK):
            progress("encoding", first, len(there))
            places = there[first : first + BLOCK]
            rows, failed = _finite(*encoder([values[n] for n in places]))
            if len(rows) and state.width not in (0, rows.shape[1]):
                raise InputError(f"{encoder.name}: vectors of different widths")
            file.write(rows.astype("<f4").tobytes())
            file.flush()
            os.fsync(file.fileno())
            state = replace(
                state,
                done=first + len(places),
                width=state.width or (rows.shape[1] if len(rows) else 0),
                failed=state.failed | {str(places[at]): why for at, why in failed.items()},
            )
            write_json(notes, asdict(state))
    progress("encoding", len(there), len(there))
    return vectors, state


def _key(values: Sequence[Any], name: str) -> str:
    digest = hashlib.sha256(name.encode())
    for value in values:
        digest.update(json.dumps(value, default=str).encode())
        if isinstance(value, Path) and value.is_file():
            stat = value.stat()
            digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()


def _begun(notes: Path, vectors: Path, key: str) -> State:
    """Return the state in which the same encoding was left, or a fresh one."""
    if notes.is_file() and vectors.is_file():
        found = read_json(notes)
        if found.get("key") == key:
            return State(**found)
    return State(key)


def _finite(rows: NDArray[Any], failed: dict[int, str]) -> Block:
    whole = np.isfinite(rows).all(axis=1) if len(rows) else np.ones(0, dtype=bool)
    if whole.all():
        return rows, failed
    places = [n for n in range(len(rows) + len(failed)) if n not in failed]
    broken = {places[at]: "the model's numbers are not finite" for at in np.flatnonzero(~whole)}
    return rows[whole], failed | broken
