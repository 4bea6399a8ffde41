"""Tables that keep their start: freezing them before training."""

from __future__ import annotations

from typing import cast

from torch import nn
from torch.nn.utils import parametrize

from sgurinit.errors import InputError
from sgurinit.handover.checks import class_name
from sgurinit.handover.projection import ThroughProjection
from sgurinit.models.base import Recommender


def freeze_(model: Recommender) -> None:
    """Exclude user tables, and item tables that share a free space, from training.

    In MMRec and in the library of the method's authors, MMGCN behaves like this: its tables are not
    among the model's parameters. Call `freeze_` after the tables are filled.

    Parameters
    ----------
    model : Recommender
        Any model.

    Raises
    ------
    InputError
        `model` is not a `Recommender`, or would have nothing left to train.

    See Also
    --------
    hand_over : Fills the tables.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> from sgurinit.models import VBPR
    >>> model = VBPR(planted(200, 100))
    >>> freeze_(model)
    >>> sorted({name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad})
    ['content_biases', 'item_bias', 'projections']
    """
    check_freezable(model)
    for table in model.user_tables():
        if table.parameter.is_leaf:
            table.parameter.requires_grad_(False)
        if table.items is not None:
            table.items.requires_grad_(False)
    for module in model.modules():
        if isinstance(module, parametrize.ParametrizationList) and any(
            isinstance(step, ThroughProjection) for step in module
        ):
            cast(nn.Parameter, module.original).requires_grad_(False)


def check_freezable(model: Recommender) -> None:
    """Refuse to freeze a model that consists of user and item tables only.

    Parameters
    ----------
    model : Recommender
        Any model.

    Raises
    ------
    InputError
        `model` is not a `Recommender`, or would have nothing left to train.

    See Also
    --------
    freeze_ : Freezes the tables.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> from sgurinit.models import VBPR
    >>> check_freezable(VBPR(planted(200, 100)))
    """
    if not isinstance(model, Recommender):
        raise InputError(
            f"model is of type {type(model).__name__}, expected a sgurinit.models.Recommender"
        )
    tables = model.user_tables()
    frozen = {id(p) for table in tables for p in (table.parameter, table.items)}
    if all(id(p) in frozen for p in model.parameters()):
        raise InputError(
            f"freeze leaves {class_name(model)} nothing to train: it has only user and item tables"
        )
