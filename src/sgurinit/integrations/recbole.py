"""RecBole 1.2: starts in the order of its internal ids, for any of its models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from sgurinit.core import SGURInit, UserStart
from sgurinit.errors import InputError
from sgurinit.integrations._alignment import align_features
from sgurinit.integrations._alignment import fit_start as _fit_start


def fit_start(
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
        The first loader that ``data_preparation`` returns.
    features : mapping of str to ItemFeatures or ndarray
        Features by modality, one row per item, in any order.
    item_ids : sequence
        External id of each row, as in RecBole's files.
    estimator : SGURInit, optional
        Parameters of the method. ``SGURInit(random_state=0)`` by default.

    Returns
    -------
    UserStart
        One row per internal id, including RecBole's padding row 0.

    Raises
    ------
    InputError
        No id is known to RecBole, or an id occurs twice.

    See Also
    --------
    sgurinit.integrations.torch.attach : Fills the tables of a RecBole model.

    Examples
    --------
    ```python
    train_data, valid_data, test_data = data_preparation(config, dataset)
    model = get_model("BPR")(config, train_data.dataset)
    attach(model, fit_start(train_data, {"image": vectors}, item_ids))
    ```
    """
    dataset = train_data.dataset
    tokens = dataset.field2id_token[dataset.iid_field]
    matrix = dataset.inter_matrix(form="csr")
    return _fit_start(matrix, align_features(features, item_ids, tokens), estimator)


@torch.no_grad()
def copy_preloaded_(
    model: torch.nn.Module, dataset: Any, field: str = "uid", table: str = "user_embedding"
) -> None:
    """Copy vectors that RecBole loaded, such as a ``.useremb`` file, into a model's table.

    RecBole's stock models do not use preloaded vectors on their own.

    Parameters
    ----------
    model : Module
        A freshly built RecBole model.
    dataset : recbole.data.dataset.Dataset
        The data set that loaded the file.
    field : str, default "uid"
        Name of the id field of the loaded vectors.
    table : str, default "user_embedding"
        Name of the embedding layer to fill.

    Raises
    ------
    InputError
        No vectors of this field were loaded, or their width differs from the table's.

    See Also
    --------
    fit_start : Fits a start directly, without a file.

    Examples
    --------
    ```python
    model = get_model("BPR")(config, train_data.dataset)
    copy_preloaded_(model, train_data.dataset)
    ```
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
