"""Generated data with known structure, for tests with a known answer.

Users are mixtures of latent topics, and items belong mostly to one topic. A user chooses items in
proportion to ``exp(sharpness * <user topics, item topics> + item popularity)``. The share of test
interactions on cold items and the common mean of the features follow the TikTok data of DiffMM, but
users have fewer interactions. Features depend on an item's topics, with so much noise that clusters
of features do not recover the topics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgurinit.arguments import check_integer
from sgurinit.core.inputs.features import ItemFeatures
from sgurinit.data.dataset import Dataset, Interactions
from sgurinit.errors import InputError

_Floats = NDArray[np.float64]

_SHARPNESS = 8.0  # weight of topic affinity when users choose items
_MIXING = 0.7  # total Dirichlet weight of the topics; below 1, users have few topics
_POPULARITY_SPREAD = 1.0  # standard deviation of the items' popularity on the log scale
_DEGREE_LOG_MEDIAN, _DEGREE_LOG_SPREAD = np.log(2.2), 1.25
_LARGEST_SHARE = 0.25  # largest share of all items that one user chooses
_HELD_OUT = 0.1  # share of a user's interactions in validation, and again in test
_COLD_ITEMS = 0.1  # share of items without a training interaction
_COLD_INTERACTIONS = 2  # mean number of held-out interactions of a cold item
_COLD_USERS = 0.005  # share of users without a training interaction
_BLOCK = 1 << 22  # user x item scores in memory at a time


@dataclass(frozen=True)
class _Modality:
    """How the features of a modality depend on the topics."""

    width: int
    noise: float
    """Standard deviation of the noise; that of the topics is 1."""
    common: float
    """Norm of the mean that all rows share."""


_MODALITIES = {
    "image": _Modality(width=64, noise=3.0, common=58.0),
    "text": _Modality(width=32, noise=1.3, common=5.5),
}


@dataclass(frozen=True, eq=False)
class PlantedData:
    """A generated data set, and the topics it was generated from.

    Attributes
    ----------
    dataset : Dataset
        The data set that models may use.
    user_topics : ndarray of float64, shape (n_users, n_topics)
        Topic mixture of each user. Rows sum to 1.
    item_topics : ndarray of float64, shape (n_items, n_topics)
        Topic mixture of each item, mostly one topic. Rows sum to 1.
    item_popularity : ndarray of float64, shape (n_items,)
        Log-weight of each item in the choices of all users.

    See Also
    --------
    plant : Generates it.

    Examples
    --------
    >>> from sgurinit.data import plant
    >>> generated = plant(200, 100)
    >>> generated.user_topics.shape
    (200, 30)
    """

    dataset: Dataset
    user_topics: _Floats
    item_topics: _Floats
    item_popularity: _Floats

    def scores(self, users: NDArray[np.int64] | slice = slice(None)) -> _Floats:
        """Return the log-weights by which users choose, which give the best possible ranking.

        Parameters
        ----------
        users : ndarray of int or slice, default all
            Positions of the users to score.

        Returns
        -------
        ndarray of float64, shape (len(users), n_items)
            One row of scores per user.
        """
        affinity = self.user_topics[users] @ self.item_topics.T
        return np.asarray(_SHARPNESS * affinity + self.item_popularity)

    def ceiling(self, k: int = 20) -> float:
        """Return the test Recall@k of the best possible ranking, without training items.

        Parameters
        ----------
        k : int, default 20
            Number of recommended items.

        Returns
        -------
        float
            Mean over the users with test interactions, in [0, 1].
        """
        test = self.dataset.test
        users, first = np.unique(test.users, return_index=True)
        scores = self.scores(users)
        known = self.dataset.train_matrix()[users].nonzero()
        scores[known] = -np.inf
        best = np.argpartition(-scores, k, axis=1)[:, :k]
        hits = [
            np.isin(best[row], items).sum() / len(items)
            for row, items in enumerate(np.split(test.items, first[1:]))
        ]
        return float(np.mean(hits))


def planted(
    n_users: int = 2000, n_items: int = 1000, *, n_topics: int = 30, seed: int = 0
) -> Dataset:
    """Generate a data set with known structure.

    `plant` describes the structure, and also returns the truth behind it.

    Parameters
    ----------
    n_users : int, default 2000
        Number of users, at least 10. Time grows with ``n_users * n_items``.
    n_items : int, default 1000
        Number of items, at least 40.
    n_topics : int, default 30
        Number of topics, between 1 and `n_items`.
    seed : int, default 0
        Seed of everything random. The same seed and sizes give the same data.

    Returns
    -------
    Dataset
        A data set with the modalities ``"image"`` (64-d, noisy, with a dominant common direction)
        and ``"text"`` (32-d, less noisy), and ids such as ``"u0001"`` and ``"i0001"``.

    Raises
    ------
    InputError
        If a size is out of range.

    See Also
    --------
    plant : The same, with the topics and the best possible ranking.
    xwines : Real data that the package ships.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> planted(200, 100)
    Dataset('planted', 200 users, 100 items)
      interactions: train 706, valid 86, test 93
      features: image 64-d, text 32-d
    """
    return plant(n_users, n_items, n_topics=n_topics, seed=seed).dataset


def plant(
    n_users: int = 2000, n_items: int = 1000, *, n_topics: int = 30, seed: int = 0
) -> PlantedData:
    """Generate a data set with known structure, and return the truth behind it.

    Users are mixtures of latent topics and choose items by topic and popularity. Their numbers of
    interactions have a long tail, with a training median of 2 and a mean of about 4. Each user's
    interactions are split 8:1:1 at random, at least one for training. A tenth of the items have no
    training interaction, but a few in validation and test. A few users have no training
    interaction.

    Parameters
    ----------
    n_users : int, default 2000
        Number of users, at least 10. Time grows with ``n_users * n_items``.
    n_items : int, default 1000
        Number of items, at least 40.
    n_topics : int, default 30
        Number of topics, between 1 and `n_items`.
    seed : int, default 0
        Seed of everything random. The same seed and sizes give the same data.

    Returns
    -------
    PlantedData
        The data set, the topics of users and items, and the items' popularity.

    Raises
    ------
    InputError
        If a size is out of range.

    See Also
    --------
    planted : The same, without the truth.

    Examples
    --------
    >>> from sgurinit.data import plant
    >>> generated = plant(200, 100)
    >>> round(generated.ceiling(k=20), 2)
    0.67
    """
    _check_sizes(n_users, n_items, n_topics, seed)
    topics_rng, degree_rng, choice_rng, split_rng, cold_rng, feature_rng = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(6)
    )
    user_topics = topics_rng.dirichlet(np.full(n_topics, _MIXING / n_topics), size=n_users)
    main_topic = topics_rng.permutation(np.arange(n_items) % n_topics)
    item_topics = 0.15 * topics_rng.dirichlet(np.ones(n_topics), size=n_items)
    item_topics[np.arange(n_items), main_topic] += 0.85
    popularity = topics_rng.normal(0.0, _POPULARITY_SPREAD, size=n_items)

    cold_items = np.zeros(n_items, dtype=bool)
    cold_items[cold_rng.permutation(n_items)[: round(_COLD_ITEMS * n_items)]] = True
    degrees = _degrees(degree_rng, n_users, n_items)
    users, items = _choose(
        choice_rng, user_topics, item_topics, np.where(cold_items, -np.inf, popularity), degrees
    )
    split = _split(split_rng, users, degrees)
    cold_users = cold_rng.permutation(n_users)[: max(1, round(_COLD_USERS * n_users))]
    split[(split == 0) & np.isin(users, cold_users)] = 2
    more = _choose_cold_items(cold_rng, user_topics, item_topics, np.flatnonzero(cold_items))
    users, items, split = (
        np.concatenate(pair) for pair in zip((users, items, split), more, strict=True)
    )
    train, valid, test = (Interactions(users[split == s], items[split == s]) for s in range(3))
    dataset = Dataset(
        name="planted",
        layout="planted",
        train=train,
        valid=valid,
        test=test,
        features=_features(feature_rng, item_topics),
        user_ids=_numbered_ids("u", n_users),
        item_ids=_numbered_ids("i", n_items),
    )
    return PlantedData(dataset, user_topics, item_topics, popularity)


def _check_sizes(n_users: int, n_items: int, n_topics: int, seed: int) -> None:
    sizes = (("n_users", n_users, 10), ("n_items", n_items, 40), ("n_topics", n_topics, 1))
    for name, value, least in (*sizes, ("seed", seed, 0)):
        check_integer(value, name, least)
    if n_topics > n_items:
        raise InputError(f"n_topics is {n_topics}, expected at most n_items ({n_items})")


def _degrees(rng: np.random.Generator, n_users: int, n_items: int) -> NDArray[np.int64]:
    drawn = rng.lognormal(_DEGREE_LOG_MEDIAN, _DEGREE_LOG_SPREAD, size=n_users)
    return np.clip(np.rint(drawn), 1, max(1, int(_LARGEST_SHARE * n_items))).astype(np.int64)


def _choose(
    rng: np.random.Generator,
    user_topics: _Floats,
    item_topics: _Floats,
    popularity: _Floats,
    degrees: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw `degrees` items per user without replacement.

    The k largest of log-weights plus Gumbel noise are k draws without replacement from their
    softmax (Gumbel top-k).
    """
    n_items = len(popularity)
    rows = max(1, _BLOCK // n_items)
    users, items = [], []
    for start in range(0, len(degrees), rows):
        block = slice(start, start + rows)
        scores = _SHARPNESS * user_topics[block] @ item_topics.T + popularity
        scores += rng.gumbel(size=scores.shape)
        order = np.argsort(-scores, axis=1)
        taken = np.arange(n_items) < degrees[block, None]
        users.append(start + np.nonzero(taken)[0])
        items.append(order[taken])
    return np.concatenate(users), np.concatenate(items)


def _split(
    rng: np.random.Generator, users: NDArray[np.int64], degrees: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Label each interaction 0 (train), 1 (valid) or 2 (test), 8:1:1 per user.

    A tenth of a small degree is rounded at random, so that the shares are right on average. The
    first of a user's interactions in random order always stays in training.
    """
    n_valid, n_test = (np.floor(_HELD_OUT * degrees + rng.random(len(degrees))) for _ in range(2))
    n_test = np.minimum(n_test, degrees - 1)
    n_valid = np.minimum(n_valid, degrees - 1 - n_test)
    order = np.lexsort((rng.random(len(users)), users))
    first = np.cumsum(degrees) - degrees
    rank_from_last = degrees[users] - 1 - (np.arange(len(users)) - first[users])
    split = np.zeros(len(users), dtype=np.int64)
    split[order] = np.where(
        rank_from_last < n_test[users],
        2,
        np.where(rank_from_last < (n_test + n_valid)[users], 1, 0),
    )
    return split


def _choose_cold_items(
    rng: np.random.Generator,
    user_topics: _Floats,
    item_topics: _Floats,
    cold: NDArray[np.int64],
) -> tuple[NDArray[np.int64], ...]:
    """Draw the users who choose each cold item, by affinity, for validation or test."""
    counts = np.minimum(1 + rng.poisson(_COLD_INTERACTIONS - 1, size=len(cold)), len(user_topics))
    items, users = _choose(rng, item_topics[cold], user_topics, np.zeros(len(user_topics)), counts)
    return users, cold[items], rng.integers(1, 3, size=len(users))


def _features(rng: np.random.Generator, item_topics: _Floats) -> dict[str, ItemFeatures]:
    features = {}
    n_items, n_topics = item_topics.shape
    for name, modality in _MODALITIES.items():
        places = rng.normal(size=(n_topics, modality.width))
        common = rng.normal(size=modality.width)
        common *= modality.common / np.linalg.norm(common)
        noise = rng.normal(0.0, modality.noise, size=(n_items, modality.width))
        values: NDArray[Any] = (item_topics @ places + common + noise).astype(np.float32)
        features[name] = ItemFeatures(values)
    return features


def _numbered_ids(letter: str, count: int) -> NDArray[np.str_]:
    digits = max(4, len(str(count - 1)))
    return np.array([f"{letter}{n:0{digits}d}" for n in range(count)])
