"""Users and items as vectors in an index and in Parquet, and what lies near a user.

A user's neighbours are the items of the largest cosine. A new user is placed by the items that
they clicked, with the method's own equations, so nothing is trained for them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl
import scipy.sparse as sp
from safetensors.numpy import load_file, save_file

from sgurinit.core import ItemFeatures, UserStart
from sgurinit.core.inputs.features import Float32Array
from sgurinit.core.steps.aggregate import ItemSide, user_rows
from sgurinit.errors import InputError
from sgurinit.files import new_folder, write_json, write_table
from sgurinit.integrations._require import need

FORMAT = "sgurinit.vectors/1"


class Nearest(NamedTuple):
    """Items near a user, the nearest first.

    Attributes
    ----------
    items : list
        Ids of the items.
    cosines : list of float
        Their cosines with the user, in [-1, 1].
    """

    items: list[Any]
    cosines: list[float]


@dataclass(frozen=True)
class Backend:
    """A library of vector indexes: how one is made, asked, written and read."""

    build: Callable[[Float32Array], Any]
    search: Callable[[Any, Float32Array, int], tuple[Any, Any]]
    write: Callable[[Any, str], None]
    read: Callable[[str], Any]


def _faiss() -> Backend:
    faiss = need("faiss", "faiss")

    def build(rows: Float32Array) -> Any:
        index = faiss.IndexFlatIP(rows.shape[1])
        index.add(rows)
        return index

    def search(index: Any, row: Float32Array, k: int) -> tuple[Any, Any]:
        cosines, found = index.search(row[None], k)
        return found[0], cosines[0]

    return Backend(build, search, faiss.write_index, faiss.read_index)


def _usearch() -> Backend:
    usearch = need("usearch.index", "usearch")

    def build(rows: Float32Array) -> Any:
        index = usearch.Index(ndim=rows.shape[1], metric="ip", dtype="f32")
        index.add(np.arange(len(rows)), rows)
        return index

    def search(index: Any, row: Float32Array, k: int) -> tuple[Any, Any]:
        matches = index.search(row, k)
        return matches.keys, 1 - matches.distances

    return Backend(build, search, lambda index, path: index.save(path), usearch.Index.restore)


BACKENDS = {"faiss": _faiss, "usearch": _usearch}


class Vectors:
    """Users and items of one space, with an index over the items.

    Made by `of` or `load`.
    """

    def __init__(
        self,
        *,
        users: Float32Array,
        user_ids: Sequence[Any],
        item_ids: Sequence[Any],
        seen: sp.csr_array,
        side: ItemSide,
        settings: dict[str, Any],
        index: Any = None,
    ) -> None:
        self.users = users
        self.user_ids, self.item_ids = list(user_ids), list(item_ids)
        self.seen = seen
        self.side = side
        self.settings = settings
        if settings["index"] not in BACKENDS:
            raise InputError(
                f"index is {settings['index']!r}, expected one of {', '.join(BACKENDS)}"
            )
        self._backend = BACKENDS[settings["index"]]()
        self.index = index if index is not None else self._backend.build(_unit(side.rows))
        self._user_at = {key: at for at, key in enumerate(self.user_ids)}
        self._item_at = {key: at for at, key in enumerate(self.item_ids)}

    @classmethod
    def of(
        cls,
        start: UserStart,
        width: int = 64,
        *,
        index: str = "faiss",
        trained: tuple[Float32Array, Float32Array] | None = None,
    ) -> Self:
        """Take the vectors of a start, or those of a model that was trained.

        Parameters
        ----------
        start : UserStart
            A start as fitted; a loaded one has no interactions.
        width : int, >= 1, default 64
            Width of the joint space.
        index : {"faiss", "usearch"}, default "faiss"
            ``"faiss"`` is exact, ``"usearch"`` approximate, for millions of items.
        trained : (ndarray of shape (n_users, d), ndarray of shape (n_items, d)), optional
            A model's users and items, to be taken instead of the start's own.

        Returns
        -------
        Vectors

        Raises
        ------
        InputError
            For an unknown index, a loaded start or tables of other users or items.
        """
        if start.source is None:
            raise InputError(
                "a loaded start has no interactions, which say what users have seen and how new "
                "ones are placed: fit SGURInit on the data and use its start_"
            )
        if trained is None:
            table, space, users = start.source.joint_space(width)
        else:
            users = np.asarray(trained[0], dtype=np.float32)
            table = ItemFeatures(np.asarray(trained[1], dtype=np.float32))
            if len(users) != start.n_users:
                raise InputError(f"{len(users)} rows of users, expected {start.n_users}")
            space = start.source.space_on(table)
        where = np.flatnonzero(space.present)
        ids = np.arange(start.n_items) if start.item_ids is None else start.item_ids
        who = np.arange(start.n_users) if start.user_ids is None else start.user_ids
        parameters = space.parameters
        return cls(
            users=users,
            user_ids=who.tolist(),
            item_ids=ids[where].tolist(),
            seen=sp.csr_array(start.source.interactions.matrix[:, where]),
            side=space.items,
            settings={
                "index": index,
                "local_weight": parameters.local_weight,
                "local_norm": parameters.local_norm,
            },
        )  # fmt: skip

    def for_user(self, user_id: Any, k: int = 10, *, seen: bool = False) -> Nearest:
        """Find the items nearest to a user.

        Parameters
        ----------
        user_id : str or int
            The user.
        k : int, >= 1, default 10
            How many; fewer come back where there are fewer.
        seen : bool, default False
            Whether to name items that the user has interacted with, too.

        Returns
        -------
        Nearest

        Raises
        ------
        InputError
            For a user who is not known, or k below 1.
        """
        if user_id not in self._user_at:
            raise InputError(
                f"user {user_id!r} is not known; a new one is placed by for_clicks(items)"
            )
        at = self._user_at[user_id]
        own = self.seen.indices[self.seen.indptr[at] : self.seen.indptr[at + 1]]
        return self._nearest(self.users[at], k, [] if seen else own)

    def for_clicks(self, item_ids: Iterable[Any], k: int = 10) -> Nearest:
        """Find the items nearest to a new user, known by a few clicks; those are left out.

        Parameters
        ----------
        item_ids : iterable
            Items that they clicked, at least one.
        k : int, >= 1, default 10
            See `for_user`.

        Returns
        -------
        Nearest

        Raises
        ------
        InputError
            For no click, an item that is not known, or k below 1.
        """
        row, clicked = self._placed(item_ids)
        return self._nearest(row, k, clicked)

    def place(self, item_ids: Iterable[Any]) -> Float32Array:
        """Vector ``(d,)`` of a new user who clicked these items; errors as of `for_clicks`."""
        return self._placed(item_ids)[0]

    def save(self, folder: str | Path) -> None:
        """Write a folder that appears whole or not at all.

        ``users.parquet`` and ``items.parquet`` (``id``, ``vector``) for a lake,
        ``items.faiss`` or ``items.usearch`` for a store (unit rows, in the order of
        ``items.parquet``), and what `load` needs to place new users.
        """
        name = self.settings["index"]
        with new_folder(Path(folder)) as made:
            write_table(made / "users.parquet", _table(self.user_ids, self.users))
            write_table(made / "items.parquet", _table(self.item_ids, self.side.rows))
            self._backend.write(self.index, str(made / f"items.{name}"))
            save_file(
                {
                    "labels": self.side.labels,
                    "centroids": self.side.centroids,
                    "weights": self.side.weights,
                    "fallback": self.side.fallback,
                    "seen.indptr": self.seen.indptr,
                    "seen.indices": self.seen.indices,
                },
                made / "method.safetensors",
            )
            write_json(made / "vectors.json", {"format": FORMAT, **self.settings})

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            Naming the folder, when it is none of ours or incomplete.
        """
        path = Path(folder)
        try:
            settings = json.loads((path / "vectors.json").read_text(encoding="utf-8"))
            if settings.pop("format") != FORMAT:
                raise KeyError("format")
            users = pl.read_parquet(path / "users.parquet")
            items = pl.read_parquet(path / "items.parquet")
            parts = load_file(path / "method.safetensors")
            name = settings["index"]
            index = BACKENDS[name]().read(str(path / f"items.{name}"))
            pointers, indices = parts["seen.indptr"], parts["seen.indices"]
            side = ItemSide(
                rows=items["vector"].to_numpy(), labels=parts["labels"],
                centroids=parts["centroids"], weights=parts["weights"],
                fallback=parts["fallback"],
            )  # fmt: skip
        except (OSError, KeyError, ValueError, RuntimeError, pl.exceptions.PolarsError) as error:
            raise InputError(f"{path}: no folder of saved vectors ({error})") from error
        shape = (len(users), len(items))
        seen = sp.csr_array((np.ones(len(indices), np.int8), indices, pointers), shape=shape)
        return cls(
            users=users["vector"].to_numpy(),
            user_ids=users["id"].to_list(),
            item_ids=items["id"].to_list(),
            seen=seen,
            side=side,
            settings=settings,
            index=index,
        )

    def _placed(self, item_ids: Iterable[Any]) -> tuple[Float32Array, list[int]]:
        wanted = list(dict.fromkeys(item_ids))
        unknown = [key for key in wanted if key not in self._item_at]
        if unknown or not wanted:
            raise InputError(f"items {unknown} are not known" if wanted else "no item was clicked")
        clicked = sorted(self._item_at[key] for key in wanted)
        ones = np.ones(len(clicked), dtype=np.int8)
        shape = (1, len(self.item_ids))
        matrix = sp.csr_array((ones, np.array(clicked), np.array([0, len(clicked)])), shape=shape)
        rows = user_rows(
            matrix,
            self.side,
            local_weight=self.settings["local_weight"],
            local_norm=self.settings["local_norm"],
        )
        return rows[0], clicked

    def _nearest(self, row: Float32Array, k: int, left_out: Iterable[int]) -> Nearest:
        if k < 1:
            raise InputError(f"k is {k}, expected at least 1")
        out = {int(at) for at in left_out}
        found, cosines = self._backend.search(
            self.index, _unit(row[None])[0], min(k + len(out), len(self.item_ids))
        )
        near = [
            (self.item_ids[int(at)], float(cosine))
            for at, cosine in zip(found, cosines, strict=True)
            if int(at) not in out
        ][:k]
        return Nearest([item for item, _ in near], [cosine for _, cosine in near])


def _unit(rows: Float32Array) -> Float32Array:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.ascontiguousarray(rows / np.where(norms > 0, norms, 1), dtype=np.float32)


def _table(ids: Sequence[Any], rows: Float32Array) -> pl.DataFrame:
    vectors = np.asarray(rows, dtype=np.float32)
    kind = pl.Array(pl.Float32, vectors.shape[1])
    return pl.DataFrame([pl.Series("id", ids), pl.Series("vector", vectors, dtype=kind)])
