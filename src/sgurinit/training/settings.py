"""Settings of a training run that do not belong to a model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sgurinit.evaluation.metrics import CUTOFFS, METRICS


class TrainSettings(BaseModel):
    """The literature's protocol by default. Frozen; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_epochs: int = Field(default=1000, ge=1, description="Epochs at the most.")
    patience: int = Field(
        default=20, ge=1, description="Epochs without a better validation score before stopping."
    )
    batch_size: int = Field(default=2048, ge=1, description="Training triples per step.")
    monitor: str = Field(
        default="recall@20",
        pattern=f"^({'|'.join(METRICS)})@({'|'.join(map(str, CUTOFFS))})$",
        description="Validation metric that decides, unrounded.",
    )
    negatives: Literal["seen", "all"] = Field(
        default="seen",
        description=(
            "Items that negatives are drawn from: those with a training interaction, so that cold "
            "items are not pushed down for want of data, or all."
        ),
    )
