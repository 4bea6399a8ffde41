"""Training-free, model-agnostic starts for the users of multimodal recommenders (SG-URInit).

The names below are imported on first use, so ``import sgurinit`` is fast. `Study`, `attach`,
`compare`, `hand_over`, `initialize_`, `train` and `write_report` need the extra
``sgurinit[train]``. The others work without torch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sgurinit.core import ItemFeatures as ItemFeatures
    from sgurinit.core import SGURInit as SGURInit
    from sgurinit.core import UserStart as UserStart
    from sgurinit.data import Dataset as Dataset
    from sgurinit.data import load_dataset as load_dataset
    from sgurinit.errors import InputError as InputError
    from sgurinit.experiments import Study as Study
    from sgurinit.experiments import compare as compare
    from sgurinit.handover import hand_over as hand_over
    from sgurinit.handover import initialize_ as initialize_
    from sgurinit.integrations.torch import attach as attach
    from sgurinit.recommendations import recommend as recommend
    from sgurinit.report.page import write_report as write_report
    from sgurinit.training import train as train

_MODULES = {
    "Dataset": "sgurinit.data",
    "InputError": "sgurinit.errors",
    "ItemFeatures": "sgurinit.core",
    "SGURInit": "sgurinit.core",
    "Study": "sgurinit.experiments",
    "UserStart": "sgurinit.core",
    "attach": "sgurinit.integrations.torch",
    "compare": "sgurinit.experiments",
    "hand_over": "sgurinit.handover",
    "initialize_": "sgurinit.handover",
    "load_dataset": "sgurinit.data",
    "recommend": "sgurinit.recommendations",
    "train": "sgurinit.training",
    "write_report": "sgurinit.report.page",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("sgurinit")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_MODULES[name]), name)
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
