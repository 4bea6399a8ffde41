"""What all settings have in common: they are frozen, and every field is checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Integral
from typing import Annotated, Any, get_args

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic_core import PydanticCustomError


def _as_int(value: Any) -> Any:
    """Turn an integer of NumPy into one of Python, which a strict field expects."""
    is_number = isinstance(value, Integral) and not isinstance(value, bool)
    return int(value) if is_number else value


StrictInteger = Annotated[int, Field(strict=True), BeforeValidator(_as_int)]
"""An integer of Python or NumPy. Text and whole floats are refused, as for seeds."""


class Settings(BaseModel):
    """Base class of settings. Frozen; unknown fields and numbers that are not finite are errors.

    True and False are refused where a field does not take them, though they count as 1 and 0 in
    Python. YAML reads ``yes`` and ``on`` as true.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="wrap")
    @classmethod
    def _refuse_truth_values(
        cls, value: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        found = validate(value)
        annotation = cls.model_fields[str(info.field_name)].annotation
        if _holds_truth_value(value) and not any(map(_takes_truth_values, _parts(annotation))):
            raise PydanticCustomError(
                "truth_value", "this field takes neither true nor false (yes, no, on, off in YAML)"
            )
        return found


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield a type and, for ``list[int]`` and the like, the types that it is made of."""
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def _takes_truth_values(part: Any) -> bool:
    """Whether a type takes true or false, or checks its own fields."""
    if isinstance(part, type) and issubclass(part, BaseModel):
        return True
    return part is bool or part is Any or isinstance(part, bool)


def _holds_truth_value(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_truth_value, [*value.keys(), *value.values()]))
    if isinstance(value, list | tuple):
        return any(map(_holds_truth_value, value))
    return isinstance(value, bool | np.bool_)
