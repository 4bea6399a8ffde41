"""The parameters of the method: one table of defaults and texts, presets, and checks.

The estimator, the arms of a comparison, Spark, the command line's help and the documentation all
take their defaults and texts from here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from sgurinit.errors import InputError

MAX_WIDTH = 65_536
"""Largest width of a joint space."""

LOCAL_NORMS = ("mean", "sym")
PREPROCESS_STEPS = ("center", "unit", "whiten")
KMEANS = ("lloyd", "minibatch", "faiss")


@dataclass(frozen=True)
class Param:
    """One parameter of the method.

    Parameters
    ----------
    default : Any
        Its default. The defaults together are the method as its authors draw it.
    values : str
        Type and allowed values.
    text : str
        Description in a sentence or two.
    """

    default: Any
    values: str
    text: str


PARAMS: Mapping[str, Param] = {
    "n_clusters": Param(
        8,
        "int >= 1",
        "Clusters per modality, K; at most the number of distinct item rows.",
    ),
    "local_weight": Param(
        0.5,
        "float in [0, 1]",
        "Weight w of the local part, the items. The global part, the centroids, has 1 - w.",
    ),
    "local_norm": Param(
        "mean",
        '{"mean", "sym"}',
        "Local part: the plain mean of a user's items, or symmetric weights, 1 / sqrt(d_u d_i).",
    ),
    "preprocess": Param(
        (),
        'sequence of {"center", "unit", "whiten"}',
        "Steps applied to each modality's features first, in order. The joint space has its own.",
    ),
    "joint_dim": Param(
        None,
        "int in [1, 65536] or None",
        "Width of the joint space of all modalities, if it is to be computed at fit and saved.",
    ),
    "collaborative": Param(
        False,
        "bool",
        "Whether the joint space also describes items by who uses them, not only by what they are. "
        "Not part of SG-URInit.",
    ),
    "content_weight": Param(
        None,
        "float >= 0 or None",
        "Weight of the content in a collaborative joint space; 0 for interactions only. None: "
        "chosen on held-out interactions.",
    ),
    "penalty": Param(
        None,
        "float > 0 or None",
        "Ridge penalty of a collaborative joint space. None: chosen on held-out interactions.",
    ),
    "collaborative_rank": Param(
        None,
        "int >= 1 or None",
        "Directions of the interactions that a collaborative joint space is computed from. None: "
        "four per column.",
    ),
    "kmeans": Param(
        "lloyd",
        '{"lloyd", "minibatch", "faiss"}',
        "K-means backend. The last two are for very many items or clusters; faiss needs the extra "
        "sgurinit[faiss].",
    ),
}
"""Parameters of the method by name, with default, allowed values and description."""

COLLABORATIVE_SETTINGS = ("content_weight", "penalty", "collaborative_rank")
"""Parameters that only have an effect with ``collaborative``."""

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "published": {name: param.default for name, param in PARAMS.items() if name != "joint_dim"},
    "stair": {"n_clusters": 8, "local_weight": 0.1, "local_norm": "sym"},
    "hybrid": {"local_weight": 0.9, "collaborative": True},
}
"""Values of parameters by preset, see the notes of `SGURInit`."""


def get_default(name: str, of: str = "published") -> Any:
    """Return the value of a parameter in a preset: its default, unless the preset sets it."""
    return PRESETS[of].get(name, PARAMS[name].default)


def describe_parameter(name: str, of: str = "published") -> str:
    """Return a parameter's description and default, for help texts."""
    value = get_default(name, of)
    shown = "none" if value is None or value == () else value
    return f"{PARAMS[name].text} Default: {shown}."


