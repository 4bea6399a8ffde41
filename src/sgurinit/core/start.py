"""`UserStart`: a start for every user, as plain data that can be saved and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sgurinit.arguments import check_path
from sgurinit.core.diagnostics import Diagnostics
from sgurinit.core.inputs.arrays import BoolArray, Float32Array, FloatArray, IdArray
from sgurinit.core.inputs.features import ItemFeatures
from sgurinit.core.params import PARAMS, check_width
from sgurinit.core.steps.clusters import Clusters, cluster_rows
from sgurinit.errors import InputError

SUFFIXES = (".safetensors", ".parquet")
"""Suffixes of the files that a start can be saved to."""

# Ridge penalty of `carry_to`, as a share of the items' mean square along a direction.
_RIDGE = 0.1
_SMALLEST_RIDGE = 1e-12  # for a table of zeros


@dataclass(frozen=True, eq=False)
class JointStart:
    """Users and items in the joint space of all modalities.

    Parameters
    ----------
    users : ndarray of float32, shape (n_users, dim)
        Row of every user.
    items : ndarray of float32, shape (n_items, dim)
        Row of every item; zero for an item that has a row in no modality and, with
        ``collaborative``, no interaction.
    clusters : Clusters
        Clusters of these items.

    See Also
    --------
    UserStart.joint : Returns one.

    Examples
    --------
    >>> from sgurinit import SGURInit
    >>> from sgurinit.data import planted
    >>> SGURInit(random_state=0).fit(planted(200, 100)).start_.joint(16)
    JointStart(users (200, 16), items (100, 16))
    """

    users: Float32Array
    items: Float32Array
    clusters: Clusters

    def __repr__(self) -> str:
        return f"JointStart(users {self.users.shape}, items {self.items.shape})"


@dataclass(frozen=True, eq=False, repr=False)
class UserStart:
    """A start for every user, per modality: plain data, saved by `save` and read by `load`.

    The ``start_`` of a fitted `SGURInit` is one that also holds the interactions and the features.
    It can therefore compute users on other items (`on`) and joint spaces of any width (`joint`). A
    loaded start raises an error there.

    Parameters
    ----------
    users : mapping of str to ndarray of float32, shape (n_users, d_m)
        Users' rows by modality.
    clusters : mapping of str to Clusters
        Clusters of the items by modality.
    config : dict
        Parameters of the fit, with the seed of K-means.
    user_ids, item_ids : ndarray or None
        External ids of users and items, where known.
    versions : mapping of str to str
        Versions of Python and of the libraries that computed the start.
    fingerprint : str
        SHA-256 (hex) of the data that the start was computed from.
    diagnostics : Diagnostics
        Sizes, norms, how often each policy applied, and the semantic gap.
    joint_tables : (ndarray, ndarray) or None, default None
        Users and items of the joint space of width ``config["joint_dim"]``, where that is set.

    See Also
    --------
    SGURInit.fit : Computes a start.
    initialize_ : Fills a model's user table from a start.

    Examples
    --------
    >>> from sgurinit import SGURInit
    >>> from sgurinit.data import planted
    >>> SGURInit(joint_dim=16, random_state=0).fit(planted(200, 100)).start_
    UserStart(200 users, 100 items)
      tables: image 64-d, text 32-d, joint 16-d
      parameters: defaults
    """

    users: Mapping[str, Float32Array]
    clusters: Mapping[str, Clusters]
    config: dict[str, Any]
    user_ids: IdArray | None
    item_ids: IdArray | None
    versions: Mapping[str, str]
    fingerprint: str
    diagnostics: Diagnostics
    joint_tables: tuple[Float32Array, Float32Array] | None = field(default=None)

    def __repr__(self) -> str:
        tables = {name: rows.shape[1] for name, rows in self.users.items()}
        if self.config["joint_dim"] is not None:
            tables["joint"] = self.config["joint_dim"]
        plain = {name: param.default for name, param in PARAMS.items()} | {"preprocess": []}
        changed = [
            f"{name}={value!r}"
            for name, value in self.config.items()
            if name in plain and name != "joint_dim" and value != plain[name]
        ]
        return (
            f"UserStart({self.n_users:,} users, {self.n_items:,} items)\n"
            f"  tables: {', '.join(f'{name} {width}-d' for name, width in tables.items())}\n"
            f"  parameters: {', '.join(changed) or 'defaults'}"
        )

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(next(iter(self.users.values())))

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(next(iter(self.clusters.values())).labels)

    def on(
        self,
        items: FloatArray,  # noqa: ARG002 - see FittedStart
        *,
        present: BoolArray | None = None,  # noqa: ARG002
    ) -> Float32Array:
        """Compute the users in the space of any item table, such as a model's projected items.

        Interactions and parameters are those of the fit. Preprocessing steps do not apply.

        Parameters
        ----------
        items : ndarray of shape (n_items, d)
            Item rows in that space.
        present : ndarray of bool, shape (n_items,), optional
            Which items have a row; all by default.

        Returns
        -------
        ndarray of float32, shape (n_users, d)

        Raises
        ------
        InputError
            The items do not fit, or the start was loaded and has no interactions.

        See Also
        --------
        SGURInit.on : The same for these or other users.
        carry_to : Needs no interactions, and keeps who uses the items.

        Examples
        --------
        >>> from sgurinit import SGURInit
        >>> from sgurinit.data import planted
        >>> data = planted(200, 100)
        >>> start = SGURInit(random_state=0).fit(data).start_
        >>> start.on(data.features["text"].values[:, :5]).shape
        (200, 5)
        """
        raise InputError(
            "a loaded start has no interactions, so users cannot be computed on other items: fit "
            "SGURInit on the data and use its start_"
        )

    def joint(self, dim: int) -> JointStart:
        """Return users and items in one joint space of the given width.

        Parameters
        ----------
        dim : int in [1, 65536]
            Width. A loaded start only has the width that it was saved with. Columns beyond the
            directions that the features span are zero.

        Returns
        -------
        JointStart
            Its users are those of ``on(items)`` for the items that have a row. A fitted start
            computes each width once.

        Raises
        ------
        InputError
            All items have the same features, or a loaded start lacks the width.

        See Also
        --------
        SGURInit : Its parameter ``joint_dim`` has a joint space computed at fit and saved.
        on : Users in the space of any item table.

        Examples
        --------
        >>> from sgurinit import SGURInit
        >>> from sgurinit.data import planted
        >>> joint = SGURInit(random_state=0).fit(planted(200, 100)).start_.joint(16)
        >>> scores = joint.users @ joint.items.T
        >>> scores.shape
        (200, 100)
        """
        dim = check_width("dim", dim)
        if self.joint_tables is None or self.config["joint_dim"] != dim:
            raise InputError(
                f"the loaded start has no joint space of width {dim} (saved: "
                f"{self.config['joint_dim']}): fit SGURInit with joint_dim={dim} and save again"
            )
        users, items = self.joint_tables
        return JointStart(users, items, self._joint_clusters)

    def features(self, modality: str) -> FloatArray:
        """Return the features of all items in a modality as they were passed to the fit.

        Parameters
        ----------
        modality : str
            Name of the modality.

        Returns
        -------
        ndarray of shape (n_items, d)
            Zeros for an item without a row.

        Raises
        ------
        InputError
            The start has no such modality, or it was loaded and has no features.

        See Also
        --------
        carry_to : Users in the space of these features.

        Examples
        --------
        >>> from sgurinit import SGURInit
        >>> from sgurinit.data import planted
        >>> SGURInit(random_state=0).fit(planted(200, 100)).start_.features("text").shape
        (100, 32)
        """
        self._check_modality(modality)
        raise InputError(
            "a loaded start has no features, so it cannot be carried into their space: fit "
            "SGURInit on the data and use its start_, or pass item_vectors"
        )

    def carry_to(self, items: FloatArray, *, width: int | None = None) -> Float32Array:
        """Carry the users of the joint space into the space of any item table.

        A user becomes the vector whose scores over the given items come closest to their scores in
        the joint space. With joint users S, joint items F and the given items P this is ridge
        regression, ``U = S F^T P (P^T P + a I)^-1``. It takes a collaborative space, which `on`
        does not use, into a space in which items have content only.

        Parameters
        ----------
        items : ndarray of shape (n_items, d)
            Item rows in that space; zeros for an item without a row.
        width : int >= 1, optional
            Width of the joint space. It is only used where the fit set no ``joint_dim``. The
            default is the width of `items`.

        Returns
        -------
        ndarray of float32, shape (n_users, d)

        Raises
        ------
        InputError
            The items do not fit, or a loaded start was saved without a joint space.

        See Also
        --------
        on : Users from the interactions and the given items.

        Examples
        --------
        >>> from sgurinit import SGURInit
        >>> from sgurinit.data import planted
        >>> data = planted(200, 100)
        >>> start = SGURInit.from_preset("hybrid", random_state=0).fit(data).start_
        >>> start.carry_to(data.features["text"].values, width=16).shape
        (200, 32)
        """
        rows = ItemFeatures(items).values.astype(np.float64)
        if len(rows) != self.n_items:
            raise InputError(
                f"the item table has {len(rows)} rows, expected {self.n_items}: one per item"
            )
        joint = self.joint(self.config["joint_dim"] or width or rows.shape[1])
        gram = rows.T @ rows
        ridge = max(_RIDGE * np.trace(gram) / len(gram), _SMALLEST_RIDGE)
        products = joint.items.astype(np.float64).T @ rows
        carry = np.linalg.solve(gram + ridge * np.eye(len(gram)), products.T).T
        users: Float32Array = (joint.users @ carry).astype(np.float32)
        return users

    def save(self, path: str | Path) -> None:
        """Write the start to a ``.safetensors`` file, or only its users to a ``.parquet`` table.

        Parameters
        ----------
        path : path
            File to write; the suffix chooses the format. It is written atomically.

        Raises
        ------
        InputError
            `path` is not a path, the suffix is another one, or the file cannot be written.

        See Also
        --------
        load : Reads the ``.safetensors`` file.

        Examples
        --------
        >>> from sgurinit import SGURInit, UserStart
        >>> from sgurinit.data import planted
        >>> start = SGURInit(random_state=0).fit(planted(200, 100)).start_
        >>> start.save("start.safetensors")
        >>> UserStart.load("start.safetensors").n_users
        200
        """
        # Imported here, so that a fit loads neither safetensors nor polars.
        from sgurinit.core._start_file import (  # noqa: PLC0415
            write_start_file,
            write_users_table,
        )

        path = check_path(path, "path")
        check_start_path(path)
        if path.suffix == ".parquet":
            joint = {} if self.joint_tables is None else {"joint": self.joint_tables[0]}
            write_users_table(path, {**self.users, **joint}, self.user_ids)
        else:
            write_start_file(path, {part.name: getattr(self, part.name) for part in fields(self)})

    @classmethod
    def load(cls, path: str | Path) -> UserStart:
        """Read a start from a ``.safetensors`` file.

        Parameters
        ----------
        path : path
            File that `save` wrote.

        Returns
        -------
        UserStart
            Without interactions and features: `on`, `features` and other widths of `joint` need a
            new fit.

        Raises
        ------
        InputError
            `path` is not a path, or the file is missing, truncated or not written by `save`; the
            message names it.

        See Also
        --------
        save : Writes the file.

        Examples
        --------
        >>> from sgurinit import SGURInit, UserStart
        >>> from sgurinit.data import planted
        >>> SGURInit(random_state=0).fit(planted(200, 100)).start_.save("start.safetensors")
        >>> UserStart.load("start.safetensors")
        UserStart(200 users, 100 items)
          tables: image 64-d, text 32-d
          parameters: defaults
        """
        from sgurinit.core._start_file import read_start_file  # noqa: PLC0415

        return UserStart(**read_start_file(check_path(path, "path")))

    def _check_modality(self, modality: str) -> None:
        if not isinstance(modality, str) or modality not in self.users:
            raise InputError(
                f"the start has no modality {modality!r}; it has {', '.join(self.users)}"
            )

    @cached_property
    def _joint_clusters(self) -> Clusters:
        """Clusters of the joint items, which the same rows and seed give again."""
        assert self.joint_tables is not None  # noqa: S101 - checked by the caller
        items = self.joint_tables[1]
        present = np.logical_or.reduce([part.labels >= 0 for part in self.clusters.values()])
        present |= items.any(axis=1)
        found, centroids = cluster_rows(
            items[present],
            self.config["n_clusters"],
            self.config["seed"],
            self.config.get("kmeans", "lloyd"),
        )
        labels = np.full(len(items), -1, dtype=np.int32)
        labels[present] = found
        return Clusters(centroids.astype(np.float32), labels)


def check_start_path(path: Path) -> None:
    """Refuse a path that no start can be saved to, before the work of computing one.

    Raises
    ------
    InputError
        The suffix is not one of `SUFFIXES`, the folder does not exist, or `path` is a folder.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: unknown suffix {path.suffix!r}, use {' or '.join(SUFFIXES)}")
    try:
        fits = path.parent.is_dir() and not path.is_dir()
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error})") from error
    if not fits:
        raise InputError(f"{path}: expected a file to write in a folder that exists")
