"""Tests that every recommender should pass, for the models here and for your own. Needs pytest."""

from sgurinit.testing.datasets import make_small_dataset
from sgurinit.testing.recommenders import RecommenderTests

__all__ = ["RecommenderTests", "make_small_dataset"]
