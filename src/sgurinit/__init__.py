"""Training-free, model-agnostic starts for the users of multimodal recommenders (SG-URInit).

`SGURInit`, `UserStart`, `ItemFeatures`, `Dataset` and `load` need no torch. `initialize_`,
`hand_over`, `train` and `compare` come with the extra ``sgurinit[train]`` and are imported when
first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sgurinit.core import ItemFeatures, SGURInit, UserStart
from sgurinit.data import Dataset, load
from sgurinit.errors import InputError

if TYPE_CHECKING:
    from sgurinit.experiments import compare
    from sgurinit.handover import hand_over, initialize_
    from sgurinit.training import train

__all__ = [
    "Dataset",
    "InputError",
    "ItemFeatures",
    "SGURInit",
    "UserStart",
    "compare",
    "hand_over",
    "initialize_",
    "load",
    "train",
]

_WITH_TORCH = {
    "compare": "sgurinit.experiments",
    "hand_over": "sgurinit.handover",
    "initialize_": "sgurinit.handover",
    "train": "sgurinit.training",
}


def __getattr__(name: str) -> Any:
    if name not in _WITH_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_WITH_TORCH[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("sgurinit"):
            raise
        raise ImportError(
            f"sgurinit.{name} needs {error.name}, which is not installed: "
            "pip install 'sgurinit[train]'",
            name=error.name,
        ) from error
