"""The reader of a finished comparison's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from pydantic import BaseModel, Field, FiniteFloat, TypeAdapter, ValidationError

from sgurinit.errors import InputError
from sgurinit.experiments.settings import ComparisonSettings
from sgurinit.experiments.summary import HEADLINE_METRIC, SummaryEntry
from sgurinit.files import read_json, read_table
from sgurinit.resolve import build

_AGAIN = "run the command that wrote the folder again"


class _CheckedEntry(BaseModel):
    """What readers of a summary use of every entry."""

    model: str
    arm: str
    test: dict[str, dict[str, Any]] = Field(min_length=1)
    groups: dict[str, dict[str, Any]] = Field(default_factory=dict)
    epochs: list[int]
    seconds: list[FiniteFloat]


_ENTRIES = TypeAdapter(Annotated[list[_CheckedEntry], Field(min_length=1)])


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
        folder = Path(path)
        summary = read_json(folder / "summary.json")
        content = summary.get("settings", {})
        place = folder / "summary.json"
        if not isinstance(content, dict):
            raise InputError(f"{place}: settings are {content!r:.60}, expected an object; {_AGAIN}")
        try:
            _ENTRIES.validate_python(summary.get("results"))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in ("results", *first["loc"]))
            raise InputError(f"{place}: {field} is damaged ({first['msg']}); {_AGAIN}") from None
        settings = build(ComparisonSettings, content, prefix=f"{place}: settings")
        if any(_ignores_seeds(entry["test"][HEADLINE_METRIC]) for entry in summary["results"]):
            raise InputError(
                f"{folder / 'summary.json'}: has p-values that ignore the seeds, from an earlier "
                "version; run the comparison again, which keeps finished runs"
            )
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
        return read_table(self.path / "results.csv")

    def curves(self) -> pl.DataFrame:
        """Read the learning curves, see `curves_table`."""
        return read_table(self.path / "curves.csv")

    def headline_curves(self, model: str) -> pl.DataFrame:
        """Read the validation curves of one model: arm, seed, epoch and the headline metric."""
        columns = ["arm", "seed", "epoch", HEADLINE_METRIC]
        return read_table(self.path / "curves.csv", columns, model=model)

    def headline_validation(self, model: str) -> pl.DataFrame:
        """Read the best validation scores of one model: arm, seed and the headline metric."""
        metric, _, k = HEADLINE_METRIC.partition("@")
        rows = {"model": model, "split": "valid", "group": "all", "metric": metric, "k": int(k)}
        return read_table(self.path / "results.csv", ["arm", "seed", "value"], **rows)

    def gaps(self) -> pl.DataFrame | None:
        """Read the semantic gaps of the models, see `gaps_table`; None if there are none."""
        path = self.path / "gaps.csv"
        found = read_table(path) if path.is_file() else None
        return None if found is None or found.is_empty() else found

    def start_table(self, name: str) -> pl.DataFrame | None:
        """Read one of the tables of `write_start_tables`; None if it is missing."""
        path = self.path / "starts" / f"{name}.csv"
        return read_table(path) if path.is_file() else None

    def run_folders(self, model: str, arm: str) -> list[Path]:
        """List the folders of the runs of a model and arm, by seed."""
        runs = self.path / "runs" / model / arm
        return [runs / f"seed-{seed}" for seed in range(self.settings.seeds)]


def _ignores_seeds(metric: Mapping[str, Any]) -> bool:
    return metric.get("p_value") is not None and "low" not in metric
