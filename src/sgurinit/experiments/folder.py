"""The reader of a finished comparison's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from sgurinit.arguments import check_path
from sgurinit.errors import InputError
from sgurinit.experiments.run import METRIC_NAMES
from sgurinit.experiments.settings import ComparisonSettings
from sgurinit.experiments.summary import HEADLINE_METRIC, SummaryEntry
from sgurinit.experiments.summary_schema import AGAIN, check_summary
from sgurinit.files import read_json, read_table

# Names and titles are text even where all of them look like numbers.
_TEXT = (
    "model", "arm", "split", "group", "metric", "stage", "measure", "pairs", "kind", "space",
    "user", "item", "id", "title",
)  # fmt: skip
_WHOLE_NUMBERS = ("seed", "epoch", "k", "cluster", "size", "rank")
_NUMBERS = ("value", "low", "high", "share", "x", "y", "train_loss", *METRIC_NAMES)
_TYPES = {
    **dict.fromkeys(_TEXT, pl.String),
    **dict.fromkeys(_WHOLE_NUMBERS, pl.Int64),
    **dict.fromkeys(_NUMBERS, pl.Float64),
}

# The columns that readers use.
_COLUMNS = {
    "results.csv": ("model", "arm", "seed", "split", "group", "metric", "k", "value"),
    "curves.csv": ("model", "arm", "seed", "epoch", "train_loss", *METRIC_NAMES),
    "gaps.csv": ("model", "arm", "stage", "measure", "value"),
    "starts/gap.csv": ("arm", "measure", "value"),
    "starts/cosines.csv": ("arm", "pairs", "low", "high", "share"),
    "starts/points.csv": ("arm", "kind", "id", "x", "y"),
    "starts/clusters.csv": ("arm", "space", "cluster", "size", "rank", "item", "title"),
    "starts/nearest.csv": ("arm", "user", "kind", "rank", "item", "title"),
}


@dataclass(frozen=True)
class ComparisonFolder:
    """The folder of a finished comparison. Tables can be large, so each is read when needed.

    Attributes
    ----------
    path : Path
        The folder.
    summary : mapping
        Content of ``summary.json``.
    settings : ComparisonSettings
        Settings of the comparison.
    """

    path: Path
    summary: Mapping[str, Any]
    settings: ComparisonSettings

    @classmethod
    def read(cls, path: str | Path) -> ComparisonFolder:
        """Read the summary of the comparison in the folder `path`.

        Raises
        ------
        InputError
            The folder does not contain a finished comparison, or its summary is damaged.
        """
        folder = check_path(path, "folder")
        place = folder / "summary.json"
        summary = read_json(place)
        settings = check_summary(summary, str(place))
        return cls(folder, summary, settings)

    @property
    def entries(self) -> list[SummaryEntry]:
        """One entry per model and arm, see `summarize_runs`."""
        entries: list[SummaryEntry] = self.summary["results"]
        return entries

    @property
    def seconds(self) -> float:
        """Time of training and validation, summed over all runs."""
        return float(sum(sum(entry["seconds"]) for entry in self.entries))

    def results(self) -> pl.DataFrame:
        """Read the test and validation metrics, see `results_table`."""
        return self._read("results.csv")

    def curves(self) -> pl.DataFrame:
        """Read the learning curves, see `curves_table`."""
        return self._read("curves.csv")

    def headline_curves(self, model: str) -> pl.DataFrame:
        """Read the validation curves of one model: arm, seed, epoch and the headline metric."""
        return self._read("curves.csv", ["arm", "seed", "epoch", HEADLINE_METRIC], model=model)

    def headline_validation(self, model: str) -> pl.DataFrame:
        """Read the best validation scores of one model: arm, seed and the headline metric."""
        metric, _, k = HEADLINE_METRIC.partition("@")
        rows = {"model": model, "split": "valid", "group": "all", "metric": metric, "k": int(k)}
        return self._read("results.csv", ["arm", "seed", "value"], **rows)

    def gaps(self) -> pl.DataFrame | None:
        """Read the semantic gaps of the models, see `gaps_table`; None if there are none."""
        found = self._read("gaps.csv") if (self.path / "gaps.csv").is_file() else None
        return None if found is None or found.is_empty() else found

    def start_table(self, name: str) -> pl.DataFrame | None:
        """Read one of the tables of `write_start_tables`; None if it is missing or has no rows."""
        file = f"starts/{name}.csv"
        found = self._read(file) if (self.path / file).is_file() else None
        return None if found is None or found.is_empty() else found

    def _read(self, name: str, columns: Sequence[str] | None = None, **where: Any) -> pl.DataFrame:
        """Read a table, and check that its numbers are finite; they can be missing."""
        path = self.path / name
        table = read_table(path, columns or _COLUMNS[name], _TYPES, **where)
        for column in table:
            if column.dtype == pl.Float64 and not column.is_finite().all():
                raise InputError(f"{path}: {column.name} has a number that is not finite; {AGAIN}")
        return table

    def run_folders(self, model: str, arm: str) -> list[Path]:
        """List the folders of the runs of a model and arm, by seed."""
        runs = self.path / "runs" / model / arm
        return [runs / f"seed-{seed}" for seed in range(self.settings.seeds)]
