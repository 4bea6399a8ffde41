"""SG-URInit as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sgurinit.core.fit import Fit, FittedStart
from sgurinit.core.inputs.arrays import BoolArray, Float32Array, FloatArray
from sgurinit.core.inputs.features import ItemFeatures, as_features
from sgurinit.core.inputs.interactions import InteractionsLike, parse_interactions
from sgurinit.core.inputs.training_data import TrainingData
from sgurinit.core.params import Parameters, default, preset
from sgurinit.core.partial_fit import add_interactions
from sgurinit.errors import InputError
from sgurinit.progress import ProgressCallback, no_progress


class SGURInit(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Training-free, semantically guaranteed start for every user.

    By default the method as its authors draw it: in each modality a user is the mean, over the
    items of their training interactions, of the item's features (local) and of the centroid of the
    item's cluster (global)::

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
    joint_dim : int >= 1 or None, default None
        Width of the joint space of all modalities, if it is to be computed at fit and saved.
    collaborative : float in [0, 1], default 0.0
        Share of the joint space's columns that are collaborative: who uses an item, not what it is.
        Not part of SG-URInit.
    collaborative_rank : int >= 1 or None, default None
        Upper limit on the number of collaborative columns; content takes the columns it saves.
    content : bool, default True
        Whether the joint space has content. Without it collaborative columns stand alone, and the
        others stay empty.
    kmeans : {"lloyd", "minibatch", "faiss"}, default "lloyd"
        K-means backend. The last two are for very many items or clusters; faiss needs the extra
        sgurinit[faiss].
    random_state : int, RandomState or None, default None
        Seed of K-means.
    n_jobs : int or None, default None
        Threads for the users' sums: None is 1, -1 all cores. The result does not depend on it.

    Attributes
    ----------
    start_ : UserStart
        The start of every user.
    n_users_in_, n_items_in_ : int
        Size of the training interactions.

    See Also
    --------
    UserStart : What a fit computes.
    hand_over : Fills the user tables of a model.

    Notes
    -----
    Xu et al., *Well Begun is Half Done* (SIGIR 2026, arXiv 2604.14839). The equation follows the
    authors' own figure; the figure's sum of item and centroid is twice the mean that is computed
    here, which differs in scale alone. Presets (`from_preset`):

    ``published``
        The defaults.
    ``stair``
        An independent re-implementation: ``local_norm="sym"``, ``local_weight=0.1``.
    ``hybrid``
        This library's own: half of the joint space's columns, at most 32, are collaborative, see
        `sgurinit.core.steps.collaborative.collaborative_items`.

    Users without a training interaction, or without any on an item with a row in the modality,
    start from the mean of the centroids weighted by the interactions on each cluster's items.
    Items without a row are skipped by their users' sums, which are renormalised. Duplicate
    interactions count once. ``start_.diagnostics`` counts each case.

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
        n_clusters: int = default("n_clusters"),
        local_weight: float = default("local_weight"),
        local_norm: str = default("local_norm"),
        preprocess: Sequence[str] = default("preprocess"),
        joint_dim: int | None = default("joint_dim"),
        collaborative: float = default("collaborative"),
        collaborative_rank: int | None = default("collaborative_rank"),
        content: bool = default("content"),
        kmeans: str = default("kmeans"),
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.local_weight = local_weight
        self.local_norm = local_norm
        self.preprocess = preprocess
        self.joint_dim = joint_dim
        self.collaborative = collaborative
        self.collaborative_rank = collaborative_rank
        self.content = content
        self.kmeans = kmeans
        self.random_state = random_state
        self.n_jobs = n_jobs

    @classmethod
    def from_preset(cls, name: str = "published", **overrides: Any) -> Self:
        """Make an estimator with the parameters of a preset.

        Parameters
        ----------
        name : {"published", "stair", "hybrid"}, default "published"
            Name of the preset, see the notes of the class.
        **overrides
            Parameters to set on top of it.

        Returns
        -------
        SGURInit

        Raises
        ------
        InputError
            When the name is unknown.

        Examples
        --------
        >>> SGURInit.from_preset("stair", n_clusters=4)
        SGURInit(local_norm='sym', local_weight=0.1, n_clusters=4)
        """
        return cls(**(preset(name) | overrides))

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
        interactions : sparse matrix, edge list, DataFrame or Dataset
            Training interactions: a SciPy sparse matrix of shape (n_users, n_items) with weights
            >= 0 (only zero or not counts); an integer edge list of shape (n, 2); a pandas or polars
            DataFrame with columns ``user`` and ``item`` of external ids; or a ``Dataset``.
        features : mapping of str to ItemFeatures or ndarray of shape (n_items, d)
            Item features by modality; a Dataset brings its own.
        item_ids : array-like of shape (n_items,), optional
            External id of each feature row; needed for a DataFrame.
        progress : callable, optional
            Called with a stage, how much of it is done and how much there is, 0 where nobody knows.

        Returns
        -------
        SGURInit
            Itself, with ``start_``.

        Raises
        ------
        InputError
            On a bad parameter, unusable interactions or features; the message names it.
        """
        parameters = Parameters.check(self.get_params(deep=False))
        dataset = None
        if features is None and isinstance(interactions, TrainingData):
            dataset, features = interactions, interactions.features
        if features is None:
            raise InputError("features are missing: pass a mapping from modality to an array")
        tables = as_features(features)
        n_items = next(iter(tables.values())).n_items
        parsed = parse_interactions(interactions, n_items, item_ids)
        if parsed.matrix.nnz == 0:
            raise InputError("there are no training interactions: at least one is needed")
        fit = Fit(parsed, tables, parameters, dataset=dataset, n_jobs=self.n_jobs)
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
        """Add interactions to a fit: of known users, of new ones, with new items.

        What comes out equals a fit on all of it; what does not change is not computed again.
        Without new items these are all users that none of the new interactions reaches.
        ``start_`` is a new object, the one before stays as it is.

        Parameters
        ----------
        interactions : sparse matrix, edge list, DataFrame or Dataset
            The new interactions, as for `fit`. Positions go on behind the known ones; a DataFrame's
            new users come last, in the order of their ids.
        features : mapping of str to ItemFeatures or ndarray of shape (n_new_items, d), optional
            Features of the new items alone; a modality that is left out has a row for none of
            them.
        item_ids : array-like of shape (n_new_items,), optional
            Ids of the new items, where the fit knows items by id.

        Returns
        -------
        SGURInit
            Itself. The first call is a `fit`.

        Raises
        ------
        InputError
            When the interactions or features are unusable or do not go with the fit, or parameters
            were changed since.
        """
        if not hasattr(self, "start_"):
            return self.fit(interactions, features, item_ids=item_ids)
        known = self.start_.fit.parameters
        now = Parameters.check(self.get_params(deep=False) | {"random_state": known.seed})
        if now != known:
            raise InputError("parameters were changed since the fit: fit on all of the data again")
        return self._keep(
            *add_interactions(self.start_.fit, self.start_.users, interactions, features, item_ids)
        )

    def _keep(self, fit: Fit, users: Mapping[str, Float32Array]) -> Self:
        if fit.parameters.joint_dim is not None:
            fit.fit_joint_space(fit.parameters.joint_dim)
        self.start_ = FittedStart(fit, users)
        self.n_users_in_, self.n_items_in_ = self.start_.n_users, self.start_.n_items
        return self

    def transform(self, interactions: InteractionsLike) -> dict[str, Float32Array]:
        """Compute the start of unseen users from their interactions with the same items.

        Clusters, item degrees and the row of users without interactions are those of the fit, so
        the training interactions give the rows of the fit.

        Parameters
        ----------
        interactions : sparse matrix, edge list, DataFrame or Dataset
            As for `fit`, over the same items; a DataFrame's ids are those passed to `fit`, and its
            users come in the order of their sorted unique ids.

        Returns
        -------
        dict of str to ndarray of float32, shape (n_users, d_m)
            Users' rows by modality, and under ``"joint"`` those of the joint space where
            ``joint_dim`` is set.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        InputError
            When the interactions are unusable.
        """
        check_is_fitted(self, "start_")
        fit = self.start_.fit
        matrix = parse_interactions(interactions, self.n_items_in_, self.start_.item_ids).matrix
        spaces = dict(fit.spaces)
        if fit.parameters.joint_dim is not None:
            spaces["joint"] = fit.fit_joint_space(fit.parameters.joint_dim).space
        return {name: space.users(matrix, self.n_jobs) for name, space in spaces.items()}

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
        """Compute the start of every user from files of any size, into a folder.

        The numbers are those of `fit`. Memory holds the items, a count per user and a range of
        users at a time, never all interactions or all users' rows. What is finished stays in a
        hidden folder beside `out` when the work is interrupted; the same call goes on from there.

        Parameters
        ----------
        interactions : path or sequence of paths
            Parquet files with `columns` for users and items, folders of them or patterns, in any
            order; or one ``.npy`` edge list. External ids with `item_ids`, else positions.
        features : mapping of str to ItemFeatures or ndarray of shape (n_items, d)
            Item features by modality, best memory-mapped: ``np.load(file, mmap_mode="r")``.
        out : path
            Folder to make: ``start.json`` with the facts, ``items.safetensors`` with clusters and
            the items of the joint space, and the users, in the order of their ids.
        item_ids : array-like of shape (n_items,), optional
            External id of each feature row.
        tables : sequence of str, optional
            Modalities whose users are wanted, and ``"joint"`` for the joint space of width
            `joint_dim`; all by default.
        layout : {"npy", "parquet"}, default "npy"
            ``users/<table>.npy``, to be memory-mapped, with ``user_ids.parquet`` where there are
            ids; or ``users/part-*.parquet`` with a column ``user`` and one per table.
        dtype : {"float32", "float16", "bfloat16"}, default "float32"
            What numbers are stored as; bfloat16 in ``npy`` alone, see `as_floats`.
        columns : (str, str), default ("user", "item")
            Columns of the Parquet files with the users and with the items.
        progress : callable, optional
            Called with a stage, how much of it is done and how much there is, 0 where nobody knows.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        InputError
            On a bad parameter, file or feature, and where `out` exists already.
        """
        # Here, so that the core loads neither polars nor safetensors.
        from sgurinit.core.stream.run import Wanted, run_stream, unfinished  # noqa: PLC0415
        from sgurinit.files import read_json  # noqa: PLC0415

        parameters = Parameters.check(self.get_params(deep=False))
        kept = unfinished(Path(out)) / "wanted.json"
        if self.random_state is None and kept.exists():  # go on with the seed that was drawn then
            parameters = replace(parameters, seed=read_json(kept)["parameters"]["seed"])
        wanted = Wanted.check(
            interactions,
            features,
            parameters,
            item_ids=item_ids,
            tables=tables,
            layout=layout,
            dtype=dtype,
            columns=columns,
        )
        run_stream(wanted, Path(out), n_jobs=self.n_jobs, progress=progress)
        return Path(out)

    def on(
        self,
        items: FloatArray,
        interactions: InteractionsLike | None = None,
        *,
        present: BoolArray | None = None,
    ) -> Float32Array:
        """Compute users in the space of any item vectors, such as a trained model's.

        New users of a served model get their vectors this way, without training: interactions and
        parameters give the weights, the given vectors stand for the features.

        Parameters
        ----------
        items : ndarray of shape (n_items, d)
            Vectors of the items of the fit.
        interactions : sparse matrix, edge list, DataFrame or Dataset, optional
            Whose users to start, as for `transform`; those of the fit by default.
        present : ndarray of bool, shape (n_items,), optional
            Which items have a vector; all by default.

        Returns
        -------
        ndarray of float32, shape (n_users, d)

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        InputError
            When the vectors or the interactions are unusable.
        """
        check_is_fitted(self, "start_")
        if interactions is None:
            return self.start_.on(items, present=present)
        space = self.start_.fit.fit_space(ItemFeatures(items, present))
        matrix = parse_interactions(interactions, self.n_items_in_, self.start_.item_ids).matrix
        return space.users(matrix, self.n_jobs)
