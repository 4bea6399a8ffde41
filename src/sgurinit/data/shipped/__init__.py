"""Data sets that come with the package. Loading them needs neither a network nor torch."""

from __future__ import annotations

from sgurinit.data.shipped.datasets import SHIPPED, dataset_folder, xwines

__all__ = ["SHIPPED", "dataset_folder", "xwines"]
