"""Comparisons of models, arms and seeds: runs on disk, and one set of tables."""

from sgurinit.experiments.comparison import (
    Comparison,
    compare,
    load_comparison,
    train_and_test,
)
from sgurinit.experiments.run import RunEvent, execute
from sgurinit.experiments.settings import (
    ComparisonSettings,
    RunSettings,
    comparison_settings,
    data_facts,
    shared_fields,
)
from sgurinit.experiments.study import Study

__all__ = [
    "Comparison",
    "ComparisonSettings",
    "RunEvent",
    "RunSettings",
    "Study",
    "compare",
    "comparison_settings",
    "data_facts",
    "execute",
    "load_comparison",
    "shared_fields",
    "train_and_test",
]
