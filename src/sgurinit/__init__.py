"""Training-free, model-agnostic starts for the users of multimodal recommenders (SG-URInit).

The names below are imported when first asked for, so that ``import sgurinit`` costs nothing.
`compare`, `hand_over`, `initialize_` and `train` come with the extra ``sgurinit[train]``; the
others need no torch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sgurinit.core import ItemFeatures, SGURInit, UserStart
    from sgurinit.data import Dataset, load_dataset
    from sgurinit.errors import InputError
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
    "load_dataset",
    "train",
]

_HOME = {
    "Dataset": "sgurinit.data",
    "InputError": "sgurinit.errors",
    "ItemFeatures": "sgurinit.core",
    "SGURInit": "sgurinit.core",
    "UserStart": "sgurinit.core",
    "compare": "sgurinit.experiments",
    "hand_over": "sgurinit.handover",
    "initialize_": "sgurinit.handover",
    "load_dataset": "sgurinit.data",
    "train": "sgurinit.training",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("sgurinit")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("sgurinit"):
            raise
        raise ImportError(
            f"sgurinit.{name} needs {error.name}, which is not installed: "
            "pip install 'sgurinit[train]'",
            name=error.name,
        ) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
