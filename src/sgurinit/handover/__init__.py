"""From a start to the user tables of a model. No other module fills tables.

A start is handed over after the model's construction, so the constructor cannot overwrite it and
the model's code does not change.
"""

from sgurinit.handover.filling import fill_tables_, initialize_
from sgurinit.handover.freezing import check_freezable, freeze_
from sgurinit.handover.model import check_projected, hand_over
from sgurinit.handover.reports import (
    HandoverReport,
    ProjectedMode,
    TableReport,
    Target,
    report_unchanged,
)
from sgurinit.handover.scaling import DEFAULT_SCALE, Scale, match_norm_, match_scale
from sgurinit.handover.vectors import check_preprocess

__all__ = [
    "DEFAULT_SCALE",
    "HandoverReport",
    "ProjectedMode",
    "Scale",
    "TableReport",
    "Target",
    "check_freezable",
    "check_preprocess",
    "check_projected",
    "fill_tables_",
    "freeze_",
    "hand_over",
    "initialize_",
    "match_norm_",
    "match_scale",
    "report_unchanged",
]
