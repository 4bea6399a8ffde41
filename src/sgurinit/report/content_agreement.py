"""How the page and the terminal show whether content can help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

AGREEMENT_HEADS = ("modality", "agreement", "chance", "ratio", "items")
MEANING_OF_AGREEMENT = (
    "Agreement: how often an item and one of its 10 nearest items by content share a user in "
    "training (± standard error). Chance: how often any two items do. At the chance level, a "
    "ratio of 1, content cannot predict who uses what: do not expect it to help."
)


def format_agreement(facts: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Format the fields of a `ContentAgreement` as the columns after the modality."""
    ratio = facts["ratio"]
    return (
        f"{facts['value']:#.3g} ± {facts['standard_error']:.1g}",
        f"{facts['chance']:#.3g}",
        "" if ratio is None else f"{ratio:#.3g}",
        f"{facts['n_items']:,}",
    )
