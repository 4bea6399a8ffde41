"""Handing a start over to a whole model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

from sgurinit.core import UserStart
from sgurinit.errors import InputError
from sgurinit.handover.checks import check_option, check_start, check_switch, class_name
from sgurinit.handover.filling import check_start_preprocess, prepare_fill
from sgurinit.handover.linear import solve_tables_
from sgurinit.handover.projection import prepare_projection
from sgurinit.handover.reports import ProjectedMode, TableReport, Target
from sgurinit.handover.scaling import DEFAULT_SCALE, Scale, mean_norm
from sgurinit.models.base import Recommender, UserTable


def hand_over(
    model: Recommender,
    start: UserStart,
    *,
    scale: Scale = DEFAULT_SCALE,
    fill_items: bool = True,
    projected: ProjectedMode = "once",
    target: Target = "tables",
    tables: Sequence[UserTable] | None = None,
) -> tuple[TableReport, ...]:
    """Fill every user table that `model` declares, in place.

    If any table is refused, the model stays unchanged.

    Parameters
    ----------
    model : Recommender
        A freshly built model.
    start : UserStart
        A start for the users that the model was built for.
    scale : float > 0, {"table", "items"} or None, default 4.0
        Mean row norm of the filled rows. A number: that many times the norm of the table's own
        random rows. ``"table"``: the norm of those. ``"items"``: the norm of the items in the
        table's space. None: rows are not rescaled. An item table is scaled to the norm of its
        random rows, times a number given here.
    fill_items : bool, default True
        Also fill the item table that shares a free space, from the same items. A user's vector only
        has a meaning among the items of the same space.
    projected : {"once", "through", "added"}, default "once"
        How tables in a projected space are filled. ``"once"``: with the users computed on the items
        that the model's projection gives at its initial weights. ``"through"``: the table is
        replaced. Users stay at the width of the features and pass through the model's own, trained
        projection in every step, as items do. ``"added"``: the same users are added to the table,
        which keeps its random values. `scale` does not apply to the last two.
    target : {"tables", "vectors"}, default "tables"
        What becomes the start. ``"tables"``: the tables. ``"vectors"``: the final vectors that the
        model scores with, where they depend linearly on a free table and its items, column by
        column, as in LightGCN. The tables are then the least-squares solution, see
        `sgurinit.handover.linear.solve_tables_`. Other tables are filled as with ``"tables"``; the
        report says which.
    tables : sequence of UserTable, optional
        Which of ``model.user_tables()`` to fill. All by default.

    Returns
    -------
    tuple of TableReport
        In the order of the tables.

    Raises
    ------
    InputError
        `model` is not a `Recommender`, the start is for other users or items, lacks a modality or
        has too few dimensions, a table of zeros would stay zero, or a setting has no effect on
        any table.

    See Also
    --------
    initialize_ : Fills one table of any torch module.
    freeze_ : Excludes the tables from training.

    Examples
    --------
    >>> from sgurinit import SGURInit, hand_over
    >>> from sgurinit.data import planted
    >>> from sgurinit.models import VBPR
    >>> data = planted(200, 100)
    >>> start = SGURInit(random_state=0).fit(data).start_
    >>> [report.space for report in hand_over(VBPR(data), start)]
    ['free', 'projected', 'projected']
    """
    if not isinstance(model, Recommender):
        raise InputError(
            f"model is of type {type(model).__name__}, expected a sgurinit.models.Recommender; "
            "fill any other torch module with sgurinit.integrations.torch.attach or initialize_"
        )
    check_start(start)
    check_option("projected", projected, get_args(ProjectedMode))
    check_option("target", target, get_args(Target))
    check_switch("fill_items", fill_items)
    tables = model.user_tables() if tables is None else tables
    if not isinstance(tables, list | tuple) or not all(isinstance(t, UserTable) for t in tables):
        raise InputError("tables must be a list of the UserTables of model.user_tables()")
    _refuse_foreign(model, tables)
    width = model.config.width
    check_start_preprocess(tables, start)
    check_projected(model, projected)
    writes = [
        prepare_projection(model, table, start, width, keep=projected == "added")
        if table.space == "projected" and projected != "once"
        else prepare_fill(table, start, scale, fill_items=fill_items, width=width)
        for table in tables
    ]
    reports = [write() for write in writes]
    if target == "vectors":
        reports = [_solve_(model, *pair) for pair in zip(tables, reports, strict=True)]
    return tuple(reports)


def _refuse_foreign(model: Recommender, tables: Sequence[UserTable]) -> None:
    names, parameters = {own.name for own in model.user_tables()}, dict(model.named_parameters())
    for table in tables:
        # A table that was handed over with `projected` is a parameter of another name.
        own = parameters.get(table.name, table.parameter)
        if table.name not in names or own is not table.parameter:
            raise InputError(
                f"tables: {table.name} is not a table of this model; expected those of "
                "model.user_tables()"
            )


def _solve_(model: Recommender, table: UserTable, report: TableReport) -> TableReport:
    """Solve for the tables where that is possible."""
    if not report.items_filled or not solve_tables_(model, table):
        return report
    return replace(report, norm_after=mean_norm(table.parameter), target="vectors")


def check_projected(model: Recommender, projected: ProjectedMode) -> None:
    """Refuse `projected` where the model has no table in a projected space.

    Parameters
    ----------
    model : Recommender
        Any model.
    projected : {"once", "through", "added"}
        See `hand_over`.

    Raises
    ------
    InputError
        The value differs from the default and has no effect.

    See Also
    --------
    hand_over : Does this check too.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> from sgurinit.models import VBPR
    >>> check_projected(VBPR(planted(200, 100)), "through")
    """
    if projected != "once" and all(t.space != "projected" for t in model.user_tables()):
        raise InputError(
            f"projected={projected!r} has no effect: {class_name(model)} has no user table in a "
            "projected space"
        )
