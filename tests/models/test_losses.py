"""Losses that several models share."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from sgurinit.models import MENTOR, MGCN, SMORE, LGMRec
from sgurinit.models.blocks.contrast import log_sums
from sgurinit.models.blocks.losses import COLDEST, bpr, info_nce


def test_counted_contrast_equals_the_repeated_rows():
    view, other = torch.randn(4, 3), torch.randn(4, 3)
    counts = torch.tensor([1, 3, 2, 1])
    repeated = info_nce(
        view.repeat_interleave(counts, 0), other.repeat_interleave(counts, 0), 0.2, torch.ones(7)
    )
    torch.testing.assert_close(info_nce(view, other, 0.2, counts), repeated)


def test_bpr_refuses_shapes_that_would_broadcast():
    with pytest.raises(ValueError, match="equal shapes"):
        bpr(torch.ones(4, 2), torch.ones(1, 2), torch.ones(4, 2))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_contrast_is_finite_at_the_coldest_temperature(sign):
    n = 4000
    view = torch.ones(n, 2)
    found = info_nce(view, sign * view, COLDEST, torch.ones(n))
    torch.testing.assert_close(found, torch.tensor(float(n)).log())
    sums = log_sums(view[:, :1] / COLDEST, sign * view[:, :1], torch.ones(n))
    torch.testing.assert_close(sums / n, torch.tensor(float(n)).log() + sign / COLDEST)


@pytest.mark.parametrize("model", [LGMRec, MENTOR, MGCN, SMORE])
def test_a_colder_temperature_is_refused(model):
    model.Config(temperature=COLDEST)
    with pytest.raises(ValidationError, match="temperature"):
        model.Config(temperature=COLDEST / 2)
