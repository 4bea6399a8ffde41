"""HTML pages, each a single self-contained file: one comparison, or two side by side."""

from __future__ import annotations

from sgurinit.report.page.comparison import write_report
from sgurinit.report.page.side_by_side import write_side_by_side

__all__ = ["write_report", "write_side_by_side"]
