"""The grammar of ``--features NAME=FILE``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sgurinit.data.dataset import MODALITY_NAME
from sgurinit.errors import InputError


def parse_features(
    assignments: Sequence[str], suffixes: Sequence[str] = (".npy", ".parquet")
) -> dict[str, Path]:
    """Parse ``NAME=FILE`` for every modality. `suffixes` are those that the command reads.

    Raises
    ------
    InputError
        If an assignment has another form, or a name is repeated.
    """
    files: dict[str, Path] = {}
    for assignment in assignments:
        name, equals, file = assignment.partition("=")
        if not (re.fullmatch(MODALITY_NAME, name) and equals and file) or name in files:
            forms = " or ".join(f"NAME=FILE{suffix}" for suffix in suffixes)
            raise InputError(
                f"--features: {assignment!r} is not {forms}, with every name once, such as "
                f"text=text{suffixes[0]}"
            )
        files[name] = Path(file)
    return files
