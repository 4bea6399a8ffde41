"""The start of every user: what a fit gives and what a file holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from sgurinit.core.diagnostics import Diagnostics, diagnose
from sgurinit.core.inputs.arrays import BoolArray, Float32Array, FloatArray, IdArray
from sgurinit.core.inputs.features import ItemFeatures
from sgurinit.core.inputs.fingerprint import fingerprint
from sgurinit.core.inputs.interactions import Interactions
from sgurinit.core.params import PARAMS, Parameters
from sgurinit.core.steps.aggregate import item_degrees
from sgurinit.core.steps.clusters import Clusters, cluster_rows
from sgurinit.core.steps.joint import joint_items
from sgurinit.core.steps.space import Space
from sgurinit.errors import InputError
from sgurinit.progress import ProgressCallback, no_progress

# What `carry_to` adds to the items' mean square along any direction, as a share of it.
RIDGE = 0.1
TINY = 1e-12  # for a table of zeros


@dataclass(frozen=True, eq=False)
class JointStart:
    """Users and items in one joint space.

    Parameters
    ----------
    users : ndarray of float32, shape (n_users, dim)
        Start of every user.
    items : ndarray of float32, shape (n_items, dim)
        Items; zero for an item without a row in any modality.
    clusters : Clusters
        Clusters of these items.
    """

    users: Float32Array
    items: Float32Array
    clusters: Clusters

    def __repr__(self) -> str:
        return f"JointStart(users {self.users.shape}, items {self.items.shape})"


@dataclass(frozen=True, eq=False)
class Source:
    """What a start was made from; a loaded start has none.

    Parameters
    ----------
    interactions : Interactions
        Training interactions.
    features : mapping of str to ItemFeatures
        Features as given.
    parameters : Parameters
        Parameters of the fit.
    spaces : mapping of str to Space
        Fitted space of each modality.
    dataset : Dataset or None
        The data set that interactions and features are of, where one was given.
    n_jobs : int or None
        Threads for the users' sums.
    joints : dict
        Joint spaces computed so far, by width.
    """

    interactions: Interactions
    features: Mapping[str, ItemFeatures]
    parameters: Parameters
    spaces: Mapping[str, Space] = field(default_factory=dict)
    dataset: Any = None
    n_jobs: int | None = None
    joints: dict[int, tuple[ItemFeatures, Space, Float32Array]] = field(default_factory=dict)

    def space_on(self, table: ItemFeatures) -> Space:
        """Fit a space on other items, with the same interactions and parameters."""
        n_items = int(self.interactions.matrix.shape[1])
        if table.n_items != n_items:
            raise InputError(
                f"the item table has {table.n_items} rows, expected {n_items}: one per item"
            )
        degrees = item_degrees(self.interactions.matrix)
        return Space.fit(degrees, table, self.parameters, preprocess=False)

    def fitted_spaces(self, progress: ProgressCallback = no_progress) -> dict[str, Space]:
        """Fit the space of every modality anew.

        Raises
        ------
        InputError
            Naming the modality that cannot be used.
        """
        spaces: dict[str, Space] = {}
        degrees = item_degrees(self.interactions.matrix)
        for name, table in self.features.items():
            progress(f"items of {name}", 0, 0)
            try:
                spaces[name] = Space.fit(degrees, table, self.parameters, preprocess=True)
            except InputError as error:
                raise InputError(f"modality {name!r}: {error}") from error
        return spaces

    def users(self, space: Space) -> Float32Array:
        """Users' rows in a space."""
        return space.users(self.interactions.matrix, self.n_jobs)

    def joint_space(self, dim: int) -> tuple[ItemFeatures, Space, Float32Array]:
        """Items of the joint space, the space fitted on them, the users in it; computed once."""
        if dim not in self.joints:
            matrix = self.interactions.matrix
            items, present = joint_items(
                [lambda: matrix],
                item_degrees(matrix),
                self.features,
                dim,
                self.parameters,
                n_jobs=self.n_jobs,
            )
            table = ItemFeatures(items, present)
            try:
                space = self.space_on(table)
            except InputError as error:
                raise InputError(f"joint space of width {dim}: {error}") from None
            self.joints[dim] = table, space, self.users(space)
        return self.joints[dim]


