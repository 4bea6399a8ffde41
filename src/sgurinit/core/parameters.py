"""Parameters of the method: named presets and their checks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from sgurinit.core.kmeans import BACKENDS
from sgurinit.errors import InputError

LOCAL_NORMS = ("mean", "sym")
PREPARE_STEPS = ("center", "unit", "whiten")

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {
        "n_clusters": 8,
        "mix": 0.1,
        "local_norm": "sym",
        "prepare": (),
        "collaborative": 0.0,
        "kmeans": "lloyd",
    },
}


@dataclass(frozen=True)
class Parameters:
    """Parameters of one fit, checked.

    Parameters
    ----------
    n_clusters : int, >= 1
        Number of clusters K per modality.
    mix : float in [0, 1]
        Weight lambda of the local part.
    local_norm : {"sym", "mean"}
        Weights of the local part.
    prepare : tuple of {"center", "unit", "whiten"}
        Steps applied to the features, in order.
    collaborative : float in [0, 1]
        Share of the joint reduction's columns that tell who uses an item.
    reduce_to : int or None
        Width of the joint reduction that is computed at fit.
    kmeans : {"lloyd", "minibatch", "faiss"}
        Back end of K-means.
    seed : int
        Seed of K-means.
    """

    n_clusters: int
    mix: float
    local_norm: str
    prepare: tuple[str, ...]
    collaborative: float
    reduce_to: int | None
    kmeans: str
    seed: int

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Parameters:
        """Check an estimator's parameters.

        Parameters
        ----------
        params : mapping
            What ``SGURInit.get_params()`` returns.

        Raises
        ------
        InputError
            Naming the parameter, its value and what is allowed.
        """
        reduce_to = params["reduce_to"]
        return cls(
            n_clusters=_positive_int("n_clusters", params["n_clusters"]),
            mix=_share("mix", params["mix"]),
            local_norm=_one_of("local_norm", params["local_norm"], LOCAL_NORMS),
            prepare=_prepare(params["prepare"]),
            collaborative=_share("collaborative", params["collaborative"]),
            reduce_to=None if reduce_to is None else _positive_int("reduce_to", reduce_to),
            kmeans=_one_of("kmeans", params["kmeans"], BACKENDS),
            seed=_seed(params["random_state"]),
        )

    def to_config(self) -> dict[str, Any]:
        """Return the parameters as a dictionary that JSON can hold."""
        return {
            "n_clusters": self.n_clusters,
            "mix": self.mix,
            "local_norm": self.local_norm,
            "prepare": list(self.prepare),
            "collaborative": self.collaborative,
            "reduce_to": self.reduce_to,
            "kmeans": self.kmeans,
            "seed": self.seed,
        }


def preset(name: str) -> dict[str, Any]:
    """Return a copy of the named preset; an unknown name is an InputError that lists the names."""
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}: choose from {', '.join(sorted(PRESETS))}")
    return dict(PRESETS[name])


def _positive_int(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < 1:
        raise InputError(f"{name} must be an integer >= 1, got {value!r}")
    return int(value)


def _share(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise InputError(f"{name} must be a number in [0, 1], got {value!r}")
    return float(value)


def _one_of(name: str, value: object, known: Collection[str]) -> str:
    if not isinstance(value, str) or value not in known:
        raise InputError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    return value


def _prepare(value: object) -> tuple[str, ...]:
    known = isinstance(value, Sequence) and not isinstance(value, str)
    steps = tuple(value) if known and isinstance(value, Sequence) else ()
    if not known or any(step not in PREPARE_STEPS for step in steps):
        raise InputError(
            f"prepare must be a sequence of steps out of {', '.join(PREPARE_STEPS)}, got {value!r}"
        )
    return steps


def _seed(random_state: Any) -> int:
    if isinstance(random_state, Integral) and not isinstance(random_state, bool):
        if 0 <= int(random_state) < 2**32:
            return int(random_state)
        raise InputError(f"random_state must be in [0, 2**32 - 1], got {random_state!r}")
    try:
        generator = check_random_state(random_state)
    except ValueError as error:
        raise InputError(
            f"random_state must be None, an integer or a numpy RandomState, got {random_state!r}"
        ) from error
    # One draw fixes everything that follows, so that `on` and `reduced` can be repeated.
    return int(generator.randint(np.iinfo(np.int32).max))
