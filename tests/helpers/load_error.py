"""The error of a faulty folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgurinit.data import load_dataset
from sgurinit.errors import InputError


def load_error(path: Path) -> str:
    """Load a faulty folder and return the message of its error, which must be one line."""
    with pytest.raises(InputError) as error:
        load_dataset(path)
    assert "\n" not in str(error.value)
    return str(error.value)
