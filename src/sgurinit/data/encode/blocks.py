"""Encode values in blocks, so that an interrupted encoding can be resumed."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeInt, TypeAdapter, ValidationError

from sgurinit.errors import InputError
from sgurinit.files import compute_checksum, read_json, write_json
from sgurinit.progress import ProgressCallback

logger = logging.getLogger("sgurinit")

BLOCK_SIZE = 1024
"""Number of values to encode, and to save, at a time."""

Value_contra = TypeVar("Value_contra", contravariant=True)
EncodedBlock = tuple[NDArray[Any], dict[int, str]]


class Encoder(Protocol[Value_contra]):
    """Turns values into vectors of equal width.

    A protocol: any callable with a `name` that follows it will do.

    See Also
    --------
    encode : Run an encoder over all items.
    sgurinit.data.encode.text_encoder.TextEncoder : The encoder for text.
    sgurinit.data.encode.timm_encoder.load_timm_encoder : The encoder for images.
    """

    name: str
    """Name of the encoder. Encoders with different vectors need different names."""

    def __call__(self, values: Sequence[Value_contra]) -> EncodedBlock:
        """Encode values.

        Parameters
        ----------
        values : sequence
            Values to encode.

        Returns
        -------
        vectors : ndarray of float, shape (n_encoded, d)
            Vectors of the values that could be encoded, in order.
        failed : dict of int to str
            Why a value could not be encoded, by its position in `values`.
        """
        ...


@dataclass(frozen=True)
class EncodingState:
    """How far an encoding has come."""

    key: str
    """Hash of everything that the vectors depend on."""
    done: NonNegativeInt = 0
    """Number of values that were tried."""
    width: NonNegativeInt = 0
    """Width of the vectors; 0 before the first."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why an item has no vector, by its position."""
    checksum: NonNegativeInt = 0
    """CRC-32 of the vectors."""

    @property
    def n_bytes(self) -> int:
        """Size of the vectors."""
        return 4 * self.width * (self.done - len(self.failed))


_STATE = TypeAdapter(EncodingState)


def encode_blocks(
    values: Sequence[Any], encoder: Encoder[Any], work: Path, progress: ProgressCallback
) -> tuple[Path, EncodingState]:
    """Encode all values other than None.

    After each block, the vectors are appended to ``vectors.rows`` and the state is written to
    ``state.json``. A call with the same values and encoder resumes an interrupted one, and begins
    again if these files are damaged.

    Parameters
    ----------
    values : sequence
        One value per item: a text, a file, or None.
    encoder : Encoder
        Turns values into vectors.
    work : Path
        Folder of the two files.
    progress : callable
        Called with ``(stage, done, total)``.

    Returns
    -------
    vectors : Path
        File of float32 vectors, one for each encoded item, in order of position.
    state : EncodingState
        The final state.

    Raises
    ------
    InputError
        If the encoder fails, or returns vectors of different widths.
    """
    present = [n for n, value in enumerate(values) if value is not None]
    vectors, notes = work / "vectors.rows", work / "state.json"
    state = _read_state(notes, vectors, _hash_inputs(values, encoder.name), present)
    if state.done:
        logger.warning("%s: resumes after %d values", work, state.done)
    with vectors.open("r+b" if state.done else "wb") as file:
        file.truncate(state.n_bytes)
        file.seek(0, os.SEEK_END)
        for first in range(state.done, len(present), BLOCK_SIZE):
            progress("encoding", first, len(present))
            places = present[first : first + BLOCK_SIZE]
            rows, failed = _drop_non_finite(*encoder([values[n] for n in places]))
            if len(rows) and state.width not in (0, rows.shape[1]):
                raise InputError(
                    f"{encoder.name}: the vectors have different widths, {state.width} and "
                    f"{rows.shape[1]}; one width is expected"
                )
            content = rows.astype("<f4").tobytes()
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            state = replace(
                state,
                done=first + len(places),
                width=state.width or (rows.shape[1] if len(rows) else 0),
                failed=state.failed | {str(places[at]): reason for at, reason in failed.items()},
                checksum=zlib.crc32(content, state.checksum),
            )
            write_json(notes, asdict(state))
    progress("encoding", len(present), len(present))
    return vectors, state


def _hash_inputs(values: Sequence[Any], name: str) -> str:
    digest = hashlib.sha256(name.encode())
    for value in values:
        digest.update(json.dumps(value, default=str).encode())
        if isinstance(value, Path) and value.is_file():
            stat = value.stat()
            digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()


def _read_state(notes: Path, vectors: Path, key: str, present: Sequence[int]) -> EncodingState:
    """Return the saved state of the same encoding, or a fresh one."""
    if not (notes.is_file() and vectors.is_file()):
        return EncodingState(key)
    try:
        state = _STATE.validate_python(read_json(notes))
    except (InputError, ValidationError):
        return EncodingState(key)
    tried = {str(position) for position in present[: state.done]}
    fits = state.key == key and state.done <= len(present) and state.failed.keys() <= tried
    if fits and state.checksum == compute_checksum(vectors, state.n_bytes):
        return state
    return EncodingState(key)


def _drop_non_finite(rows: NDArray[Any], failed: dict[int, str]) -> EncodedBlock:
    finite = np.isfinite(rows).all(axis=1) if len(rows) else np.ones(0, dtype=bool)
    if finite.all():
        return rows, failed
    places = [n for n in range(len(rows) + len(failed)) if n not in failed]
    broken = {places[at]: "the vector is not finite" for at in np.flatnonzero(~finite)}
    return rows[finite], failed | broken
