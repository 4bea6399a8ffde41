"""Settings of a training run that do not belong to a model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer

from sgurinit.errors import InputError
from sgurinit.evaluation.metrics import CUTOFFS, METRICS
from sgurinit.fields import Settings

# YAML and JSON read 32 as a number.
_Precision = Annotated[
    Literal["32", "bf16-mixed"], BeforeValidator(lambda value: "32" if value == 32 else value)
]


class TrainSettings(Settings):
    """Settings of a training run. Frozen; unknown fields are an error.

    The defaults are the usual protocol of the literature.

    Parameters
    ----------
    max_epochs : int >= 1, default 1000
        Maximum number of trained epochs.
    patience : int >= 1, default 20
        Trained epochs without a better validation score than an earlier trained epoch before
        training stops. A start that is better than all of them does not end training.
    batch_size : int in [1, 2**31), default 2048
        Training triples per step.
    monitor : str, default "recall@20"
        Validation metric that decides which epoch is best, the start (epoch 0) included,
        ``"<metric>@<k>"`` with a metric of `sgurinit.evaluation.METRICS` and a cut-off of
        `sgurinit.evaluation.CUTOFFS`. It is not rounded.
    negatives : {"seen", "all"}, default "seen"
        Items that negatives are drawn from. ``"seen"``: items with a training interaction, so that
        cold items are not trained as negatives only because they have no data. ``"all"``: all
        items.
    floors : mapping of int to float, default {}
        Validation scores by epoch. If no epoch up to that one, the start included, reached the
        score, training stops there. Empty: never. A search sets them to stop poor trials early.
    precision : {"32", "bf16-mixed"}, default "32"
        ``"32"``: float32. ``"bf16-mixed"``: dense products of a training step are computed in
        bfloat16. Weights, optimizer and every ranking stay float32. Other numbers result, so a run
        does not resume with another precision. The default is not written into files.

    See Also
    --------
    train : Takes these settings.
    Machine : The device, which does not determine the numbers.
    sgurinit.models.RecommenderConfig : Settings that belong to a model.

    Examples
    --------
    >>> TrainSettings(max_epochs=5).patience
    20
    """

    max_epochs: int = Field(default=1000, ge=1, description="Maximum number of trained epochs.")
    patience: int = Field(
        default=20,
        ge=1,
        description="Trained epochs without a better validation score before training stops.",
    )
    batch_size: int = Field(default=2048, ge=1, lt=2**31, description="Training triples per step.")
    monitor: str = Field(
        default="recall@20",
        pattern=f"^({'|'.join(METRICS)})@({'|'.join(map(str, CUTOFFS))})$",
        description="Validation metric that decides which epoch is best. It is not rounded.",
    )
    negatives: Literal["seen", "all"] = Field(
        default="seen",
        description=(
            "Items that negatives are drawn from: items with a training interaction, so that cold "
            "items are not trained as negatives only because they have no data, or all items."
        ),
    )
    floors: dict[Annotated[int, Field(ge=1)], float] = Field(
        default={},
        description=(
            "Training stops at such an epoch if no validation score reached the given one so far."
        ),
    )
    precision: _Precision = Field(
        default="32",
        description=(
            "32: float32. bf16-mixed: dense products of a training step are computed in bfloat16; "
            "weights and rankings stay float32."
        ),
    )

    @model_serializer(mode="wrap")
    def _leave_out_usual_precision(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the default, so that folders that were begun before the field resume."""
        fields: dict[str, Any] = dump(self)
        if self.precision == "32":
            fields.pop("precision", None)
        return fields


def resolve_settings(settings: TrainSettings | None) -> TrainSettings:
    """Return settings of a training run: the given ones, or the defaults if None.

    Raises
    ------
    InputError
        They are not `TrainSettings`.
    """
    if settings is None:
        return TrainSettings()
    if not isinstance(settings, TrainSettings):
        raise InputError(
            f"settings is {settings!r:.200}, expected TrainSettings, such as "
            "TrainSettings(max_epochs=100)"
        )
    return settings
