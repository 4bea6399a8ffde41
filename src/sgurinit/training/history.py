"""The files and the history of a run, and what follows: the best epoch and the end of training."""

from __future__ import annotations

import math
import pickle
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sgurinit.errors import InputError
from sgurinit.training.settings import TrainSettings

BEST_FILE = "best.safetensors"
LAST_FILE = "last.ckpt"

EpochRow = dict[str, Any]


def find_best_epoch(history: Sequence[EpochRow], monitor: str) -> EpochRow:
    """Find the row of the epoch with the highest `monitor`, not rounded; the earliest of equals.

    Parameters
    ----------
    history : sequence of dict
        One row per epoch; at least one. Epoch 0 is the start.
    monitor : str
        Validation metric, such as ``"recall@20"``.
    """
    return max(history, key=lambda row: row[monitor])


def is_out_of_patience(history: Sequence[EpochRow], monitor: str, patience: int) -> bool:
    """Return whether the last `patience` epochs had no better `monitor` than an earlier one.

    Only trained epochs are compared. The score of a good start often falls before it rises, and
    that must not end training.
    """
    trained = [row for row in history if row["epoch"] > 0]
    if not trained:
        return False
    best = find_best_epoch(trained, monitor)
    return bool(trained[-1]["epoch"] - best["epoch"] >= patience)


def is_below_floor(history: Sequence[EpochRow], monitor: str, floors: Mapping[int, float]) -> bool:
    """Return whether the best `monitor` so far was too low at one of the epochs in `floors`.

    The start counts, because a run is judged by its best epoch, the start included.
    """
    return any(
        max(row[monitor] for row in history if row["epoch"] <= epoch) < floor
        for epoch, floor in floors.items()
        if history[-1]["epoch"] >= epoch
    )


def is_over(history: Sequence[EpochRow], settings: TrainSettings) -> bool:
    """Return whether training ends after the last epoch of `history`, for whatever reason."""
    return (
        history[-1]["epoch"] >= settings.max_epochs
        or is_out_of_patience(history, settings.monitor, settings.patience)
        or is_below_floor(history, settings.monitor, settings.floors)
    )


def pack_history(history: Sequence[EpochRow]) -> dict[str, Any]:
    """Return a history as the names of its columns and one tensor of float64.

    A checkpoint is saved in every epoch. Thousands of single numbers would take longer to save than
    a small model.
    """
    columns = list(history[0])
    rows = [[math.nan if row[name] is None else row[name] for name in columns] for row in history]
    return {"columns": columns, "rows": torch.tensor(rows, dtype=torch.float64)}


def unpack_history(packed: Mapping[str, Any]) -> list[EpochRow]:
    """Return the history that was packed. The start has no loss."""
    history = [dict(zip(packed["columns"], row, strict=True)) for row in packed["rows"].tolist()]
    for row in history:
        row["epoch"] = int(row["epoch"])
        if row["epoch"] == 0:
            row["train_loss"] = None
    return history


def read_history(last: Path) -> list[EpochRow]:
    """Read the history in a checkpoint, wherever it was written.

    Raises
    ------
    InputError
        The file is not a checkpoint, or it is damaged.
    """
    try:
        # Torch does not compare the checksums, and would continue with damaged weights.
        with zipfile.ZipFile(last) as archive:
            if archive.testzip() is not None:
                raise zipfile.BadZipFile
        history = unpack_history(torch.load(last, "cpu", weights_only=True)["history"])
    except (
        OSError,
        RuntimeError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        EOFError,
        NotImplementedError,
        zipfile.BadZipFile,
        zlib.error,
        pickle.UnpicklingError,
    ) as error:
        raise InputError(
            f"{last}: expected the checkpoint of a run ({type(error).__name__}); "
            "remove it to begin the run again"
        ) from None
    return history