@dataclass(frozen=True)
class Parameters:
    """Checked parameters of one fit, see `PARAMS`.

    Parameters
    ----------
    n_clusters : int
    local_weight : float
    local_norm : str
    preprocess : tuple of str
    joint_dim : int or None
    collaborative : bool
    content_weight : float or None
    penalty : float or None
    collaborative_rank : int or None
    kmeans : str
    seed : int
        Seed of K-means.
    """

    n_clusters: int
    local_weight: float
    local_norm: str
    preprocess: tuple[str, ...]
    joint_dim: int | None
    collaborative: bool
    content_weight: float | None
    penalty: float | None
    collaborative_rank: int | None
    kmeans: str
    seed: int

    @classmethod
    def check(cls, params: Mapping[str, Any]) -> Parameters:
        """Check an estimator's parameters.

        Parameters
        ----------
        params : mapping
            Parameters as ``SGURInit.get_params()`` returns them.

        Raises
        ------
        InputError
            A value is not allowed; the message names the parameter and the allowed values.
        """
        joint_dim, rank = params["joint_dim"], params["collaborative_rank"]
        checked = cls(
            n_clusters=_check_positive_int("n_clusters", params["n_clusters"]),
            local_weight=_check_share("local_weight", params["local_weight"]),
            local_norm=_check_one_of("local_norm", params["local_norm"], LOCAL_NORMS),
            preprocess=_check_steps(params["preprocess"]),
            joint_dim=None if joint_dim is None else check_width("joint_dim", joint_dim),
            collaborative=_check_flag("collaborative", params["collaborative"]),
            content_weight=_check_number("content_weight", params["content_weight"], above=False),
            penalty=_check_number("penalty", params["penalty"], above=True),
            collaborative_rank=None
            if rank is None
            else _check_positive_int("collaborative_rank", rank),
            kmeans=_check_one_of("kmeans", params["kmeans"], KMEANS),
            seed=_draw_seed(params["random_state"]),
        )
        for name in COLLABORATIVE_SETTINGS:
            if getattr(checked, name) is not None and not checked.collaborative:
                raise InputError(
                    f"{name}={getattr(checked, name):g} has no effect with collaborative=False: "
                    f"set `collaborative` to True, or leave `{name}` out"
                )
        return checked

    def check_joint_written(self) -> None:
        """Refuse `collaborative` where no joint space is written, which alone it changes.

        Raises
        ------
        InputError
            `collaborative` is True and `joint_dim` is not set.
        """
        if self.collaborative and self.joint_dim is None:
            raise InputError(
                "collaborative=True has no effect without `joint_dim`: it only changes the joint "
                "space; set `joint_dim` to its width, such as 64, or leave out `collaborative` "
                "and presets that set it"
            )

    def to_config(self) -> dict[str, Any]:
        """Return the parameters as a dictionary that JSON can hold."""
        return {name: getattr(self, name) for name in (*PARAMS, "seed")} | {
            "preprocess": list(self.preprocess)
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Parameters:
        """Rebuild parameters from what `to_config` returned."""
        return cls.check({**config, "random_state": config["seed"]})


def get_preset(name: str) -> dict[str, Any]:
    """Return a copy of a preset.

    Raises
    ------
    InputError
        The name is unknown; the message lists the names.
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise InputError(f"unknown preset {name!r}: choose from {', '.join(sorted(PRESETS))}")
    return dict(PRESETS[name])


def check_width(name: str, value: object) -> int:
    """Return the width of a joint space as an int.

    Raises
    ------
    InputError
        The value is not a whole number from 1 to `MAX_WIDTH`.
    """
    width = _check_positive_int(name, value)
    if width > MAX_WIDTH:
        raise InputError(f"{name} is {value}, expected at most {MAX_WIDTH:,}")
    return width


def _check_positive_int(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < 1:
        raise InputError(f"{name} must be an integer >= 1, got {value!r}")
    return int(value)


def _check_share(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise InputError(f"{name} must be a number in [0, 1], got {value!r}")
    return float(value)


def _check_number(name: str, value: object, *, above: bool) -> float | None:
    """Check a number that is at least 0, or above 0; None is allowed."""
    if value is None:
        return None
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else -1.0
    if not 0 <= number < float("inf") or (above and number == 0):
        limit = "> 0" if above else ">= 0"
        raise InputError(f"{name} must be a number {limit} or None, got {value!r}")
    return number


def _check_flag(name: str, value: object) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def _check_one_of(name: str, value: object, known: Collection[str]) -> str:
    if not isinstance(value, str) or value not in known:
        raise InputError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    return value


def _check_steps(value: object) -> tuple[str, ...]:
    known = isinstance(value, Sequence) and not isinstance(value, str)
    steps = tuple(value) if known and isinstance(value, Sequence) else ()
    if not known or any(step not in PREPROCESS_STEPS for step in steps):
        raise InputError(
            f"preprocess must be a sequence of steps out of {', '.join(PREPROCESS_STEPS)}, "
            f"got {value!r}"
        )
    return steps


def _draw_seed(random_state: Any) -> int:
    if isinstance(random_state, Integral) and not isinstance(random_state, bool):
        if 0 <= int(random_state) < 2**32:
            return int(random_state)
        raise InputError(f"random_state must be in [0, 2**32 - 1], got {random_state!r}")
    # Imported here, so that the table of parameters can be read without loading scikit-learn.
    from sklearn.utils import check_random_state  # noqa: PLC0415

    try:
        generator = check_random_state(random_state)
    except ValueError as error:
        raise InputError(
            f"random_state must be None, an integer or a numpy RandomState, got {random_state!r}"
        ) from error
    # One draw decides everything that follows, so that `on` and `joint` are reproducible.
    return int(generator.randint(np.iinfo(np.int32).max))
