"""RecBole 1.2: a start in the order of its internal ids, for any of its models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from sgurinit.core import SGURInit, UserStart
from sgurinit.errors import InputError
from sgurinit.integrations._alignment import by_id, start_on


def start_for(
    train_data: Any,
    features: Mapping[str, Any],
    item_ids: Sequence[Any],
    *,
    estimator: SGURInit | None = None,
) -> UserStart:
    """Fit a start on RecBole's own training interactions.

    Parameters
    ----------
    train_data : recbole.data.dataloader.AbstractDataLoader
        The first of what ``data_preparation`` gives.
    features : mapping of str to ItemFeatures or ndarray
        Rows by modality, in any order.
    item_ids : sequence
        The ids of these rows, as in RecBole's files.
    estimator : SGURInit, optional
        Parameters of the method; its defaults where None.

    Returns
    -------
    UserStart
        For ``attach(model, start)``: one row per internal id, RecBole's padding row 0 included.

    Raises
    ------
    InputError
        No id is one of RecBole's.
    """
    dataset = train_data.dataset
    tokens = dataset.field2id_token[dataset.iid_field]
    matrix = dataset.inter_matrix(form="csr")
    return start_on(matrix, by_id(features, item_ids, tokens), estimator)


@torch.no_grad()
def use_preloaded(
    model: torch.nn.Module, dataset: Any, field: str = "uid", table: str = "user_embedding"
) -> None:
    """Fill a model's table from vectors that RecBole loaded, as from a ``.useremb`` file.

    RecBole hands preloaded vectors to models that ask for them, which its stock ones don't.

    Parameters
    ----------
    model : Module
        A freshly built model of RecBole's.
    dataset : recbole.data.dataset.Dataset
        The data set that loaded the file.
    field : str, default "uid"
        Id field of the loaded vectors.
    table : str, default "user_embedding"
        The embedding layer to fill.

    Raises
    ------
    InputError
        Nothing was loaded under this field, or its width is another than the table's.
    """
    if field not in dataset._preloaded_weight:
        raise InputError(
            f"RecBole has loaded no vectors of {field!r}: its config needs additional_feat_suffix, "
            "load_col, alias_of_user_id and preload_weight, as `sgurinit convert` prints them"
        )
    rows = torch.as_tensor(dataset.get_preload_weight(field))
    weight = model.get_parameter(f"{table}.weight")
    if rows.shape != weight.shape:
        raise InputError(
            f"the loaded vectors have shape {tuple(rows.shape)}, {table} {tuple(weight.shape)}; "
            "set embedding_size to their width"
        )
    weight.copy_(rows)
