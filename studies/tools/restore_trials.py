"""Restore the trials of a finished search, so that a study continues from them.

    python studies/tools/restore_trials.py studies/main/study.yaml data/lastfm \
        studies/main/lastfm/vbpr RUNS

Reads `summary.json` and `trials.csv` of a model in the third folder and writes the trials of its
arms, without those of controls, into the new folder RUNS, as `sgurinit study --out RUNS` leaves
them. With `exchange: true` in the file, that command then only tries what the arms chose from one
another. Of a trial's validation scores, only the best is known. No trial that depends on the others
is left, because the search must be complete.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from sgurinit.experiments.pool import Chain
from sgurinit.experiments.run import METRIC_NAMES, RESULT_FILE, read_trial
from sgurinit.experiments.search import search_chains
from sgurinit.experiments.settings import RunSettings
from sgurinit.experiments.study import Study
from sgurinit.files import write_json, write_table

Rows = Mapping[tuple[str, int, int], Mapping[str, Any]]


def read_trials(folder: Path) -> Rows:
    """Read every trial by its arm, number and seed."""
    table = pl.read_csv(folder / "trials.csv")
    return {(row["arm"], row["trial"], row["seed"]): row for row in table.iter_rows(named=True)}


def has_settings(run: RunSettings, settings: Mapping[str, Any]) -> bool:
    """Whether a run has the settings of a row: `reg`, of the model, or `random.scale`."""
    parts = {f"{run.arm}.{name}": value for name, value in run.initializer.items()}
    return (run.config | parts).items() >= settings.items()


def write_trial(folder: Path, run: RunSettings, row: Mapping[str, Any], fingerprint: str) -> None:
    """Write the files of a finished trial that a search reads."""
    monitor = run.train.monitor
    kept = {"run": run.model_dump(mode="json"), "data": {"fingerprint": fingerprint}}
    result = {name: row[name] for name in ("epochs", "seconds", "stopped_at", "failed")}
    valid = dict.fromkeys(METRIC_NAMES, 0.0) | {monitor: row[monitor]}
    folder.mkdir(parents=True)
    write_json(folder / "config.json", kept)
    write_table(folder / "epochs.csv", pl.DataFrame({"epoch": [0], monitor: [row[monitor]]}))
    write_json(folder / RESULT_FILE, {**result, "best_epoch": 0, "valid": valid})


def restore(chain: Chain, rows: Rows, out: Path, fingerprint: str, n_proposed: int) -> int:
    """Write the trials of one arm, in the order of its search; return their number.

    After the proposed ones, a trial can be missing: a later version tries more values at an edge.
    """
    n_trials = 0
    try:
        run = next(chain)
        while True:
            row = rows.get((run.arm, run.trial or 0, run.seed))
            if row is None or not has_settings(run, json.loads(row["settings"])):
                if n_trials < n_proposed:
                    sys.exit(f"{run.label}: not among the trials; the search was another one")
                return n_trials
            write_trial(out / run.path, run, row, fingerprint)
            n_trials += 1
            run = chain.send(read_trial(out / run.path, run.train.monitor))
    except StopIteration:
        return n_trials


def main() -> None:
    """Restore the trials of a model."""
    file, data, finished, out = map(Path, sys.argv[1:])
    study = Study.read(file, data)
    plan = study.plan.select_models([finished.name])
    dataset = study.load_data()
    summary = json.loads((finished / "summary.json").read_text("utf-8"))
    sizes = {f"n_{split}": len(pairs) for split, pairs in dataset.splits()}
    sizes |= {"n_users": dataset.n_users, "n_items": dataset.n_items}
    if not summary["data"].items() >= sizes.items():
        sys.exit(f"{data}: other data than those of {finished}")
    if plan.search is None:
        sys.exit(f"{file}: has no search")
    fingerprint = dataset.fingerprint
    out.mkdir(parents=True)
    whole = {**study.plan.model_dump(mode="json"), "data": {"fingerprint": fingerprint}}
    write_json(out / "settings.json", whole)
    given = read_trials(finished), out, fingerprint, plan.search.trials
    found = [restore(chain, *given) for chain in search_chains(plan, {})]
    print(f"{out}: {sum(found)} trials of {len(found)} arms")


if __name__ == "__main__":
    main()
