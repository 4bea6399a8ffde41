"""Users and items of one space, with an index over the items."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import scipy.sparse as sp

from sgurinit.core import FittedStart, ItemFeatures, UserStart
from sgurinit.core.inputs.arrays import Float32Array
from sgurinit.errors import InputError
from sgurinit.integrations.vectors.folder import StoreParts, read_store, write_store
from sgurinit.integrations.vectors.index import index_library, unit_rows
from sgurinit.integrations.vectors.new_users import NewUserSpace


class NearestItems(NamedTuple):
    """Items near a user, the nearest first.

    Attributes
    ----------
    items : list
        Ids of the items.
    cosines : list of float
        Their cosines with the user, in [-1, 1].

    See Also
    --------
    VectorStore.find_for_user : Returns the items near a known user.

    Examples
    --------
    >>> from sgurinit import SGURInit
    >>> from sgurinit.data import planted
    >>> from sgurinit.integrations.vectors import VectorStore
    >>> start = SGURInit(random_state=0).fit(planted(200, 100)).start_
    >>> items, cosines = VectorStore.from_start(start, width=16).find_for_user("u0007", k=2)
    >>> len(items), len(cosines)
    (2, 2)
    """

    items: list[Any]
    cosines: list[float]


class VectorStore:
    """Users and items of one space, with an index over the items.

    It finds the items with the largest cosine to a known user or to a new one. A new user's vector
    is computed from their clicks with the method's own equations, without training. Create a store
    with `from_start` or `load`.

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

    See Also
    --------
    sgurinit.recommend : Exact lists for many users at once, as a table.

    Examples
    --------
    >>> from sgurinit import SGURInit
    >>> from sgurinit.data import planted
    >>> from sgurinit.integrations.vectors import VectorStore
    >>> start = SGURInit(random_state=0).fit(planted(200, 100)).start_
    >>> store = VectorStore.from_start(start, width=16)
    >>> len(store.find_for_user("u0007", k=5).items)
    5
    >>> len(store.find_for_clicks(["i0001", "i0002"], k=3).items)
    3
    """

    def __init__(self, parts: StoreParts) -> None:
        self.users = parts.users
        self.user_ids, self.item_ids = parts.user_ids, parts.item_ids
        self._parts = parts
        self._library = index_library(parts.library)
        self._user_at = {key: at for at, key in enumerate(self.user_ids)}
        self._item_at = {key: at for at, key in enumerate(self.item_ids)}

    @classmethod
    def from_start(
        cls,
        start: UserStart,
        width: int = 64,
        *,
        index: str = "faiss",
        model_vectors: tuple[Float32Array, Float32Array] | None = None,
    ) -> Self:
        """Create a store of a start's vectors, or of those of a trained model.

        Parameters
        ----------
        start : UserStart
            A start as fitted. A loaded one has no interactions.
        width : int, >= 1, default 64
            Width of the joint space. It has no effect with `model_vectors`.
        index : {"faiss", "usearch"}, default "faiss"
            Index library. ``"faiss"`` is exact; ``"usearch"`` is approximate and made for millions
            of items.
        model_vectors : (ndarray of shape (n_users, d), ndarray of shape (n_items, d)), optional
            Users and items of a trained model, stored instead of the start's own.

        Returns
        -------
        VectorStore

        Raises
        ------
        InputError
            The index is unknown, the start was loaded, or the vectors are of other users or items.
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
        if not isinstance(start, FittedStart):
            raise InputError(
                "a loaded start has no interactions, which are needed for known items and new "
                "users: fit SGURInit on the data and use its start_"
            )
        if model_vectors is None:
            table, space, users = start.fit.fit_joint_space(width)
        else:
            users = np.asarray(model_vectors[0], dtype=np.float32)
            table = ItemFeatures(np.asarray(model_vectors[1], dtype=np.float32))
            if len(users) != start.n_users:
                raise InputError(
                    f"model_vectors has {len(users)} users, the start has {start.n_users}"
                )
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
                index=library.build(unit_rows(side.rows)),
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
            The user is unknown or `k` is below 1.

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
        >>> nearest.cosines == sorted(nearest.cosines, reverse=True)
        True
        """
        if user_id not in self._user_at:
            raise InputError(f"user {user_id!r} is unknown; use find_for_clicks for a new user")
        at = self._user_at[user_id]
        known = self._parts.known
        own = known.indices[known.indptr[at] : known.indptr[at + 1]]
        return self._find_nearest(self.users[at], k, own if exclude_known else [])

    def find_for_clicks(self, item_ids: Iterable[Any], k: int = 10) -> NearestItems:
        """Find the items nearest to a new user, without the clicked ones.

        Parameters
        ----------
        item_ids : iterable
            Ids of the items that the user clicked, at least one.
        k : int, >= 1, default 10
            Number of items. Fewer are returned where there are no more candidates.

        Returns
        -------
        NearestItems

        Raises
        ------
        InputError
            There is no click, an item is unknown, or `k` is below 1.

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
        item_ids : iterable
            Ids of the items that the user clicked, at least one.

        Returns
        -------
        ndarray of float32, shape (d,)

        Raises
        ------
        InputError
            There is no click or an item is unknown.

        See Also
        --------
        find_for_clicks : The items nearest to this vector.
        """
        return self._parts.space.compute_user(self._item_positions(item_ids))

    def save(self, folder: str | Path) -> None:
        """Write the store to a new folder, atomically.

        ``users.parquet`` and ``items.parquet`` have the columns ``id`` and ``vector``.
        ``items.faiss`` or ``items.usearch`` is the index over the items' unit vectors, in the order
        of ``items.parquet``. The other files hold what `load` needs for new users.

        Parameters
        ----------
        folder : str or Path
            The folder to create.

        Raises
        ------
        InputError
            The folder exists already.

        See Also
        --------
        load : Reads the folder.
        """
        write_store(Path(folder), self._parts)

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
            The folder was not written by `save` or is incomplete; the message names it.

        See Also
        --------
        save : Writes the folder.
        """
        return cls(read_store(Path(folder)))

    def _item_positions(self, item_ids: Iterable[Any]) -> list[int]:
        unique = list(dict.fromkeys(item_ids))
        if not unique:
            raise InputError("item_ids is empty, expected at least one clicked item")
        unknown = [key for key in unique if key not in self._item_at]
        if unknown:
            raise InputError(f"items {unknown} are unknown; use ids of the store's items")
        return sorted(self._item_at[key] for key in unique)

    def _find_nearest(self, row: Float32Array, k: int, left_out: Iterable[int]) -> NearestItems:
        if k < 1:
            raise InputError(f"k is {k}, expected at least 1")
        excluded = {int(at) for at in left_out}
        positions, cosines = self._library.search(
            self._parts.index,
            unit_rows(row[None])[0],
            min(k + len(excluded), len(self.item_ids)),
        )
        nearest = [
            (self.item_ids[int(at)], float(cosine))
            for at, cosine in zip(positions, cosines, strict=True)
            if int(at) not in excluded
        ][:k]
        return NearestItems([item for item, _ in nearest], [cosine for _, cosine in nearest])
