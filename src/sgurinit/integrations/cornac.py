"""Cornac 3: initial parameters for its models with user factors, from its own modalities."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from sgurinit.core import ItemFeatures, SGURInit, UserStart
from sgurinit.core.inputs.features import Float32Array
from sgurinit.errors import InputError
from sgurinit.handover import TIMES, Scale
from sgurinit.integrations._alignment import start_on
from sgurinit.integrations._numpy_tables import projected, started

MODALITIES = ("item_feature", "item_image", "item_text")


@dataclass(frozen=True)
class Factors:
    """Names of a model's factors in `init_params` and on the model."""

    users: str
    items: str
    user_rows: str
    item_rows: str


_MF = Factors("U", "V", "u_factors", "i_factors")
MODELS = {
    "BPR": _MF,
    "WBPR": _MF,
    "MF": _MF,
    "SVD": _MF,
    "WMF": Factors("U", "V", "U", "V"),
    "VBPR": Factors("Gu", "Gi", "gamma_user", "gamma_item"),
}


def start_for(train_set: Any, *, estimator: SGURInit | None = None) -> UserStart:
    """Fit a start on a Cornac training set and the item modalities that it carries.

    Parameters
    ----------
    train_set : cornac.data.Dataset
        ``eval_method.train_set``, with ``item_feature``, ``item_image`` or ``item_text``.
    estimator : SGURInit, optional
        Parameters of the method; its defaults where None.

    Returns
    -------
    UserStart
        In the order of the set's own indices.

    Raises
    ------
    InputError
        There is no item modality with features, or one has no ids.
    """
    shape = (train_set.num_users, train_set.num_items)
    known = sp.coo_array(train_set.csr_matrix)
    matrix = sp.csr_array((known.data, known.coords), shape=shape)
    features = {}
    for name in MODALITIES:
        modality = getattr(train_set, name, None)
        if getattr(modality, "features", None) is not None:
            features[name.removeprefix("item_")] = _ordered(name, modality, train_set, shape[1])
    if not features:
        raise InputError(
            f"the training set has no item features: give {', '.join(MODALITIES)} to the "
            "evaluation method"
        )
    return start_on(matrix, features, estimator)


def init_params(
    model: Any,
    train_set: Any,
    *,
    start: UserStart | None = None,
    scale: Scale = TIMES,
    fill_items: bool = True,
) -> dict[str, Float32Array]:
    """Initial parameters of a Cornac model.

    Parameters
    ----------
    model : cornac.models.Recommender
        The model as it will be trained, for its kind, width and seed; it is left as it is.
    train_set : cornac.data.Dataset
        The set that it will be trained on.
    start : UserStart, optional
        What `start_for` gives; fitted here where None.
    scale : float > 0, {"table", "items"} or None, default 4.0
        See `sgurinit.hand_over`.
    fill_items : bool, default True
        See `sgurinit.hand_over`.

    Returns
    -------
    dict of str to ndarray
        For ``model.clone({"init_params": ...})``. VBPR gets the projection of its features, too:
        its visual users start in the space of that very projection.

    Raises
    ------
    InputError
        The model takes no user factors, the features are missing, or the start's `preprocess` has
        no effect on these factors.
    """
    kind = type(model).__name__
    if kind not in MODELS:
        raise InputError(f"{kind} is none of the models with user factors: {', '.join(MODELS)}")
    names = MODELS[kind]
    start = start_for(train_set) if start is None else start
    own = deepcopy(model)
    own.trainable = False  # its own random start, nothing more
    own.fit(train_set)
    rows, item_rows = getattr(own, names.user_rows), getattr(own, names.item_rows)
    users, fixed = started(rows, item_rows, start, scale=scale, fill_items=fill_items)
    params = {names.users: users, names.items: fixed}
    if kind == "VBPR":
        seen = torch.tensor(np.asarray(own.theta_item))
        params["Tu"] = projected(own.theta_user, seen, start, "image", scale=scale)
        params["E"] = np.asarray(own.emb_matrix, dtype=np.float32)
    return params


def _ordered(name: str, modality: Any, train_set: Any, n_items: int) -> ItemFeatures:
    if modality.ids is None:
        raise InputError(f"{name} has no ids: make the modality with ids=[...]")
    ids, rows = list(modality.ids), np.asarray(modality.features)
    position = {key: at for at, key in enumerate(ids)}
    values = np.zeros((n_items, rows.shape[1]), dtype=np.float32)
    present = np.zeros(n_items, dtype=bool)
    for key, at in train_set.iid_map.items():
        # A modality that has been built has the row where the set has the item; the ids of rows
        # that were moved aside come twice.
        where = at if at < len(ids) and ids[at] == key else position.get(key)
        if where is not None:
            values[at], present[at] = rows[where], True
    return ItemFeatures(values, present)
