"""HTML pages, each one self-contained file: of a comparison, and of two runs side by side."""

from __future__ import annotations

from sgurinit.report.page.comparison import write_report
from sgurinit.report.page.side_by_side import write_side_by_side

__all__ = ["write_report", "write_side_by_side"]
