"""Docstrings of model configs, written from their fields."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel


def document_fields(config: type[BaseModel]) -> str:
    """Write a NumPy-style ``Parameters`` section: type, range, default and text of each field."""
    lines = ["Parameters", "----------"]
    for name, field in config.model_fields.items():
        bounds = _describe_range(field.metadata)
        lines.append(
            f"{name} : {_describe_type(field.annotation)}{bounds}, default {field.default!r}"
        )
        lines += textwrap.wrap(
            field.description or "", 96, initial_indent="    ", subsequent_indent="    "
        )
    return "\n".join(lines)


def _describe_type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "{" + ", ".join(map(repr, arguments)) + "}"
    if origin is Mapping:
        return "mapping of " + " to ".join(map(_describe_type, arguments))
    if origin is Annotated:
        bounds = [limit for field in arguments[1:] for limit in field.metadata]
        return _describe_type(arguments[0]) + _describe_range(bounds)
    return str(getattr(annotation, "__name__", annotation))


def _describe_range(metadata: list[Any]) -> str:
    """Describe the limits of a number, such as `` in [0, 1)`` or `` >= 1``; empty without any."""
    low = next((f"[{m.ge:g}" for m in metadata if isinstance(m, Ge)), "")
    low = low or next((f"({m.gt:g}" for m in metadata if isinstance(m, Gt)), "")
    high = next((f"{m.le:g}]" for m in metadata if isinstance(m, Le)), "")
    high = high or next((f"{m.lt:g})" for m in metadata if isinstance(m, Lt)), "")
    if low and high:
        return f" in {low}, {high}"
    if low:
        return f" {'>=' if low[0] == '[' else '>'} {low[1:]}"
    return f" {'<=' if high[-1] == ']' else '<'} {high[:-1]}" if high else ""
