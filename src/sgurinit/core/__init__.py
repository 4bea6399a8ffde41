"""The method: SG-URInit on NumPy, SciPy and scikit-learn.

Names are imported when first asked for, so that the command line can read the table of parameters
(`sgurinit.core.params`) without loading scikit-learn.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sgurinit.core.estimator import SGURInit
    from sgurinit.core.fit import FittedStart
    from sgurinit.core.inputs.features import ItemFeatures
    from sgurinit.core.new_items import place_new_items
    from sgurinit.core.start import JointStart, UserStart
    from sgurinit.core.steps.clusters import Clusters

__all__ = [
    "Clusters",
    "FittedStart",
    "ItemFeatures",
    "JointStart",
    "SGURInit",
    "UserStart",
    "place_new_items",
]

_MODULES = {
    "Clusters": "steps.clusters",
    "FittedStart": "fit",
    "ItemFeatures": "inputs.features",
    "JointStart": "start",
    "SGURInit": "estimator",
    "UserStart": "start",
    "place_new_items": "new_items",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
