"""The summary of a comparison: scores, lifts and tests of every model and arm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
import polars as pl

from sgurinit.arms import BASELINE, CONTROL, METHOD
from sgurinit.errors import InputError
from sgurinit.evaluation import adjust_p_values, bootstrap_lifts
from sgurinit.experiments.run import METRIC_NAMES, RESULT_FILE
from sgurinit.experiments.run_tables import read_run_table
from sgurinit.experiments.settings import RunSettings
from sgurinit.experiments.sweeps import find_sweeps
from sgurinit.experiments.user_scores import ALL, Scores, read_scores_by_group
from sgurinit.files import read_json

HEADLINE_METRIC = "recall@20"
GROUP_METRICS = ("recall@20", "ndcg@20")  # with intervals, for groups and between arms
SIGNIFICANCE_LEVEL = 0.05
CONVERGED = 0.99  # of the random arm's best validation score
CONTROLS = {METHOD: (CONTROL, "random-scaled"), "hybrid": ("hybrid-shuffled", "collaborative")}

SummaryEntry = Mapping[str, Any]
_Column = tuple[str, str, str]  # model, arm and metric


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
            ``per_seed``. If ``"random"`` is one of the other arms, also the comparison with it:
            ``lift`` (relative difference of the means), ``mean_difference`` and ``n_users``, and
            for Recall@20 and NDCG@20 ``low`` and ``high`` (95 % interval of the lift over users and
            seeds, see `bootstrap_lifts`), ``difference_low`` and ``difference_high`` (that of the
            difference), ``p_value`` and ``p_holm`` (adjusted for the number of models with the same
            arm). The lift is null if random scores 0, and its interval if random does so in a draw.
            A group of one user has no intervals.
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
        ``start_share``
            Monitored validation score of the start of each seed, before training, as a share of the
            best score of the random arm with the same seed; null if that is 0.
        ``epochs_to_99_percent``
            Number of epochs of each seed until the monitored validation score reached 99 % of that
            best score; 0 if it was there before training, null if it never was.
        ``seconds_to_99_percent``
            Time of training and validation of these epochs.
    """
    by_arm: dict[tuple[str, str], list[RunSettings]] = {}
    for run in runs:
        by_arm.setdefault((run.model, run.arm), []).append(run)
    tables = {
        pair: [dict(read_scores_by_group(folder / run.label)) for run in own]
        for pair, own in by_arm.items()
    }
    _check_same_users(tables, by_arm, folder)
    sweeps = find_sweeps(list(dict.fromkeys(arm for _, arm in by_arm)))
    cells = {arm for sweep in sweeps for arm in sweep.arms.values()}
    compared = dict(_compare_arms(tables, cells))
    entries = []
    for (model, arm), own in by_arm.items():
        results = [read_json(folder / run.label / RESULT_FILE) for run in own]
        by_group = {
            group: {
                name: _summarize_scores(_select(tables[model, arm], group, name))
                | compared.get((model, arm, BASELINE, group, name), {})
                for name in (METRIC_NAMES if group == ALL else GROUP_METRICS)
            }
            for group in tables[model, arm][0]
        }
        entry = {
            "model": model,
            "arm": arm,
            "test": by_group.pop(ALL),
            "groups": by_group,
            "against": {
                other: {name: compared[model, arm, other, ALL, name] for name in GROUP_METRICS}
                for at, other in by_arm
                if at == model and other != BASELINE
                if (model, arm, other, ALL, HEADLINE_METRIC) in compared
            },
            "best_epochs": [result["best_epoch"] for result in results],
            "epochs": [result["epochs"] for result in results],
            "seconds": [result["seconds"] for result in results],
            "at_epoch_limit": sum(
                result["epochs"] >= run.train.max_epochs and not result.get("stopped_early")
                for run, result in zip(own, results, strict=True)
            ),
        }
        base = by_arm.get((model, BASELINE))
        entries.append(entry | (_convergence(own, base, folder) if base else {}))
    set_adjusted_p_values(entries)
    return entries


def _check_same_users(
    tables: Mapping[tuple[str, str], Sequence[Mapping[str, Scores]]],
    runs: Mapping[tuple[str, str], Sequence[RunSettings]],
    folder: Path,
) -> None:
    """Refuse runs whose groups have other numbers of users than those of the first run."""
    sizes = [
        (run, {group: len(scores[HEADLINE_METRIC]) for group, scores in found.items()})
        for pair, own in runs.items()
        for run, found in zip(own, tables[pair], strict=True)
    ]
    for run, counts in sizes:
        if counts != sizes[0][1]:
            raise InputError(
                f"{folder / run.label}: has the scores of other users than those of "
                f"{sizes[0][0].label}; remove result.json in the damaged one to run it again"
            )


