"""Lists of recommended items, from a trained model or from a start alone."""

from sgurinit.recommendations.lists import recommend

__all__ = ["recommend"]
