"""Interactions, splits, item features and ids: read from disk, downloaded or generated."""

from __future__ import annotations

from sgurinit.data._load import load_dataset
from sgurinit.data._planted import PlantedData, plant, planted
from sgurinit.data._titles import item_titles
from sgurinit.data.dataset import SPLITS, Dataset, Interactions
from sgurinit.data.hold_out import hold_out_items
from sgurinit.data.layouts.native import write_native
from sgurinit.data.layouts.registry import RecognizedLayout, recognize_layout
from sgurinit.data.shipped import xwines
from sgurinit.data.summary import DatasetSummary, ModalitySummary, summarize

__all__ = [
    "SPLITS",
    "Dataset",
    "DatasetSummary",
    "Interactions",
    "ModalitySummary",
    "PlantedData",
    "RecognizedLayout",
    "hold_out_items",
    "item_titles",
    "load_dataset",
    "plant",
    "planted",
    "recognize_layout",
    "summarize",
    "write_native",
    "xwines",
]
