"""The summary of a comparison: scores, lifts and tests of every model and arm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
import polars as pl

from sgurinit.arms import BASELINE
from sgurinit.evaluation import adjust_p_values, paired_test
from sgurinit.experiments.run import METRIC_NAMES, RESULT_FILE
from sgurinit.experiments.settings import RunSettings
from sgurinit.experiments.sweeps import find_sweeps
from sgurinit.experiments.user_scores import ALL, Scores, read_scores_by_group
from sgurinit.files import read_json

HEADLINE_METRIC = "recall@20"
GROUP_METRICS = ("recall@20", "ndcg@20")  # reported for groups and between arms
SIGNIFICANCE_LEVEL = 0.05

SummaryEntry = Mapping[str, Any]


def summarize_runs(runs: Sequence[RunSettings], folder: Path) -> list[dict[str, Any]]:
    """Summarize finished runs.

    Parameters
    ----------
    runs : sequence of RunSettings
        All runs of a comparison.
    folder : Path
        Folder that contains the folders of the runs.

    Returns
    -------
    list of dict
        One entry per model and arm, ready for JSON:

        ``test``
            By metric: ``mean``, ``sd`` (over the seeds, with n - 1; null for one seed) and
            ``per_seed``. If ``"random"`` is one of the arms, also the comparison with it: ``lift``
            (relative difference of the means, null if random scores 0), ``mean_difference``,
            ``p_value`` (paired t-test over the users, on scores averaged over the seeds),
            ``p_holm`` (adjusted for the number of models with the same arm) and ``n_users``.
        ``groups``
            The same for Recall@20 and NDCG@20 of each group of users and items. P-values are
            adjusted within a group.
        ``against``
            The comparison with each other arm of the model, for Recall@20 and NDCG@20. Cells of a
            sweep over two fields are left out, because fifty arms have a thousand pairs.
        ``best_epochs``
            Best epoch of each seed: how many were completed, 0 for the start.
        ``epochs``, ``seconds``
            Number of trained epochs of each seed, and its time of training and validation.
        ``at_epoch_limit``
            Number of runs that ended at ``max_epochs``, before patience ran out. Longer training
            could change their scores. Missing in summaries of earlier versions.
        ``epochs_to_random_best``
            Number of epochs of each seed until the monitored validation metric reached the best
            score of the random arm with the same seed; 0 if the start is there, null if it never
            did.
        ``ratio_to_random_epochs``
            The same divided by the number of epochs that the random arm needed; null if that is 0.
        ``seconds_to_random_best``
            The same in seconds, with the ranking of the start.
    """
    by_arm: dict[tuple[str, str], list[RunSettings]] = {}
    for run in runs:
        by_arm.setdefault((run.model, run.arm), []).append(run)
    tables = {
        pair: [dict(read_scores_by_group(folder / run.label)) for run in own]
        for pair, own in by_arm.items()
    }
    sweeps = find_sweeps(list(dict.fromkeys(arm for _, arm in by_arm)))
    cells = {arm for sweep in sweeps for arm in sweep.arms.values()}
    entries = []
    for (model, arm), own in by_arm.items():
        results = [read_json(folder / run.label / RESULT_FILE) for run in own]
        base = (model, BASELINE) if (model, BASELINE) in by_arm else None
        mine = tables[model, arm]
        by_group = _summarize_groups(mine, tables[base] if base else None)
        test = by_group.pop(ALL)
        entry = {
            "model": model,
            "arm": arm,
            "test": test,
            "groups": {
                group: {name: found[name] for name in GROUP_METRICS}
                for group, found in by_group.items()
            },
            "against": {
                other: {
                    name: _compare(_select(mine, ALL, name), _select(theirs, ALL, name))
                    for name in GROUP_METRICS
                }
                for (at, other), theirs in tables.items()
                if at == model and other not in (arm, BASELINE) and not {arm, other} & cells
            },
            "best_epochs": [result["best_epoch"] for result in results],
            "epochs": [result["epochs"] for result in results],
            "seconds": [result["seconds"] for result in results],
            "at_epoch_limit": sum(
                result["epochs"] >= run.train.max_epochs and not result.get("stopped_early")
                for run, result in zip(own, results, strict=True)
            ),
        }
        entries.append(entry | (_convergence(own, by_arm[base], folder) if base else {}))
    set_adjusted_p_values(entries)
    return entries


def _summarize_groups(
    own: Sequence[Mapping[str, Scores]], base: Sequence[Mapping[str, Scores]] | None
) -> dict[str, dict[str, Any]]:
    """Summarize the scores of each group, given per seed, and compare them with `base`."""
    return {
        group: {
            name: _summarize_scores(
                _select(own, group, name), None if base is None else _select(base, group, name)
            )
            for name in METRIC_NAMES
        }
        for group in own[0]
    }


def _select(
    arm: Sequence[Mapping[str, Scores]], group: str, name: str
) -> list[np.ndarray[Any, Any]]:
    """One metric of the users of a group, an array per seed."""
    return [scores[group][name] for scores in arm]


def _summarize_scores(
    own: Sequence[np.ndarray[Any, Any]], base: Sequence[np.ndarray[Any, Any]] | None
) -> dict[str, Any]:
    """Mean and standard deviation over the seeds, and the comparison with `base` if given."""
    per_seed = [float(scores.mean()) for scores in own]
    entry: dict[str, Any] = {
        "mean": fmean(per_seed),
        "sd": stdev(per_seed) if len(per_seed) > 1 else None,
        "per_seed": per_seed,
    }
    return entry if base is None else entry | _compare(own, base)


def _compare(
    own: Sequence[np.ndarray[Any, Any]], base: Sequence[np.ndarray[Any, Any]]
) -> dict[str, Any]:
    """Lift over `base` and the paired test of it, on scores averaged over the seeds."""
    reference = np.mean(base, axis=0)
    test = paired_test(np.mean(own, axis=0), reference)
    return {
        "lift": float(test.mean_difference / reference.mean()) if reference.any() else None,
        "mean_difference": test.mean_difference,
        "p_value": None if math.isnan(test.p_value) else test.p_value,
        "n_users": test.n,
    }


def set_adjusted_p_values(entries: Sequence[Mapping[str, Any]]) -> None:
    """Set ``p_holm`` of every test score and comparison, adjusted over the models of an arm.

    Parameters
    ----------
    entries : sequence of mapping
        Entries of `summarize_runs`, which are changed in place. Entries of several studies can be
        combined.
    """
    families: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for entry in entries:
        compared = {(BASELINE, ALL): entry["test"]}
        compared |= {(BASELINE, name): group for name, group in entry.get("groups", {}).items()}
        compared |= {(other, ALL): scores for other, scores in entry.get("against", {}).items()}
        for of, scores in compared.items():
            for name, score in scores.items():
                if score.get("p_value") is not None:
                    families.setdefault((entry["arm"], *of, name), []).append(score)
    for scores in families.values():
        adjusted = adjust_p_values([score["p_value"] for score in scores])
        for score, p in zip(scores, adjusted, strict=True):
            score["p_holm"] = p


def _convergence(
    own: Sequence[RunSettings], base: Sequence[RunSettings], folder: Path
) -> dict[str, Any]:
    needed: list[int | None] = []
    ratios: list[float | None] = []
    seconds: list[float | None] = []
    for run, reference in zip(own, base, strict=True):
        random = pl.read_csv(folder / reference.label / "epochs.csv")[run.train.monitor]
        mine = pl.read_csv(folder / run.label / "epochs.csv")
        epochs = _find_first(mine[run.train.monitor] >= random.max())
        own_epochs = _find_first(random >= random.max())
        needed.append(epochs)
        ratios.append(None if epochs is None or not own_epochs else epochs / own_epochs)
        seconds.append(None if epochs is None else float(mine["seconds"][: epochs + 1].sum()))
    return {
        "epochs_to_random_best": needed,
        "ratio_to_random_epochs": ratios,
        "seconds_to_random_best": seconds,
    }


def _find_first(reached: pl.Series) -> int | None:
    """Find the first epoch that reached the goal, where the start is epoch 0; None if none did."""
    at = reached.arg_true()
    return int(at[0]) if len(at) else None


def is_significant(metric: Mapping[str, Any]) -> bool:
    """Whether the adjusted p-value of a summarized metric is below 0.05."""
    p = metric.get("p_holm")
    return p is not None and p < SIGNIFICANCE_LEVEL


def lifts_by_seed(entry: SummaryEntry, baseline: SummaryEntry) -> list[float]:
    """Lift of the headline metric over the baseline with the same seed, where that is not 0."""
    own, base = (one["test"][HEADLINE_METRIC]["per_seed"] for one in (entry, baseline))
    return [mine / theirs - 1 for mine, theirs in zip(own, base, strict=True) if theirs]


def average_epochs(counts: Sequence[int | None]) -> tuple[float | None, int]:
    """Average numbers of epochs over the seeds that have one, and count those that have none."""
    known = [count for count in counts if count is not None]
    return (fmean(known) if known else None), len(counts) - len(known)


@dataclass(frozen=True)
class LiftSpread:
    """How the lifts of the headline metric spread over the models of an arm.

    Attributes
    ----------
    median : float
        Median lift.
    lowest, highest : mapping
        Entries of the models with the lowest and the highest lift.
    """

    median: float
    lowest: SummaryEntry
    highest: SummaryEntry


def lift_spread(entries: Sequence[SummaryEntry]) -> LiftSpread | None:
    """Describe the lifts of the models of one arm; None if no lift is known."""
    known = [e for e in entries if e["test"][HEADLINE_METRIC].get("lift") is not None]
    if not known:
        return None
    known.sort(key=lambda entry: float(entry["test"][HEADLINE_METRIC]["lift"]))
    middle = median(entry["test"][HEADLINE_METRIC]["lift"] for entry in known)
    return LiftSpread(middle, known[0], known[-1])


def count_significant(entries: Sequence[SummaryEntry]) -> tuple[int, int]:
    """Count the models of one arm with a significant gain and a significant loss.

    The metric is the headline metric, the comparison that with the baseline.
    """
    metrics = [entry["test"][HEADLINE_METRIC] for entry in entries]
    changes = [metric["mean_difference"] for metric in metrics if is_significant(metric)]
    return sum(change > 0 for change in changes), sum(change < 0 for change in changes)


def best_entry(entries: Sequence[SummaryEntry]) -> SummaryEntry:
    """Find the entry with the highest headline metric."""
    return max(entries, key=lambda entry: float(entry["test"][HEADLINE_METRIC]["mean"]))
