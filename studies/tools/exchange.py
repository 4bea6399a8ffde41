"""Say what the exchange of settings changed: what each arm chose before and after it.

    mkdir before && git archive 2239772 studies/main | tar x -C before
    python studies/tools/exchange.py studies/main before/studies/main

The second folder has the results before. Writes `exchange.csv` into the first: data, model and arm;
the settings before and after, as JSON; validation Recall@20 (both seeds of the search) and test
NDCG@20 (all seeds) with each. Cells that lack an exchange, or results before it, are left out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import polars as pl

TUNED = ("random", "sgurinit", "hybrid")


def describe(folder: Path, arm: str) -> list[Any]:
    """Return the settings of an arm, its score on validation, and that on test."""
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    own = summary["chosen"][folder.name][arm]
    fields = [*summary["settings"]["search"]["spaces"][folder.name], "scale"]
    settings = {name: {**own["config"], **own["initializer"]}[name] for name in fields}
    trials = pl.read_csv(folder / "trials.csv").filter(arm=arm)
    scores = [
        trial["recall@20"]
        for trial in trials.filter(pl.col("stopped_at").is_null()).iter_rows(named=True)
        if shorten(json.loads(trial["settings"])) == settings
    ]
    (entry,) = [entry for entry in summary["results"] if entry["arm"] == arm]
    return [json.dumps(settings), fmean(scores), entry["test"]["ndcg@20"]["mean"]]


def shorten(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Name the fields without their arm."""
    return {name.rpartition(".")[-1]: value for name, value in settings.items()}


def main() -> None:
    """Compare all cells."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, metavar="STUDY")
    parser.add_argument("before", type=Path, metavar="BEFORE")
    options = parser.parse_args()
    rows = []
    for path in sorted(options.study.glob("*/*/summary.json")):
        folder = path.parent
        before = options.before / folder.relative_to(options.study)
        has_exchange = json.loads(path.read_text("utf-8"))["settings"]["search"].get("exchange")
        if not has_exchange or not before.exists():
            continue
        for arm in TUNED:
            pairs = zip(describe(before, arm), describe(folder, arm), strict=True)
            rows.append([*folder.parts[-2:], arm, *(value for pair in pairs for value in pair)])
    values = ("settings", "valid", "test")
    names = [f"{name}_{when}" for name in values for when in ("before", "after")]
    table = pl.DataFrame(rows, schema=["data", "model", "arm", *names], orient="row")
    table.write_csv(options.study / "exchange.csv", float_precision=5)
    changed = table.filter(pl.col("settings_before") != pl.col("settings_after"))
    print(f"{changed.height} of {table.height} arms changed")


if __name__ == "__main__":
    main()
