"""SG-URInit as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sgurinit.core.device import find_processor
from sgurinit.core.fit import Fit, FittedStart
from sgurinit.core.inputs.arrays import BoolArray, Float32Array, FloatArray
from sgurinit.core.inputs.features import ItemFeatures
from sgurinit.core.inputs.interactions import InteractionsLike, parse_interactions
from sgurinit.core.inputs.training_data import find_features, is_training_data
from sgurinit.core.params import Parameters, get_default, get_preset
from sgurinit.core.partial_fit import add_interactions
from sgurinit.errors import InputError
from sgurinit.progress import ProgressCallback, no_progress


class SGURInit(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """SG-URInit: a training-free initial vector for every user.

    The defaults are the method as its authors draw it. In each modality a user is the mean, over
    the items of their training interactions, of the item's features (local) and of the centroid of
    the item's cluster (global)::

        U_local  = D_U^-1 R F                 (local_norm="sym": D_U^-1/2 R D_I^-1/2 F)
        U_global = D_U^-1 R Z C               (C, Z: K-means of the items, K clusters)
        U        = w * U_local + (1 - w) * U_global

    Parameters
    ----------
    n_clusters : int >= 1, default 8
        Clusters per modality, K; at most the number of distinct item rows.
    local_weight : float in [0, 1], default 0.5
        Weight w of the local part, the items. The global part, the centroids, has 1 - w.
    local_norm : {"mean", "sym"}, default "mean"
        Local part: the plain mean of a user's items, or symmetric weights, 1 / sqrt(d_u d_i).
    preprocess : sequence of {"center", "unit", "whiten"}, default ()
        Steps applied to each modality's features first, in order. The joint space has its own.
    joint_dim : int in [1, 65536] or None, default None
        Width of the joint space of all modalities, if it is to be computed at fit and saved.
    collaborative : bool, default False
        Whether the joint space also describes items by who uses them, not only by what they are.
        Not part of SG-URInit.
    content_weight : float >= 0 or None, default None
        Weight of the content in a collaborative joint space; 0 for interactions only. None: chosen
        on held-out interactions.
    penalty : float > 0 or None, default None
        Ridge penalty of a collaborative joint space. None: chosen on held-out interactions.
    collaborative_rank : int >= 1 or None, default None
        Directions of the interactions that a collaborative joint space is computed from. None: four
        per column.
    kmeans : {"lloyd", "minibatch", "faiss"}, default "lloyd"
        K-means backend. The last two are for very many items or clusters; faiss needs the extra
        sgurinit[faiss].
    random_state : int, RandomState or None, default None
        Seed of K-means.
    n_jobs : int or None, default None
        Threads, as in scikit-learn: None is 1, -1 all cores. The result does not depend on it.
    device : str, default "cpu"
        What computes: ``"cpu"``, that is NumPy and SciPy, or torch on a card, ``"cuda"`` or
        ``"cuda:1"``. ``"auto"`` is a card where torch finds one, else the CPU. Only for very many
        items or users. The result is the same up to rounding errors, and a start does not record
        the device.

    Attributes
    ----------
    start_ : FittedStart
        The start of every user; a `UserStart` that can also compute users on other items.
    n_users_in_, n_items_in_ : int
        Numbers of users and items in the training interactions.

    See Also
    --------
    UserStart : The result of a fit.
    hand_over : Fills the user tables of a model from a start.
    initialize_ : Fills one user table of any torch module.

    Notes
    -----
    Source: Xu et al., *Well Begun is Half Done* (SIGIR 2026, arXiv 2604.14839). The equation
    follows the authors' figure. The figure's sum of item and centroid is twice the mean that is
    computed here; only the scale differs. Presets (`from_preset`):

    ``published``
        The defaults.
    ``stair``
        An independent re-implementation: ``local_norm="sym"``, ``local_weight=0.1``.
    ``hybrid``
        A variant of this library: ``local_weight=0.9`` and ``collaborative=True``. The joint space
        comes from a closed-form model of the items, of which the content is one part, see
        `sgurinit.core.steps.joint.compute_collaborative_items`.

    The row of a user without training interactions, or without any on an item that has a row in the
    modality, is the mean of the centroids weighted by the interactions on each cluster's items.
    Items without a row are skipped, and the users' sums are renormalized. Duplicate interactions
    count once. ``start_.diagnostics`` counts each case.

    Examples
    --------
    >>> import numpy as np
    >>> from sgurinit import SGURInit
    >>> interactions = np.array([[0, 0], [0, 1], [1, 1], [1, 2]])  # user, item
    >>> features = {"text": np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])}
    >>> start = SGURInit(n_clusters=2, random_state=0).fit(interactions, features).start_
    >>> start.users["text"]
    array([[1. , 0. ],
           [0.5, 0.5]], dtype=float32)
    """

    def __init__(
        self,
        *,
        n_clusters: int = get_default("n_clusters"),
        local_weight: float = get_default("local_weight"),
        local_norm: str = get_default("local_norm"),
        preprocess: Sequence[str] = get_default("preprocess"),
        joint_dim: int | None = get_default("joint_dim"),
        collaborative: bool = get_default("collaborative"),
        content_weight: float | None = get_default("content_weight"),
        penalty: float | None = get_default("penalty"),
        collaborative_rank: int | None = get_default("collaborative_rank"),
        kmeans: str = get_default("kmeans"),
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.n_clusters = n_clusters
        self.local_weight = local_weight
        self.local_norm = local_norm
        self.preprocess = preprocess
        self.joint_dim = joint_dim
        self.collaborative = collaborative
        self.content_weight = content_weight
        self.penalty = penalty
        self.collaborative_rank = collaborative_rank
        self.kmeans = kmeans
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.device = device

    @classmethod
    def from_preset(cls, name: str = "published", **overrides: Any) -> Self:
        """Make an estimator with the parameters of a preset.

        Parameters
        ----------
        name : {"published", "stair", "hybrid"}, default "published"
            Name of the preset, see the notes of the class.
        **overrides
            Parameters of `SGURInit` that replace those of the preset.

        Returns
        -------
        SGURInit

        Raises
        ------
        InputError
            The name is unknown.

        See Also
        --------
        SGURInit : Describes the presets in its notes.

        Examples
        --------
        >>> from sgurinit import SGURInit
        >>> SGURInit.from_preset("stair", n_clusters=4)
        SGURInit(local_norm='sym', local_weight=0.1, n_clusters=4)
        """
        return cls(**(get_preset(name) | overrides))

    def fit(
        self,
        interactions: InteractionsLike,
        features: Mapping[str, Any] | None = None,
        *,
        item_ids: Any = None,
        progress: ProgressCallback = no_progress,
    ) -> Self:
        """Compute the start of every user.

        Parameters
        ----------
        interactions : sparse matrix, edge list, list of items per user, DataFrame or Dataset
            Training interactions, in one of these forms:

            - a SciPy sparse matrix or sparse tensor of shape (n_users, n_items) with weights >= 0.
              Only whether a weight is zero matters;
            - an integer edge list, an ndarray or tensor of shape (n, 2) with a user and an item
              position per row;
            - a list with one list (tuple, set, 1-d array) of items per user. Items are ids where
              `item_ids` is given, otherwise positions. A plain nested list always has this meaning,
              so ``[[0, 1]]`` is one user with two items;
            - a pandas or polars DataFrame or a pyarrow table with columns ``user`` and ``item`` of
              external ids;
            - a `Dataset`.
        features : mapping of str to ItemFeatures, array or column of lists, optional
            Item features by modality: an `ItemFeatures`, an array of shape (n_items, d), or a
            column of lists of numbers (a polars or pandas Series, its object array, or a list of
            lists). Not needed with a `Dataset`, which has its own.
        item_ids : array-like of shape (n_items,), optional
            External id of each feature row. Needed with a DataFrame.
        progress : callable, optional
            Called with the stage, how much of it is done, and how much there is (0 if unknown).

        Returns
        -------
        SGURInit
            Itself, with ``start_``.

        Raises
        ------
        InputError
            A parameter, the interactions or the features are not usable; the message names what.

        See Also
        --------
        partial_fit : Adds interactions, users and items later.
        transform : Users that were not in the fit.
        stream : Interactions that do not fit into memory.

        Examples
        --------
        >>> import numpy as np
        >>> from sgurinit import SGURInit
        >>> features = {"text": np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])}
        >>> estimator = SGURInit(n_clusters=2, random_state=0)
        >>> names = ["tea", "cup", "pot"]
        >>> estimator.fit([["tea", "cup"], ["cup", "pot"]], features, item_ids=names)
        SGURInit(n_clusters=2, random_state=0)
        >>> estimator.start_.users["text"]
        array([[1. , 0. ],
               [0.5, 0.5]], dtype=float32)
        """
        parameters = Parameters.check(self.get_params(deep=False))
        find_processor(self.device)  # before work that a wrong name would waste
        dataset = interactions if features is None and is_training_data(interactions) else None
        tables = find_features(interactions, features)
        n_items = next(iter(tables.values())).n_items
        parsed = parse_interactions(interactions, n_items, item_ids)
        if parsed.matrix.nnz == 0:
            raise InputError("there are no training interactions: at least one is needed")
        fit = Fit(parsed, tables, parameters, dataset=dataset)
        fit = replace(fit, n_jobs=self.n_jobs, device=self.device)
        fit = replace(fit, spaces=fit.fit_spaces(progress))
        users = {}
        for name, space in fit.spaces.items():
            progress(f"users of {name}", 0, 0)
            users[name] = fit.compute_users(space)
        if parameters.joint_dim is not None:
            progress("joint space", 0, 0)
        return self._keep(fit, users)

    def partial_fit(
        self,
        interactions: InteractionsLike,
        features: Mapping[str, Any] | None = None,
        *,
        item_ids: Any = None,
    ) -> Self:
        """Add interactions to a fit, of known or new users and with known or new items.

        The result equals that of a fit on all of the data, but only what changes is computed. A
        user's row changes with an interaction that is new for them or, under ``local_norm="sym"``,
        for one of their items. New items change the clusters, so they change every row. With
        ``collaborative``, as in the preset ``hybrid``, the joint space is computed again, so the
        joint vectors of every user and every item change: export both again. ``start_`` becomes a
        new object; the old one does not change.

        Parameters
        ----------
        interactions : sparse matrix, edge list, list of items per user, DataFrame or Dataset
            New interactions, in the forms that `fit` takes. New positions continue after the known
            ones. New users of a DataFrame come last, in the order of their ids. In a list, the
            first entry has the items of the user at position 0. Where the fit knows users by id,
            pass a DataFrame: a list of items per user has no user ids.
        features : mapping of str to ItemFeatures, array or column of lists, optional
            Features of the new items only, as in `fit`, with n_new_items rows. In a modality that
            is left out, no new item has a row.
        item_ids : array-like of shape (n_new_items,), optional
            Ids of the new items, where the fit knows items by id.

        Returns
        -------
        SGURInit
            Itself. The first call is a `fit`.

        Raises
        ------
        InputError
            The interactions or features are not usable or do not match the fit, or parameters were
            changed since.

        See Also
        --------
        fit : The first computation.
        transform : New users, without changing the fit.

        Examples
        --------
        >>> import numpy as np
        >>> from sgurinit import SGURInit
        >>> features = {"text": np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])}
        >>> estimator = SGURInit(n_clusters=2, random_state=0).fit([[0, 1], [1, 2]], features)
        >>> estimator.partial_fit(np.array([[2, 2]])).start_.users["text"]  # a third user
        array([[1. , 0. ],
               [0.5, 0.5],
               [0. , 1. ]], dtype=float32)
        """
        if not hasattr(self, "start_"):
            return self.fit(interactions, features, item_ids=item_ids)
        known = self.start_.fit.parameters
        now = Parameters.check(self.get_params(deep=False) | {"random_state": known.seed})
        if now != known:
            raise InputError("parameters were changed since the fit: fit on all of the data again")
        return self._keep(
            *add_interactions(self._fit, self.start_.users, interactions, features, item_ids)
        )

    @property
    def _fit(self) -> Fit:
        """The fit, computed further with today's `n_jobs` and `device`."""
        return replace(self.start_.fit, n_jobs=self.n_jobs, device=self.device)

    def _keep(self, fit: Fit, users: Mapping[str, Float32Array]) -> Self:
        if fit.parameters.joint_dim is not None:
            fit.fit_joint_space(fit.parameters.joint_dim)
        self.start_ = FittedStart(fit, users)
        self.n_users_in_, self.n_items_in_ = self.start_.n_users, self.start_.n_items
        return self

    def transform(self, interactions: InteractionsLike) -> dict[str, Float32Array]:
        """Compute the start of other users from their interactions with the same items.

        Clusters, item degrees and the row of users without interactions are those of the fit, so
        the training interactions give the rows of the fit.

        Parameters
        ----------
        interactions : sparse matrix, edge list, list of items per user, DataFrame or Dataset
            Interactions with the items of the fit, in the forms that `fit` takes. In a list, items
            are ids where the fit knows items by id, otherwise positions, and an empty list is a
            user without interactions. Users of a DataFrame come in the order of their sorted ids,
            those of the other forms in their own order.

        Returns
        -------
        dict of str to ndarray of float32, shape (n_users, d_m)
            Users' rows by modality, and under ``"joint"`` those of the joint space where
            ``joint_dim`` is set.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            There was no `fit` before.
        InputError
            The interactions are not usable.

        See Also
        --------
        on : Users in the space of any item vectors, such as a trained model's.
        partial_fit : Adds the interactions to the fit.

        Examples
        --------
        >>> import numpy as np
        >>> from sgurinit import SGURInit
        >>> features = {"text": np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])}
        >>> estimator = SGURInit(n_clusters=2, random_state=0)
        >>> _ = estimator.fit([["tea", "cup"]], features, item_ids=["tea", "cup", "pot"])
        >>> estimator.transform([["tea", "pot"], ["pot"]])["text"]
        array([[0.5, 0.5],
               [0. , 1. ]], dtype=float32)
        """
        check_is_fitted(self, "start_")
        fit = self._fit
        matrix = parse_interactions(interactions, self.n_items_in_, self.start_.item_ids).matrix
        spaces = dict(fit.spaces)
        if fit.parameters.joint_dim is not None:
            spaces["joint"] = fit.fit_joint_space(fit.parameters.joint_dim).space
        processor = find_processor(self.device)
        return {
            name: space.compute_users(matrix, self.n_jobs, processor)
            for name, space in spaces.items()
        }

    def stream(
        self,
        interactions: str | Path | Sequence[str | Path],
        features: Mapping[str, Any],
        out: str | Path,
        *,
        item_ids: Any = None,
        tables: Sequence[str] | None = None,
        layout: str = "npy",
        dtype: str = "float32",
        columns: tuple[str, str] = ("user", "item"),
        progress: ProgressCallback = no_progress,
    ) -> Path:
        """Compute the start of every user from files of any size and write it to a folder.

        The estimator stays unfitted: the result is the folder, not ``start_``. Its numbers are the
        same as those of `fit`. Memory holds the items, one count per user and one range of users at
        a time, never all interactions or all rows. Interrupted work stays in a hidden folder beside
        `out`, and the same call resumes it.

        Parameters
        ----------
        interactions : path or sequence of paths
            Parquet files with `columns` for users and items, folders of them or patterns, in any
            order; or one ``.npy`` edge list. They hold external ids if `item_ids` is given,
            otherwise positions.
        features : mapping of str to ItemFeatures, array or column of lists
            Item features by modality, as in `fit`; best an array of shape (n_items, d) that is
            memory-mapped: ``np.load(file, mmap_mode="r")``.
        out : path
            Folder to create. It holds ``start.json`` with sizes, parameters and the list of files,
            ``items.safetensors`` with the clusters, the users in the order of their ids, and with
            the joint space ``items.parquet``: a column ``item`` of external ids (without `item_ids`
            of positions) and a column ``joint`` with the vector of each item.
        item_ids : array-like of shape (n_items,), optional
            External id of each feature row.
        tables : sequence of str, optional
            Modalities to compute users for, and ``"joint"`` for the joint space of width
            ``joint_dim``; all by default. Collaborative columns need ``joint_dim``.
        layout : {"npy", "parquet"}, default "npy"
            ``"npy"``: ``users/<table>.npy``, to be memory-mapped, with ``user_ids.parquet`` where
            users have ids. ``"parquet"``: ``users/part-*.parquet`` with a column ``user`` and one
            column per table.
        dtype : {"float32", "float16", "bfloat16"}, default "float32"
            Type that the users are stored in. bfloat16 needs the layout ``"npy"``; read it with
            `sgurinit.core.inputs.features.restore_bfloat16`.
        columns : (str, str), default ("user", "item")
            Columns of the Parquet files with the users and with the items.
        progress : callable, optional
            Called with the stage, how much of it is done, and how much there is (0 if unknown).

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        InputError
            A parameter, a file or a feature is not usable, or `out` exists already.

        See Also
        --------
        fit : Interactions that fit into memory.

        Examples
        --------
        >>> import numpy as np
        >>> from sgurinit import SGURInit
        >>> np.save("edges.npy", np.array([[0, 0], [0, 1], [1, 1], [1, 2]]))
        >>> features = {"text": np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])}
        >>> out = SGURInit(n_clusters=2, random_state=0).stream("edges.npy", features, "starts")
        >>> np.load(out / "users" / "text.npy")
        array([[1. , 0. ],
               [0.5, 0.5]], dtype=float32)
        """
        # Imported here, so that a fit loads neither polars nor safetensors.
        from sgurinit.core.stream.request import StreamRequest  # noqa: PLC0415
        from sgurinit.core.stream.run import read_interrupted_seed, run_stream  # noqa: PLC0415

        parameters, out = Parameters.check(self.get_params(deep=False)), Path(out)
        if self.random_state is None and (seed := read_interrupted_seed(out)) is not None:
            parameters = replace(parameters, seed=seed)
        request = StreamRequest.check(
            interactions,
            features,
            parameters,
            item_ids=item_ids,
            tables=tables,
            layout=layout,
            dtype=dtype,
            columns=columns,
        )
        processor = find_processor(self.device)
        run_stream(request, out, n_jobs=self.n_jobs, processor=processor, progress=progress)
        return out

    def on(
        self,
        items: FloatArray,
        interactions: InteractionsLike | None = None,
        *,
        present: BoolArray | None = None,
    ) -> Float32Array:
        """Compute users in the space of any item vectors, such as a trained model's.

        New users of a deployed model get their vectors this way, without training. Interactions
        and parameters give the weights, and the given vectors take the place of the features.

        Parameters
        ----------
        items : ndarray of shape (n_items, d)
            Vectors of the items of the fit.
        interactions : sparse matrix, edge list, list, DataFrame or Dataset, optional
            Interactions of the users to compute, as for `transform`; those of the fit by default.
        present : ndarray of bool, shape (n_items,), optional
            Which items have a vector; all by default.

        Returns
        -------
        ndarray of float32, shape (n_users, d)

        Raises
        ------
        sklearn.exceptions.NotFittedError
            There was no `fit` before.
        InputError
            The vectors or the interactions are not usable.

        See Also
        --------
        transform : Users in the space of the features.
        UserStart.on : The users of the fit.

        Examples
        --------
        >>> from sgurinit import SGURInit
        >>> from sgurinit.data import planted
        >>> data = planted(200, 100)
        >>> estimator = SGURInit(random_state=0).fit(data)
        >>> vectors = data.features["text"].values[:, :5]  # those of a model, say
        >>> estimator.on(vectors, [data.item_ids[:3]]).shape
        (1, 5)
        """
        check_is_fitted(self, "start_")
        space = self._fit.fit_space(ItemFeatures(items, present))
        if interactions is None:
            return self._fit.compute_users(space)
        matrix = parse_interactions(interactions, self.n_items_in_, self.start_.item_ids).matrix
        return space.compute_users(matrix, self.n_jobs, find_processor(self.device))
