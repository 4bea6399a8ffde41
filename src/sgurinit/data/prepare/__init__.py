"""Make data sets from raw logs: read, filter, split, check and write."""

from __future__ import annotations

from sgurinit.data.prepare.card import Card, Step
from sgurinit.data.prepare.pipeline import prepare
from sgurinit.data.prepare.sources import COLUMN_NAMES, Source, find_source
from sgurinit.data.prepare.splits import SPLIT_METHODS

__all__ = ["COLUMN_NAMES", "SPLIT_METHODS", "Card", "Source", "Step", "find_source", "prepare"]
