"""Reports on what a start did to the tables of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from sgurinit.handover.scaling import mean_norm
from sgurinit.models.base import TableSpace, UserTable

ProjectedMode: TypeAlias = Literal["once", "through", "added"]
Target: TypeAlias = Literal["tables", "vectors"]


@dataclass(frozen=True)
class TableReport:
    """What a start did to one table. Norms are mean Euclidean norms of the rows.

    Attributes
    ----------
    table : str
        Name of the parameter.
    space : {"free", "raw", "projected"}
        Space of the table, see `UserTable`.
    modality : str or None
        The modality of a raw or projected space, else None.
    norm_before, norm_after : float
        Norm of the user table at its random values and after the hand-over.
    norm_start : float or None
        Norm of the start's rows before they were rescaled. None where the table was not filled.
    norm_items : float or None
        Norm of the items in the table's space. None where the space has no items.
    items_filled : bool
        Whether the item table that shares a free space was filled too.
    columns_filled : int or None
        Number of columns that the start filled. It is below the table's width where the features
        span fewer directions; the other columns keep the model's own random values, rescaled. None
        where the table was not filled.
    projected : {"once", "through", "added"} or None
        How a table in a projected space was filled, see `hand_over`. None for the other spaces.
    target : {"tables", "vectors"}
        What became the start, see `hand_over`.

    See Also
    --------
    HandoverReport : The reports on all tables of a model.

    Examples
    --------
    >>> import torch
    >>> from sgurinit import SGURInit, initialize_
    >>> from sgurinit.data import planted
    >>> start = SGURInit(random_state=0).fit(planted(200, 100)).start_
    >>> report = initialize_(torch.nn.Embedding(200, 16), start)
    >>> report.space, report.columns_filled
    ('free', 16)
    >>> round(report.norm_after / report.norm_before, 3)
    4.0
    """

    table: str
    space: TableSpace
    modality: str | None
    norm_before: float
    norm_after: float
    norm_start: float | None
    norm_items: float | None
    items_filled: bool = False
    columns_filled: int | None = None
    projected: ProjectedMode | None = None
    target: Target = "tables"


@dataclass(frozen=True)
class HandoverReport:
    """What an initializer did to a model.

    Attributes
    ----------
    initializer : str
        Name of the arm.
    tables : tuple of TableReport
        One report per user table.
    start : mapping or None
        Diagnostics of the start as plain data: policies that applied, cluster sizes, norms and the
        semantic gap. None where no start was computed.
    frozen : bool
        Whether the tables are excluded from training, see `freeze_`.

    See Also
    --------
    TableReport : The report on one table.
    sgurinit.arms.Initializer.apply : Returns this report.

    Examples
    --------
    >>> from sgurinit.arms import RandomInitializer
    >>> from sgurinit.data import planted
    >>> from sgurinit.models import LightGCN
    >>> data = planted(200, 100)
    >>> report = RandomInitializer().apply(LightGCN(data), data, seed=0)
    >>> report.initializer, report.start, len(report.tables)
    ('random', None, 1)
    """

    initializer: str
    tables: tuple[TableReport, ...]
    start: Mapping[str, Any] | None = None
    frozen: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, ready for JSON."""
        return asdict(self)


def report_unchanged(tables: Sequence[UserTable]) -> tuple[TableReport, ...]:
    """Report on tables that keep their random values.

    Parameters
    ----------
    tables : sequence of UserTable
        Tables that no start was written to.

    Returns
    -------
    tuple of TableReport
        In the order of the tables. The norms before and after are equal.

    See Also
    --------
    fill_tables_ : Fills tables and reports on them.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> from sgurinit.models import LightGCN
    >>> (report,) = report_unchanged(LightGCN(planted(200, 100)).user_tables())
    >>> report.norm_after == report.norm_before
    True
    """
    reports = []
    for table in tables:
        norm = mean_norm(table.parameter)
        items = table.item_vectors()
        reports.append(
            TableReport(
                table=table.name,
                space=table.space,
                modality=table.modality,
                norm_before=norm,
                norm_after=norm,
                norm_start=None,
                norm_items=None if items is None else mean_norm(items),
            )
        )
    return tuple(reports)
