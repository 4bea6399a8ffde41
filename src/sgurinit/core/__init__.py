"""The method: SG-URInit on NumPy, SciPy and scikit-learn."""

from sgurinit.core.clusters import Clusters
from sgurinit.core.estimator import SGURInit
from sgurinit.core.features import ItemFeatures
from sgurinit.core.start import ReducedStart, UserStart

__all__ = ["Clusters", "ItemFeatures", "ReducedStart", "SGURInit", "UserStart"]
