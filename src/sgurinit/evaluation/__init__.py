"""Full ranking, its metrics, and paired tests between arms."""

from sgurinit.evaluation.metrics import CUTOFFS, METRICS, per_user_metrics
from sgurinit.evaluation.ranking import FullRanking, top_k
from sgurinit.evaluation.significance import PairedTest, paired_test

__all__ = [
    "CUTOFFS",
    "METRICS",
    "FullRanking",
    "PairedTest",
    "paired_test",
    "per_user_metrics",
    "top_k",
]
