"""Cornac 3: initial parameters of its models with user factors, from its own modalities."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from sgurinit.core import ItemFeatures, SGURInit, UserStart
from sgurinit.core.inputs.arrays import Float32Array
from sgurinit.errors import InputError
from sgurinit.handover import DEFAULT_SCALE, Scale
from sgurinit.integrations._alignment import fit_start as _fit_start
from sgurinit.integrations._numpy_tables import fill_copies, fill_projected_copy

_MODALITIES = ("item_feature", "item_image", "item_text")


@dataclass(frozen=True)
class _Factors:
    """Names of a model's factors.

    Attributes
    ----------
    users, items : str
        In the model's ``init_params``.
    user_rows, item_rows : str
        As attributes of the model.
    """

    users: str
    items: str
    user_rows: str
    item_rows: str


_MF = _Factors("U", "V", "u_factors", "i_factors")
FACTORS = {
    "BPR": _MF,
    "WBPR": _MF,
    "MF": _MF,
    "SVD": _MF,
    "WMF": _Factors("U", "V", "U", "V"),
    "VBPR": _Factors("Gu", "Gi", "gamma_user", "gamma_item"),
}


def fit_start(train_set: Any, *, estimator: SGURInit | None = None) -> UserStart:
    """Fit a start on a Cornac training set and the item modalities that it carries.

    Parameters
    ----------
    train_set : cornac.data.Dataset
        ``eval_method.train_set``, with ``item_feature``, ``item_image`` or ``item_text``.
    estimator : SGURInit, optional
        Parameters of the method. ``SGURInit(random_state=0)`` by default.

    Returns
    -------
    UserStart
        In the order of the training set's own indices.

    Raises
    ------
    InputError
        There is no item modality with features, or one has no ids.

    See Also
    --------
    init_params : Initial parameters of a model from this start.

    Examples
    --------
    ```python
    split = cornac.eval_methods.RatioSplit(
        triples, item_image=ImageModality(features=vectors, ids=item_ids)
    )
    start = fit_start(split.train_set, estimator=SGURInit(random_state=0))
    ```
    """
    shape = (train_set.num_users, train_set.num_items)
    known = sp.coo_array(train_set.csr_matrix)
    matrix = sp.csr_array((known.data, known.coords), shape=shape)
    features = {}
    for name in _MODALITIES:
        modality = getattr(train_set, name, None)
        if getattr(modality, "features", None) is not None:
            features[name.removeprefix("item_")] = _ordered(name, modality, train_set, shape[1])
    if not features:
        raise InputError(
            f"the training set has no item features: give {', '.join(_MODALITIES)} to the "
            "evaluation method"
        )
    return _fit_start(matrix, features, estimator)


def init_params(
    model: Any,
    train_set: Any,
    *,
    start: UserStart | None = None,
    scale: Scale = DEFAULT_SCALE,
    fill_items: bool = True,
) -> dict[str, Float32Array]:
    """Compute initial parameters of a Cornac model.

    Parameters
    ----------
    model : cornac.models.Recommender
        The model as it will be trained. Its class, width and seed are read; it is not changed.
    train_set : cornac.data.Dataset
        The set that it will be trained on.
    start : UserStart, optional
        What `fit_start` returns. Fitted here by default.
    scale : float > 0, {"table", "items"} or None, default 4.0
        Mean row norm of the filled rows, see `sgurinit.hand_over`.
    fill_items : bool, default True
        Also fill the item table that shares a free space, from the same items.

    Returns
    -------
    dict of str to ndarray
        For ``model.clone({"init_params": ...})``. For VBPR it contains the projection of the
        features too, because the visual users are computed in the space of this projection.

    Raises
    ------
    InputError
        The model has no user factors, the features are missing, or the start's `preprocess` has no
        effect on these factors.

    See Also
    --------
    fit_start : Fits the start.

    Examples
    --------
    ```python
    model = cornac.models.BPR(k=64, seed=1)
    params = init_params(model, split.train_set)
    model.clone({"init_params": params}).fit(split.train_set)
    ```
    """
    kind = type(model).__name__
    if kind not in FACTORS:
        raise InputError(
            f"{kind} has no user factors; models with user factors are {', '.join(FACTORS)}"
        )
    names = FACTORS[kind]
    start = fit_start(train_set) if start is None else start
    own = deepcopy(model)
    own.trainable = False  # only draws its random values
    own.fit(train_set)
    rows, item_rows = getattr(own, names.user_rows), getattr(own, names.item_rows)
    users, items = fill_copies(rows, item_rows, start, scale=scale, fill_items=fill_items)
    params = {names.users: users, names.items: items}
    if kind == "VBPR":
        projected = torch.tensor(np.asarray(own.theta_item))
        params["Tu"] = fill_projected_copy(own.theta_user, projected, start, "image", scale=scale)
        params["E"] = np.asarray(own.emb_matrix, dtype=np.float32)
    return params


def _ordered(name: str, modality: Any, train_set: Any, n_items: int) -> ItemFeatures:
    if modality.ids is None:
        raise InputError(f"{name} has no ids: create the modality with ids=[...]")
    ids, rows = list(modality.ids), np.asarray(modality.features)
    position = {key: at for at, key in enumerate(ids)}
    values = np.zeros((n_items, rows.shape[1]), dtype=np.float32)
    present = np.zeros(n_items, dtype=bool)
    for key, at in train_set.iid_map.items():
        # A modality that has been built keeps each row at the position of its item in the training
        # set. The ids of rows that were moved for that occur twice.
        row = at if at < len(ids) and ids[at] == key else position.get(key)
        if row is not None:
            values[at], present[at] = rows[row], True
    return ItemFeatures(values, present)
