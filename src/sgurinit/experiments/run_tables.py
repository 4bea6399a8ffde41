"""The tables in the folders of finished runs, which are checked when they are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import polars.selectors as cs

from sgurinit.errors import InputError
from sgurinit.files import READ_ERRORS, as_plain_path, scan_parquet

_INTEGERS = (
    pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64,
)  # fmt: skip
_AGAIN = "remove result.json beside it to run it again"


def read_run_table(
    path: Path,
    numbers: Sequence[str],
    others: Sequence[str] = (),
    *,
    with_nulls: Sequence[str] = (),
) -> pl.DataFrame:
    """Read some columns of a table of a finished run.

    Parameters
    ----------
    path : Path
        The file, Parquet or CSV.
    numbers : sequence of str
        Columns of finite numbers.
    others : sequence of str
        Columns of anything.
    with_nulls : sequence of str
        Columns of finite numbers, some of which may be missing.

    Raises
    ------
    InputError
        The file is missing or cannot be read, or a column is missing or holds something else.
    """
    is_parquet = path.suffix == ".parquet"
    try:
        found = scan_parquet(path) if is_parquet else pl.scan_csv(as_plain_path(path), glob=False)
        table = found.select(*others, *numbers, *with_nulls).collect()
    except READ_ERRORS as error:
        detail = " ".join(str(error).split())
        raise InputError(
            f"{path}: expected a table of a finished run ({detail}); {_AGAIN}"
        ) from None
    if table.is_empty():
        raise InputError(f"{path}: has no row; {_AGAIN}")
    # NumPy has no decimals and no integers of 128 bits.
    table = table.cast({cs.numeric() - cs.float() - cs.by_dtype(_INTEGERS): pl.Float64})
    for name in (*numbers, *with_nulls):
        column = table[name]
        known = column.drop_nulls() if name in with_nulls else column
        if known.dtype == pl.Null and name in with_nulls:
            continue
        if not known.dtype.is_numeric() or known.has_nulls() or not known.is_finite().all():
            raise InputError(f"{path}: {name} holds something else than finite numbers; {_AGAIN}")
    return table
