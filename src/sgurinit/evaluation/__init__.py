"""Evaluation: full ranking, metrics, groups of items and users, comparisons between arms."""

from sgurinit.evaluation.bootstrap import LiftInterval, bootstrap_lift, bootstrap_lifts
from sgurinit.evaluation.groups import group_items, group_users, make_group_rankings
from sgurinit.evaluation.metrics import CUTOFFS, METRICS, compute_metrics
from sgurinit.evaluation.ranking import FullRanking, top_k
from sgurinit.evaluation.significance import adjust_p_values

__all__ = [
    "CUTOFFS",
    "METRICS",
    "FullRanking",
    "LiftInterval",
    "adjust_p_values",
    "bootstrap_lift",
    "bootstrap_lifts",
    "compute_metrics",
    "group_items",
    "group_users",
    "make_group_rankings",
    "top_k",
]
