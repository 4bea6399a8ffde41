"""Write the settings of the models and of training into the reference, from their fields.

Pages hold the marks ``<!-- model settings -->`` and ``<!-- train settings -->``, which are replaced
when the site is built.
"""

from __future__ import annotations

from functools import cache
from typing import Any

MARKS = ("<!-- model settings -->", "<!-- train settings -->")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill the pages that ask for settings."""
    for mark, made in zip(MARKS, (model_settings, train_settings), strict=True):
        if mark in markdown:
            markdown = markdown.replace(mark, made())
    return markdown


@cache
def model_settings() -> str:
    """Return a table per model: fields, defaults, what its search space tries, meanings."""
    # Here, since the other hooks need no torch.
    from sgurinit.models import Recommender, model_resolver  # noqa: PLC0415
    from sgurinit.models.base import RecommenderConfig  # noqa: PLC0415

    common = RecommenderConfig.model_fields
    parts = ["### All models", table(common, {}, {})]
    for name in sorted(model_resolver.lookup_dict):
        kind: type[Recommender] = model_resolver.lookup(name)
        config = kind.Config
        fields = {
            field: info
            for field, info in config.model_fields.items()
            if field not in common or info.default != common[field].default
        }
        parts += [
            f"### {kind.__name__}",
            kind.citation,
            table(fields, config.search_space, common),
        ]
    return "\n\n".join(part for part in parts if part)


@cache
def train_settings() -> str:
    """Return the table of the training's settings."""
    from sgurinit.training import TrainSettings  # noqa: PLC0415

    return table(TrainSettings.model_fields, {}, {})


def table(fields: Any, space: Any, common: Any) -> str:
    """Return the fields of a pydantic model as a Markdown table."""
    head = ["field", "default", "values of the search space", "meaning"]
    rows = []
    for name, info in fields.items():
        tried = ", ".join(f"`{value}`" for value in space.get(name, ()))
        text = info.description or getattr(common.get(name), "description", None) or ""
        rows.append([f"`{name}`", f"`{info.default}`", tried, " ".join(text.split())])
    if not rows:
        return ""
    if not any(row[2] for row in rows):
        head, rows = (
            [head[0], head[1], head[3]],
            [[row[0], row[1], row[3]] for row in rows],
        )
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
