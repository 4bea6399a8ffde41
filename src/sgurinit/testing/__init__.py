"""What a recommender has to pass, for the zoo's models and for anyone's own. Needs pytest."""

from sgurinit.testing.datasets import small_dataset
from sgurinit.testing.recommenders import RecommenderTests

__all__ = ["RecommenderTests", "small_dataset"]
