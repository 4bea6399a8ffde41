"""Users and items of one space, with an index over the items."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import scipy.sparse as sp

from sgurinit.arguments import check_path
from sgurinit.core import FittedStart, ItemFeatures, UserStart
from sgurinit.core.inputs.arrays import Float32Array
from sgurinit.errors import InputError
from sgurinit.integrations.vectors.folder import StoreParts, read_store, write_store
from sgurinit.integrations.vectors.index import STORE_METRICS, index_library, scale_rows
from sgurinit.integrations.vectors.new_users import NewUserSpace

_DEFAULT_WIDTH = 64
_SHOWN = 3  # items in the short form of a list


class NearestItems(NamedTuple):
    """Items near a user, the nearest first.

    Attributes
    ----------
    items : list
        Ids of the items.
    scores : list of float
        Their scores by the metric of the store: dot products with the user, or cosines in [-1, 1].

    See Also
    --------
    VectorStore.find_for_user : Returns the items near a known user.

    Examples
    --------
    >>> from sgurinit import SGURInit
    >>> from sgurinit.data import planted
    >>> from sgurinit.integrations.vectors import VectorStore
    >>> start = SGURInit(random_state=0).fit(planted(200, 100)).start_
    >>> items, scores = VectorStore.from_start(start, width=16).find_for_user("u0007", k=2)
    >>> len(items), len(scores)
    (2, 2)
    """

    items: list[Any]
    scores: list[float]

    def __repr__(self) -> str:
        pairs = list(zip(self.items, self.scores, strict=True))
        shown = [f"{item!r} {score:.4g}" for item, score in pairs[:_SHOWN]]
        more = [f"{len(pairs) - _SHOWN} more"] if len(pairs) > _SHOWN else []
        return f"NearestItems({', '.join(shown + more)})"


class VectorStore:
    """Users and items of one space, with an index over the items.

    It finds the items with the highest scores for a known user or for a new one. A score is the dot
    product of the two vectors, as in `sgurinit.recommend`, so both give the same ranking for the
    same width. With ``metric="cosine"`` the lengths of the items' vectors do not count, and the
    ranking differs. A new user's vector is computed from their clicks with the method's own
    equations, without training. Create a store with `from_start` or `load`.

    Parameters
    ----------
    parts : StoreParts
        Vectors, ids, known items and the index.

    Attributes
    ----------
    users : ndarray of float32, shape (n_users, d)
        Vectors of the users.
    user_ids, item_ids : list
        External ids of users and items, or positions where there are none.
    metric : {"dot", "cosine"}
        What the items are ranked by.

    See Also
    --------
    sgurinit.recommend : Exact lists for many users at once, as a table, by dot product.

    Examples
    --------
    >>> from sgurinit import SGURInit
    >>> from sgurinit.data import planted
    >>> from sgurinit.integrations.vectors import VectorStore
    >>> start = SGURInit(random_state=0).fit(planted(200, 100)).start_
    >>> store = VectorStore.from_start(start, width=16)
    >>> store
    VectorStore(200 users, 100 items, width 16)
      index: faiss, metric: dot
    >>> len(store.find_for_user("u0007", k=5).items)
    5
    >>> len(store.find_for_clicks(["i0001", "i0002"], k=3).items)
    3
    """

    def __init__(self, parts: StoreParts) -> None:
        self.users = parts.users
        self.user_ids, self.item_ids = parts.user_ids, parts.item_ids
        self.metric = parts.metric
        self._parts = parts
        self._library = index_library(parts.library)
        self._user_at = {key: at for at, key in enumerate(self.user_ids)}
        self._item_at = {key: at for at, key in enumerate(self.item_ids)}

    def __repr__(self) -> str:
        return (
            f"VectorStore({len(self.user_ids):,} users, {len(self.item_ids):,} items, "
            f"width {self.users.shape[1]})\n"
            f"  index: {self._parts.library}, metric: {self.metric}"
        )

    @classmethod
    def from_start(
        cls,
        start: UserStart,
        width: int | None = None,
        *,
        index: str = "faiss",
        metric: str = "dot",
        model_vectors: tuple[Float32Array, Float32Array] | None = None,
    ) -> Self:
        """Create a store of a start's vectors, or of those of a trained model.

        Parameters
        ----------
        start : UserStart
            A start as fitted. A loaded one has no interactions.
        width : int, >= 1, optional
            Width of the joint space. The default is the start's ``joint_dim``, or 64 if it has
            none. It has no effect with `model_vectors`.
        index : {"faiss", "usearch"}, default "faiss"
            Index library. ``"faiss"`` is exact; ``"usearch"`` is approximate and made for millions
            of items.
        metric : {"dot", "cosine"}, default "dot"
            What the items are ranked by. ``"dot"`` gives the ranking of `sgurinit.recommend`, and
            that of a trained model which scores by dot product. ``"cosine"`` ignores the lengths of
            the items' vectors.
        model_vectors : (ndarray of shape (n_users, d), ndarray of shape (n_items, d)), optional
            Users and items of a trained model, stored instead of the start's own.

        Returns
        -------
        VectorStore

        Raises
        ------
        InputError
            The index or the metric is unknown, `width` is not an integer of at least 1, the start
            was loaded, or the vectors are of other users or items.
        ImportError
            The index library is not installed.

        Examples
        --------
        >>> from sgurinit import SGURInit
        >>> from sgurinit.data import planted
        >>> from sgurinit.integrations.vectors import VectorStore
        >>> start = SGURInit(random_state=0).fit(planted(200, 100)).start_
        >>> VectorStore.from_start(start, width=16).users.shape
        (200, 16)
        """
        library = index_library(index)
        if not isinstance(metric, str) or metric not in STORE_METRICS:
            raise InputError(f"metric is {metric!r}, expected dot or cosine")
        if not isinstance(start, UserStart):
            raise InputError(
                f"start is of type {type(start).__name__}, expected the start_ of a fitted SGURInit"
            )
        if not isinstance(start, FittedStart):
            raise InputError(
                "a loaded start has no interactions, which are needed for known items and new "
                "users: fit SGURInit on the data and use its start_"
            )
        if model_vectors is None:
            if width is None:
                width = start.config["joint_dim"] or _DEFAULT_WIDTH
            table, space, users, _ = start.fit.fit_joint_space(_check_count(width, "width"))
        else:
            users, table = _check_vectors(model_vectors, start)
            space = start.fit.fit_space(table)
        present = np.flatnonzero(space.present)
        item_ids = np.arange(start.n_items) if start.item_ids is None else start.item_ids
        user_ids = np.arange(start.n_users) if start.user_ids is None else start.user_ids
        side, parameters = space.items, space.parameters
        return cls(
            StoreParts(
                users=users,
                user_ids=user_ids.tolist(),
                item_ids=item_ids[present].tolist(),
                known=sp.csr_array(start.fit.interactions.matrix[:, present]),
                space=NewUserSpace(side, parameters.local_weight, parameters.local_norm),
                library=index,
                metric=metric,
                index=library.build(scale_rows(side.rows, metric)),
            )
        )

    def find_for_user(
        self, user_id: Any, k: int = 10, *, exclude_known: bool = True
    ) -> NearestItems:
        """Find the items nearest to a known user.

        Parameters
        ----------
        user_id : object
            Id of the user.
        k : int, >= 1, default 10
            Number of items. Fewer are returned where there are no more candidates.
        exclude_known : bool, default True
            Leave out the items of the user's training interactions.

        Returns
        -------
        NearestItems

        Raises
        ------
        InputError
            The user is unknown, or `k` is not an integer of at least 1.

        See Also
        --------
        find_for_clicks : For a new user.

        Examples
        --------
        >>> from sgurinit import SGURInit
        >>> from sgurinit.data import planted
        >>> from sgurinit.integrations.vectors import VectorStore
        >>> start = SGURInit(random_state=0).fit(planted(200, 100)).start_
        >>> nearest = VectorStore.from_start(start, width=16).find_for_user("u0007", k=3)
        >>> nearest.scores == sorted(nearest.scores, reverse=True)
        True
        """
        if not isinstance(user_id, Hashable) or user_id not in self._user_at:
            raise InputError(f"user {user_id!r} is unknown; use find_for_clicks for a new user")
        at = self._user_at[user_id]
        known = self._parts.known
        own = known.indices[known.indptr[at] : known.indptr[at + 1]]
        return self._find_nearest(self.users[at], k, own if exclude_known else [])

    def find_for_clicks(self, item_ids: Iterable[Any], k: int = 10) -> NearestItems:
        """Find the items nearest to a new user, without the clicked ones.

        Parameters
        ----------
        item_ids : list or other iterable of ids
            Ids of the items that the user clicked, at least one.
        k : int, >= 1, default 10
            Number of items. Fewer are returned where there are no more candidates.

        Returns
        -------
        NearestItems

        Raises
        ------
        InputError
            `item_ids` is not a list of ids or is empty, an item is unknown, or `k` is not an
            integer of at least 1.

        See Also
        --------
        compute_user : The vector of the new user.

        Examples
        --------
        >>> from sgurinit import SGURInit
        >>> from sgurinit.data import planted
        >>> from sgurinit.integrations.vectors import VectorStore
        >>> start = SGURInit(random_state=0).fit(planted(200, 100)).start_
        >>> store = VectorStore.from_start(start, width=16)
        >>> "i0001" in store.find_for_clicks(["i0001", "i0002"]).items
        False
        """
        clicked = self._item_positions(item_ids)
        return self._find_nearest(self._parts.space.compute_user(clicked), k, clicked)

    def compute_user(self, item_ids: Iterable[Any]) -> Float32Array:
        """Compute the vector of a new user from the items they clicked.

        Parameters
        ----------
        item_ids : list or other iterable of ids
            Ids of the items that the user clicked, at least one.

        Returns
        -------
        ndarray of float32, shape (d,)

        Raises
        ------
        InputError
            `item_ids` is not a list of ids or is empty, or an item is unknown.

        See Also
        --------
        find_for_clicks : The items nearest to this vector.
        """
        return self._parts.space.compute_user(self._item_positions(item_ids))

    def save(self, folder: str | Path) -> None:
        """Write the store to a new folder, atomically.

        ``users.parquet`` and ``items.parquet`` have the columns ``id`` and ``vector``.
        ``items.faiss`` or ``items.usearch`` is the index over the items' vectors, in the order of
        ``items.parquet``; with ``metric="cosine"`` they have norm 1 in the index. The other files
        hold the metric and what `load` needs for new users.

        Parameters
        ----------
        folder : str or Path
            The folder to create.

        Raises
        ------
        InputError
            `folder` is not a path, or exists already.

        See Also
        --------
        load : Reads the folder.
        """
        write_store(check_path(folder, "folder"), self._parts)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a store that `save` wrote.

        Parameters
        ----------
        folder : str or Path
            The folder.

        Returns
        -------
        VectorStore

        Raises
        ------
        InputError
            `folder` is not a path, was not written by `save` or is incomplete; the message names
            it.

        See Also
        --------
        save : Writes the folder.
        """
        return cls(read_store(check_path(folder, "folder")))

    def _item_positions(self, item_ids: Iterable[Any]) -> list[int]:
        try:
            given = None if isinstance(item_ids, str | bytes) else list(item_ids)
        except TypeError:  # also an array without a dimension
            given = None
        if given is None:
            raise InputError(f"item_ids is {item_ids!r}, expected a list of item ids")
        if not all(isinstance(key, Hashable) for key in given):
            raise InputError("item_ids holds lists, expected a list of item ids of one user")
        unique = list(dict.fromkeys(given))
        if not unique:
            raise InputError("item_ids is empty, expected at least one clicked item")
        unknown = [key for key in unique if key not in self._item_at]
        if unknown:
            raise InputError(f"items {unknown} are unknown; use ids of the store's items")
        return sorted(self._item_at[key] for key in unique)

    def _find_nearest(self, row: Float32Array, k: int, left_out: Iterable[int]) -> NearestItems:
        k = _check_count(k, "k")
        excluded = {int(at) for at in left_out}
        positions, scores = self._library.search(
            self._parts.index,
            scale_rows(row[None], self.metric)[0],
            min(k + len(excluded), len(self.item_ids)),
        )
        nearest = [
            (self.item_ids[int(at)], float(score))
            for at, score in zip(positions, scores, strict=True)
            if int(at) not in excluded
        ][:k]
        return NearestItems([item for item, _ in nearest], [score for _, score in nearest])


def _check_vectors(model_vectors: Any, start: UserStart) -> tuple[Float32Array, ItemFeatures]:
    if not isinstance(model_vectors, list | tuple) or len(model_vectors) != 2:
        raise InputError("model_vectors must be a pair: vectors of the users and of the items")
    tables = []
    for name, rows in zip(("users", "items"), model_vectors, strict=True):
        try:
            table = ItemFeatures(rows)
        except InputError as error:
            raise InputError(f"model_vectors, {name}: {error}") from error
        tables.append(ItemFeatures(table.values.astype(np.float32)))
    users, items = tables
    if users.n_items != start.n_users:
        raise InputError(f"model_vectors has {users.n_items} users, the start has {start.n_users}")
    if users.width != items.width:
        raise InputError(
            f"model_vectors has users of width {users.width} and items of width {items.width}"
        )
    return users.values, items


def _check_count(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name} is {value!r}, expected an integer of at least 1")
    return int(value)
