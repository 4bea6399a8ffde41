"""SG-URInit as a scikit-learn estimator."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sgurinit.core.edges import COLUMNS
from sgurinit.core.features import (
    BoolArray,
    Float32Array,
    FloatArray,
    ItemFeatures,
    as_features,
)
from sgurinit.core.interactions import is_dataset, parse_interactions
from sgurinit.core.listen import Listener, ignore
from sgurinit.core.parameters import Parameters, preset
from sgurinit.core.start import Source, UserStart
from sgurinit.core.stream import Wanted, run_stream, unfinished
from sgurinit.core.update import updated
from sgurinit.errors import InputError
from sgurinit.files import read_json


class SGURInit(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Training-free, semantically guaranteed start for every user.

    A user starts from the features of the items in the training interactions (local) and from the
    centroids of the clusters that these items belong to (global)::

        U_local  = D_U^-1 R F                 (local_norm="mean";  "sym": D_U^-1/2 R D_I^-1/2 F)
        U_global = D_U^-1 R Z C               (C, Z: K-means of the items, K clusters)
        U        = mix * U_local + (1 - mix) * U_global

    Parameters
    ----------
    n_clusters : int, default 8
        Clusters per modality, K; at most the number of distinct item rows.
    mix : float in [0, 1], default 0.9
        Weight lambda of the local part.
    local_norm : {"mean", "sym"}, default "mean"
        Weights of the local part: the plain mean of the items, or symmetric.
    prepare : sequence of {"center", "unit", "whiten"}, default ()
        Steps applied to each modality's features, in order, before everything else.
    reduce_to : int, optional
        Also compute the joint reduction to this width at fit, so that it is saved with the start.
    collaborative : float in [0, 1], default 0.5
        Share of the joint reduction's columns that tell who uses an item (`spectral_items`) rather
        than what it is. Features of single modalities do not see it.
    kmeans : {"lloyd", "minibatch", "faiss"}, default "lloyd"
        Back end of K-means; the others are for very many items or clusters, ``"faiss"`` comes with
        the extra ``sgurinit[faiss]``.
    random_state : int, RandomState or None, default None
        Seed of K-means.
    n_jobs : int, optional
        Threads for the users' sums: None is 1, -1 all cores. The result does not depend on it.

    Attributes
    ----------
    start_ : UserStart
        The start of every user.
    n_users_in_, n_items_in_ : int
        Size of the training interactions.

    Notes
    -----
    Xu et al., *Well Begun is Half Done* (SIGIR 2026, arXiv 2604.14839). The ``paper``
    preset has the weights, K and lambda that an independent re-implementation reports; the
    defaults are what the project's own study supports.

    Users without a training interaction, or without any on an item with a row in the modality,
    start from the mean of the centroids weighted by the interactions on each cluster's items.
    Items without a row are skipped by their users' sums, which are renormalised. Duplicate
    interactions count once. ``start_.diagnostics`` counts each case.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp
    >>> interactions = sp.csr_array(np.array([[1, 1, 0], [0, 1, 1]]))
    >>> features = {"text": np.eye(3)}
    >>> start = SGURInit(n_clusters=2, random_state=0).fit(interactions, features).start_
    >>> start.users["text"].shape
    (2, 3)
    """

    def __init__(  # noqa: PLR0917  (keywords, as for every scikit-learn estimator)
        self,
        n_clusters: int = 8,
        mix: float = 0.9,
        local_norm: str = "mean",
        prepare: Sequence[str] = (),
        reduce_to: int | None = None,
        collaborative: float = 0.5,
        kmeans: str = "lloyd",
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.mix = mix
        self.local_norm = local_norm
        self.prepare = prepare
        self.collaborative = collaborative
        self.reduce_to = reduce_to
        self.kmeans = kmeans
        self.random_state = random_state
        self.n_jobs = n_jobs

    @classmethod
    def from_preset(cls, name: str = "paper", **overrides: Any) -> Self:
        """Make an estimator with the parameters of a preset.

        Parameters
        ----------
        name : {"paper"}, default "paper"
            Name of the preset.
        **overrides
            Parameters to set on top of it.

        Returns
        -------
        SGURInit

        Raises
        ------
        InputError
            When the name is unknown.
        """
        return cls(**(preset(name) | overrides))

    def fit(
        self,
        interactions: Any,
        features: Mapping[str, Any] | None = None,
        *,
        item_ids: Any = None,
        listen: Listener = ignore,
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
        listen : callable, optional
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
        dataset = interactions if features is None and is_dataset(interactions) else None
        if dataset is not None:
            features = dataset.features
        if features is None:
            raise InputError("features are missing: pass a mapping from modality to an array")
        tables = as_features(features)
        n_items = next(iter(tables.values())).n_items
        parsed = parse_interactions(interactions, n_items, item_ids)
        if parsed.matrix.nnz == 0:
            raise InputError("there are no training interactions: at least one is needed")
        source = Source(parsed, tables, parameters, dataset=dataset, n_jobs=self.n_jobs)
        source = replace(source, spaces=source.fitted_spaces(listen))
        users = {}
        for name, space in source.spaces.items():
            listen(f"users of {name}", 0, 0)
            users[name] = source.users(space)
        if parameters.reduce_to is not None:
            listen("joint space", 0, 0)
        return self._keep(source, users)

    def partial_fit(
        self, interactions: Any, features: Mapping[str, Any] | None = None, *, item_ids: Any = None
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
        known = self._source.parameters
        now = Parameters.check(self.get_params(deep=False) | {"random_state": known.seed})
        if now != known:
            raise InputError("parameters were changed since the fit: fit on all of the data again")
        return self._keep(
            *updated(self._source, self.start_.users, interactions, features, item_ids)
        )

    def _keep(self, source: Source, users: Mapping[str, Float32Array]) -> Self:
        if source.parameters.reduce_to is not None:
            source.reduction(source.parameters.reduce_to)
        self._source = source
        self.start_ = _start(source, users)
        self.n_users_in_, self.n_items_in_ = self.start_.n_users, self.start_.n_items
        return self

    def transform(self, interactions: Any) -> dict[str, Float32Array]:
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
            Users' rows by modality, and under ``"reduced"`` those of the joint reduction where
            ``reduce_to`` is set.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        InputError
            When the interactions are unusable.
        """
        check_is_fitted(self, "start_")
        source = self._source
        matrix = parse_interactions(interactions, self.n_items_in_, self.start_.item_ids).matrix
        spaces = dict(source.spaces)
        if source.parameters.reduce_to is not None:
            spaces["reduced"] = source.reduction(source.parameters.reduce_to)[1]
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
        columns: tuple[str, str] = COLUMNS,
        listen: Listener = ignore,
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
            reduced items, and the users, in the order of their ids.
        item_ids : array-like of shape (n_items,), optional
            External id of each feature row.
        tables : sequence of str, optional
            Modalities whose users are wanted, and ``"reduced"`` for the joint reduction to
            `reduce_to`; all by default.
        layout : {"npy", "parquet"}, default "npy"
            ``users/<table>.npy``, to be memory-mapped, with ``user_ids.parquet`` where there are
            ids; or ``users/part-*.parquet`` with a column ``user`` and one per table.
        dtype : {"float32", "float16", "bfloat16"}, default "float32"
            What numbers are stored as; bfloat16 in ``npy`` alone, see `as_floats`.
        columns : (str, str), default ("user", "item")
            Columns of the Parquet files with the users and with the items.
        listen : callable, optional
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
        run_stream(wanted, Path(out), n_jobs=self.n_jobs, listen=listen)
        return Path(out)

    def on(
        self, items: FloatArray, interactions: Any = None, *, present: BoolArray | None = None
    ) -> Float32Array:
        """Start users in the space of any item vectors, such as a trained model's.

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
            return self.start_.on(items, present)[0]
        space = self._source.space_on(ItemFeatures(items, present))
        matrix = parse_interactions(interactions, self.n_items_in_, self.start_.item_ids).matrix
        return space.users(matrix, self.n_jobs)


def _start(source: Source, users: Mapping[str, Float32Array]) -> UserStart:
    parsed = source.interactions
    return UserStart(
        users=dict(users),
        clusters={name: space.clusters() for name, space in source.spaces.items()},
        config=source.parameters.to_config(),
        user_ids=parsed.user_ids,
        item_ids=parsed.item_ids,
        versions=dict(_versions()),
        source=source,
    )


@cache
def _versions() -> dict[str, str]:
    packages = ("sgurinit", "numpy", "scipy", "scikit-learn")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