def _compare_arms(
    tables: Mapping[tuple[str, str], Sequence[Mapping[str, Scores]]], cells: set[str]
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Compare arms of each model, by model, arm, other arm, group and metric.

    All pairs of a group are compared on the same draws of users and seeds. Arms are compared with
    random and, for all users, with each other, without those in `cells`.
    """
    pairs = [
        (model, arm, other)
        for model, arm in tables
        for at, other in tables
        if at == model and arm not in (other, BASELINE)
    ]
    for group in next(iter(tables.values()))[0]:
        scores = {
            (*pair, name): np.stack(_select(found, group, name))
            for pair, found in tables.items()
            for name in (METRIC_NAMES if group == ALL else GROUP_METRICS)
        }
        compared = [
            (model, arm, other, name)
            for model, arm, other in pairs
            if other == BASELINE or (group == ALL and not {arm, other} & cells)
            for name in (METRIC_NAMES if other == BASELINE and group == ALL else GROUP_METRICS)
        ]
        ends = [((model, arm, name), (model, other, name)) for model, arm, other, name in compared]
        for (model, arm, other, name), found in zip(compared, _compare(scores, ends), strict=True):
            yield (model, arm, other, group, name), found


def _compare(
    scores: Mapping[_Column, np.ndarray[Any, Any]], pairs: Sequence[tuple[_Column, _Column]]
) -> list[dict[str, Any]]:
    """Compare scores of shape (n_seeds, n_users), with intervals for the metrics that have them.

    The intervals of all pairs are from the same draws.
    """
    means = {column: float(values.mean()) for column, values in scores.items()}
    n_users = next(iter(scores.values())).shape[1]
    found = [
        {
            "lift": means[own] / means[other] - 1 if means[other] else None,
            "mean_difference": means[own] - means[other],
            "n_users": n_users,
        }
        for own, other in pairs
    ]
    tested = [at for at, (own, _) in enumerate(pairs) if own[-1] in GROUP_METRICS]
    if n_users < 2 or not tested:
        return found
    columns = {column: at for at, column in enumerate(c for c in scores if c[-1] in GROUP_METRICS)}
    intervals = bootstrap_lifts(
        np.stack([scores[column] for column in columns], axis=-1),
        [(columns[own], columns[other]) for own, other in (pairs[at] for at in tested)],
    )
    for at, interval in zip(tested, intervals, strict=True):
        found[at] |= asdict(interval)
    return found


def _select(
    arm: Sequence[Mapping[str, Scores]], group: str, name: str
) -> list[np.ndarray[Any, Any]]:
    """One metric of the users of a group, an array per seed."""
    return [scores[group][name] for scores in arm]


def _summarize_scores(own: Sequence[np.ndarray[Any, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds."""
    per_seed = [float(scores.mean()) for scores in own]
    return {
        "mean": fmean(per_seed),
        "sd": stdev(per_seed) if len(per_seed) > 1 else None,
        "per_seed": per_seed,
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
    shares: list[float | None] = []
    needed: list[int | None] = []
    seconds: list[float | None] = []
    for run, reference in zip(own, base, strict=True):
        monitor = run.train.monitor
        random = read_run_table(folder / reference.label / "epochs.csv", [monitor])[monitor]
        mine = read_run_table(folder / run.label / "epochs.csv", [monitor, "seconds"])
        scores, best = mine[monitor], max(random.to_list())
        epochs = _find_first(scores >= CONVERGED * best)
        shares.append(scores[0] / best if best else None)
        needed.append(epochs)
        seconds.append(None if epochs is None else float(mine["seconds"][1 : epochs + 1].sum()))
    return {
        "start_share": shares,
        "epochs_to_99_percent": needed,
        "seconds_to_99_percent": seconds,
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


def control_rows(entries: Sequence[SummaryEntry]) -> list[tuple[SummaryEntry, str]]:
    """List every entry whose arm is compared with a control of it, once per control."""
    return [
        (entry, control)
        for entry in entries
        for control in CONTROLS.get(entry["arm"], ())
        if control in entry.get("against", {})
    ]


def best_entry(entries: Sequence[SummaryEntry]) -> SummaryEntry:
    """Find the entry with the highest headline metric."""
    return max(entries, key=lambda entry: float(entry["test"][HEADLINE_METRIC]["mean"]))
