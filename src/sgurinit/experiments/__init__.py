"""Comparisons of models, arms and seeds: runs in folders, tables and significance tests."""

from sgurinit.experiments.comparison import (
    Comparison,
    compare,
    load_comparison,
    train_and_test,
)
from sgurinit.experiments.events import RunEvent
from sgurinit.experiments.plan import comparison_settings, shared_fields
from sgurinit.experiments.settings import ComparisonSettings, RunSettings
from sgurinit.experiments.study import Study

__all__ = [
    "Comparison",
    "ComparisonSettings",
    "RunEvent",
    "RunSettings",
    "Study",
    "compare",
    "comparison_settings",
    "load_comparison",
    "shared_fields",
    "train_and_test",
]
