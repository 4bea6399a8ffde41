"""Losses that several models share. Each returns a scalar."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

# Lowest temperature at which sums of exponentials of cosines stay in float32's range unshifted.
COLDEST = 0.02


def bpr(users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """Bayesian personalised ranking: ``-mean ln sigmoid(u·p - u·n)``.

    Parameters
    ----------
    users, positives, negatives
        Vectors of the batch's triples, each ``(batch, d)``.

    References
    ----------
    Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009.
    """
    if not users.shape == positives.shape == negatives.shape:
        raise ValueError(
            f"BPR needs equal shapes, got {tuple(users.shape)}, {tuple(positives.shape)} "
            f"and {tuple(negatives.shape)}"
        )
    margin = (users * (positives - negatives)).sum(dim=1)
    return -functional.logsigmoid(margin).mean()


def l2(*tables: Tensor) -> Tensor:
    """Half the squared norm of the batch's vectors, per triple: ``1/(2B) sum ||x||^2``."""
    batch = tables[0].shape[0]
    return sum((table.square().sum() for table in tables), start=tables[0].new_zeros(())) / (
        2 * batch
    )


def info_nce(view: Tensor, other: Tensor, temperature: float, counts: Tensor) -> Tensor:
    """Contrast each row of `view` with the same row of `other` against its other rows.

    A batch holds popular nodes several times. Giving each distinct node once, with its count, has
    the value and the gradient of giving the repeated rows, at a fraction of the products.

    Parameters
    ----------
    view, other
        Two views of the same nodes, each ``(n, d)``; compared by cosine.
    temperature
        Divides the cosines, at least `COLDEST`.
    counts
        How often the batch holds each node, ``(n,)``.

    References
    ----------
    van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018.
    """
    view = functional.normalize(view, dim=1) / temperature
    other = functional.normalize(other, dim=1)
    counts = counts.to(view.dtype)
    # Cosines are bounded, so the exponentials need no shift by their maximum.
    total = (view @ other.T).exp() @ counts
    positive = (view * other).sum(dim=1)
    return ((total.log() - positive) * counts).sum() / counts.sum()