@dataclass(frozen=True, eq=False)
class UserStart:
    """A start for every user, per modality.

    Parameters
    ----------
    users : mapping of str to ndarray of float32, shape (n_users, d_m)
        Users' rows ``U^m``.
    clusters : mapping of str to Clusters
        Clusters of the items.
    config : dict
        Parameters of the fit, with the seed of K-means.
    user_ids, item_ids : ndarray or None
        External ids of users and items, where known.
    versions : mapping of str to str
        Versions of the libraries that computed it.
    source : Source, optional
        What it was made from; None after loading.
    stored_joint : (ndarray, ndarray), optional
        Users and items of the joint space of a loaded start.
    stored_fingerprint : str, optional
        Fingerprint of a loaded start.
    stored_diagnostics : Diagnostics, optional
        Diagnostics of a loaded start.
    """

    users: Mapping[str, Float32Array]
    clusters: Mapping[str, Clusters]
    config: dict[str, Any]
    user_ids: IdArray | None
    item_ids: IdArray | None
    versions: Mapping[str, str]
    source: Source | None = field(default=None, repr=False)
    stored_joint: tuple[Float32Array, Float32Array] | None = field(default=None, repr=False)
    stored_fingerprint: str | None = field(default=None, repr=False)
    stored_diagnostics: Diagnostics | None = field(default=None, repr=False)

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
            f"UserStart({self.n_users:,} users, {self.n_items:,} items"
            f"{'' if self.source is not None else ', loaded'})\n"
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

    @cached_property
    def diagnostics(self) -> Diagnostics:
        """Sizes, norms, policies that applied, semantic gap; computed when first asked for."""
        if self.stored_diagnostics is not None:
            return self.stored_diagnostics
        assert self.source is not None  # noqa: S101 - a start is fitted or loaded
        source = self.source
        width = source.parameters.joint_dim
        return diagnose(
            source.interactions,
            {
                name: (source.features[name], source.spaces[name], users)
                for name, users in self.users.items()
            },
            None if width is None else source.joint_space(width),
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the data that the start was made from."""
        if self.source is None:
            return self.stored_fingerprint or ""
        own = getattr(self.source.dataset, "fingerprint", None)
        return own or fingerprint(self.source.interactions, self.source.features)

    def on(self, items: FloatArray, *, present: BoolArray | None = None) -> Float32Array:
        """Compute the users in the space of any item table, such as a model's projected items.

        Interactions and parameters are those of the fit; preprocessing steps do not apply.

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
            When the items do not fit, or the start was loaded and has no interactions.

        See Also
        --------
        SGURInit.on : The same, also for other users.
        """
        if self.source is None:
            raise InputError(
                "a loaded start has no interactions, so it cannot be computed on other items: "
                "fit SGURInit on the data and use its start_"
            )
        return self.source.users(self.source.space_on(ItemFeatures(items, present)))

    def joint(self, dim: int) -> JointStart:
        """Start users and items in one joint space of the given width.

        Parameters
        ----------
        dim : int, >= 1
            Width; a loaded start has the one it was saved with only. Columns beyond the directions
            that the features span are zero.

        Returns
        -------
        JointStart
            ``users`` are those of ``on(items)`` at the items that have a row. Computed once per
            width.

        Raises
        ------
        InputError
            When all items have the same features, or a loaded start lacks the width.
        """
        if isinstance(dim, bool) or not isinstance(dim, int | np.integer) or dim < 1:
            raise InputError(f"dim must be an integer >= 1, got {dim!r}")
        if self.source is None:
            return self._loaded_joint(int(dim))
        table, space, users = self.source.joint_space(int(dim))
        return JointStart(users, np.asarray(table.values), space.clusters())

    def features(self, modality: str) -> FloatArray:
        """Features of all items in a modality, as given; zeros for an item without a row.

        Raises
        ------
        InputError
            When there is no such modality, or the start was loaded and has no features.
        """
        if modality not in self.users:
            raise InputError(
                f"the start has no modality {modality!r}; it has {', '.join(self.users)}"
            )
        if self.source is None:
            raise InputError(
                "a loaded start has no features, so it cannot be carried into their space: fit "
                "SGURInit on the data and use its start_, or pass item_vectors"
            )
        table = self.source.features[modality]
        return np.where(table.mask()[:, None], table.values, 0)

    def carry_to(self, items: FloatArray, *, width: int | None = None) -> Float32Array:
        """Carry the users of the joint space into the space of any item table.

        A user becomes the vector whose scores over the given items come closest to those of the
        joint space: with joint users S and items F, and the given items P, ridge regression,
        ``U = S F^T P (P^T P + a I)^-1``. This takes collaborative columns, which `on` does not
        know, into a space in which items have content alone.

        Parameters
        ----------
        items : ndarray of shape (n_items, d)
            Item rows in that space; zeros for an item without a row.
        width : int, >= 1, optional
            Width of the joint space, where the fit set no ``joint_dim``; that of `items` by
            default.

        Returns
        -------
        ndarray of float32, shape (n_users, d)

        Raises
        ------
        InputError
            When the items do not fit, or a loaded start was saved without a joint space.
        """
        rows = np.asarray(items, dtype=np.float64)
        if rows.ndim != 2 or len(rows) != self.n_items or not np.isfinite(rows).all():
            raise InputError(
                f"the item table has shape {rows.shape}, expected {self.n_items} rows of finite "
                "numbers: one per item"
            )
        joint = self.joint(self.config["joint_dim"] or width or rows.shape[1])
        gram = rows.T @ rows
        ridge = RIDGE * np.trace(gram) / len(gram)
        wanted = joint.items.astype(np.float64).T @ rows
        carry = np.linalg.solve(gram + max(ridge, TINY) * np.eye(len(gram)), wanted.T).T
        users: Float32Array = (joint.users @ carry).astype(np.float32)
        return users

    def save(self, path: str | Path) -> None:
        """Write the start to a ``.safetensors`` file, or its users to a ``.parquet`` table.

        Parameters
        ----------
        path : path
            The suffix chooses the format. Nothing half-written is ever left at `path`.

        Raises
        ------
        InputError
            On another suffix, or when the file cannot be written.
        """
        # Here, so that neither file format is loaded by a fit that writes nothing.
        from sgurinit.core.start_io import save_start  # noqa: PLC0415

        save_start(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a start from a ``.safetensors`` file.

        Parameters
        ----------
        path : path
            File that `save` wrote.

        Returns
        -------
        UserStart
            Without interactions: `on` and other widths of `joint` need a new fit.

        Raises
        ------
        InputError
            Naming the file, when it is missing, truncated or none of ours.
        """
        from sgurinit.core.start_io import read_start  # noqa: PLC0415

        return cls(**read_start(Path(path)))

    def _loaded_joint(self, dim: int) -> JointStart:
        if self.stored_joint is None or self.stored_joint[0].shape[1] != dim:
            stored = self.config["joint_dim"]
            raise InputError(
                f"the loaded start has no joint space of width {dim} (saved: {stored}): fit "
                f"SGURInit with joint_dim={dim} and save again"
            )
        users, items = self.stored_joint
        return JointStart(users, items, self._stored_clusters)

    @cached_property
    def _stored_clusters(self) -> Clusters:
        """Clusters of the stored joint items: the same rows and seed give the same clusters."""
        assert self.stored_joint is not None  # noqa: S101
        items = self.stored_joint[1]
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
