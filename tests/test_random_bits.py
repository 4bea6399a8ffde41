"""Philox against published answers and against plain integers."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sgurinit.random_bits import draw_bits, draw_uniform

WORD = st.integers(0, 2**32 - 1)


def philox_slowly(key: list[int], counter: list[int]) -> list[int]:
    """Compute one block as in section 3.3 of the paper, with Python's integers."""
    (k0, k1), (x0, x1, x2, x3) = key, counter
    for _ in range(10):
        p0, p1 = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1, x2, x3 = (
            (p1 >> 32) ^ x1 ^ k0, p1 % 2**32, (p0 >> 32) ^ x3 ^ k1, p0 % 2**32,
        )  # fmt: skip
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return [x0, x1, x2, x3]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000",
         "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
         "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
         "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)  # fmt: skip
def test_answers_of_the_random123_library(counter: str, key: str, expected: str) -> None:
    words = [torch.tensor([int(word, 16)]) for word in counter.split()]
    found = draw_bits(tuple(int(word, 16) for word in key.split()), tuple(words))
    assert [f"{int(word):08x}" for word in found] == expected.split()


@given(st.lists(st.tuples(WORD, WORD), min_size=1, max_size=5), WORD, WORD, WORD, WORD)
def test_every_counter_by_itself(pairs, third, fourth, k0, k1) -> None:
    first, second = (torch.tensor(column) for column in zip(*pairs, strict=True))
    found = torch.stack(draw_bits((k0, k1), (first, second, third, fourth)), dim=1).tolist()
    assert found == [philox_slowly([k0, k1], [x, y, third, fourth]) for x, y in pairs]


@given(st.lists(WORD, min_size=1, max_size=5), WORD, WORD)
def test_uniform_numbers_are_the_first_52_bits(places, k0, k1) -> None:
    for place, found in zip(places, draw_uniform((k0, k1), torch.tensor(places)), strict=True):
        high, low, *_ = philox_slowly([k0, k1], [place, 0, 0, 0])
        bits = (high << 20) + (low >> 12)
        assert float(found) == float(Fraction(2 * bits + 1, 2**53))
        assert 0 < found < 1


def test_uniform_numbers_fill_the_range_evenly() -> None:
    found = draw_uniform((1, 2), torch.arange(20_000))
    torch.testing.assert_close(
        torch.histc(found, 10, 0, 1) / 20_000, torch.full((10,), 0.1).double(), atol=0.01, rtol=0
    )
