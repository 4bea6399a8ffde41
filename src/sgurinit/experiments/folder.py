"""A finished comparison as the page reads it: part by part, for its tables can be large."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from sgurinit.experiments import ComparisonSettings
from sgurinit.experiments.lifts import HEADLINE_METRIC, Entry
from sgurinit.files import read_json, read_table
from sgurinit.resolve import build


@dataclass(frozen=True)
class Finished:
    """A finished comparison in its folder.

    Attributes
    ----------
    folder
        Where `compare` left its tables.
    summary
        Content of ``summary.json``.
    settings
        What was compared, as given.
    """

    folder: Path
    summary: Mapping[str, Any]
    settings: ComparisonSettings

    @classmethod
    def read(cls, folder: str | Path) -> Finished:
        """Read the summary.

        Raises
        ------
        InputError
            There is no finished comparison in the folder.
        """
        place = Path(folder)
        summary = read_json(place / "summary.json")
        given = summary.get("settings", {})
        settings = build(ComparisonSettings, given, prefix=f"{place / 'summary.json'}: settings")
        return cls(place, summary, settings)

    @property
    def entries(self) -> list[Entry]:
        """One entry per model and arm, see `summarise`."""
        entries: list[Entry] = self.summary["results"]
        return entries

    def curves(self, model: str) -> pl.DataFrame:
        """Validation of one model by epoch: arm, seed, epoch and the headline's metric."""
        columns = ["arm", "seed", "epoch", HEADLINE_METRIC]
        return read_table(self.folder / "curves.csv", columns, model=model)

    def validation(self, model: str) -> pl.DataFrame:
        """Validation of one model at the best epoch: arm, seed, value of the headline's metric."""
        metric, _, k = HEADLINE_METRIC.partition("@")
        wanted = {"model": model, "split": "valid", "group": "all", "metric": metric, "k": int(k)}
        return read_table(self.folder / "results.csv", ["arm", "seed", "value"], **wanted)

    def gaps(self) -> pl.DataFrame | None:
        """Semantic gap by model, arm and stage, see `gaps_table`; None where it is not known."""
        path = self.folder / "gaps.csv"
        found = read_table(path) if path.is_file() else None
        return None if found is None or found.is_empty() else found

    def starts(self, table: str) -> pl.DataFrame | None:
        """One of the tables of `write_starts`; None where the comparison has none."""
        path = self.folder / "starts" / f"{table}.csv"
        return read_table(path) if path.is_file() else None
