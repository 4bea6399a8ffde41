"""Full ranking, its metrics, and paired tests between arms."""

from sgurinit.evaluation.groups import group_rankings, item_groups, user_groups
from sgurinit.evaluation.metrics import CUTOFFS, METRICS, per_user_metrics
from sgurinit.evaluation.ranking import FullRanking, top_k
from sgurinit.evaluation.significance import PairedTest, holm, paired_test

__all__ = [
    "CUTOFFS",
    "METRICS",
    "FullRanking",
    "PairedTest",
    "group_rankings",
    "holm",
    "item_groups",
    "paired_test",
    "per_user_metrics",
    "top_k",
    "user_groups",
]
