"""Write the reference of the command line from the commands themselves.

The page ``reference/command-line.md`` holds the mark ``<!-- commands -->``. When the site is built,
the mark is replaced by one section per command with its usage, its options and its examples.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import PurePath
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

MARK = "<!-- commands -->"
# Every command has these; the page describes them once.
COMMON = frozenset({"--help", "--json", "--quiet"})
# Columns of a code block that needs no scrolling.
WIDTH = 82
# The order of the page: from data to vectors to comparisons.
ORDER = (
    "demo", "inspect", "datasets", "prepare", "encode", "convert", "init", "stream", "recommend",
    "train", "compare", "study", "report",
)  # fmt: skip


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill the page that asks for the commands."""
    return markdown.replace(MARK, sections()) if MARK in markdown else markdown


@cache
def sections() -> str:
    """Return one section per command."""
    return "\n\n".join(section(name, command) for name, command in commands())


def commands() -> Iterator[tuple[str, TyperCommand]]:
    """Yield every command with its full name, ``datasets get`` for one of a group."""
    # Here, since the other hooks need no command line.
    from sgurinit.cli import app  # noqa: PLC0415

    found = {" ".join(path): command for path, command in _walk(typer.main.get_command(app), ())}

    def place(name: str) -> tuple[int, str]:
        first = name.partition(" ")[0]
        return (ORDER.index(first) if first in ORDER else len(ORDER), name)

    for name in sorted(found, key=place):
        yield name, found[name]


def _walk(group: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], TyperCommand]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _walk(command, (*path, name))
        elif isinstance(command, TyperCommand) and not command.hidden:
            yield (*path, name), command


def section(name: str, command: TyperCommand) -> str:
    """Return the section of one command."""
    arguments = [_argument(p) for p in command.params if p.param_type_name == "argument"]
    parts = [
        f"## `{name}`",
        _plain(command.help or ""),
        f"```text\nsgurinit {' '.join([name, *arguments])} [OPTIONS]\n```",
        table(command),
    ]
    lines = [line.strip() for line in _plain(command.epilog or "").splitlines()]
    shown = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    if shown:
        parts.append("```bash\n" + "\n".join(map(_wrapped, shown)) + "\n```")
    return "\n\n".join(part for part in parts if part)


def table(command: TyperCommand) -> str:
    """Return the arguments and options of a command as a Markdown table."""
    rows = []
    for parameter in command.params:
        flags = [*parameter.opts, *parameter.secondary_opts]
        if COMMON & set(flags) or getattr(parameter, "hidden", False):
            continue
        is_argument = parameter.param_type_name == "argument"
        shown = [_argument(parameter)] if is_argument else flags
        names = ", ".join(f"`{name}`" for name in shown)
        text, _, default = _plain(getattr(parameter, "help", None) or "").partition(" Default: ")
        cells = [
            names,
            _value(parameter),
            default.rstrip(".") or _default(parameter),
            text,
        ]
        rows.append(f"| {' | '.join(map(_cell, cells))} |")
    if not rows:
        return ""
    head = "| argument or option | value | default | what it does |\n|---|---|---|---|"
    return "\n".join([head, *rows])


def _argument(parameter: Any) -> str:
    name = str(parameter.metavar or parameter.name.upper())
    return name if parameter.required else f"[{name}]"


def _value(parameter: Any) -> str:
    """Return what an option takes, as its help shows it."""
    if parameter.param_type_name == "argument" or getattr(parameter, "is_flag", False):
        return ""
    if parameter.metavar:
        return ", ".join(f"`{choice}`" for choice in parameter.metavar.split("|"))
    kind = parameter.type_descriptor.annotation
    name = "path" if issubclass(kind, PurePath) else kind.__name__.lower()
    bounds = [
        f"{sign} {bound:g}"
        for sign, bound in (("≥", parameter.min), ("≤", parameter.max))
        if bound is not None
    ]
    return " ".join([{"str": "text"}.get(name, name), ", ".join(bounds)]).strip()


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    default = parameter.default
    if default in (None, "") or isinstance(default, bool | list | tuple):
        return ""
    return f"`{getattr(default, 'value', default)}`"


def _plain(text: str) -> str:
    """Remove the marks that color the help in a terminal."""
    text = text.replace("\\[", "[")
    return re.sub(r"\[/?(?:bold|dim|italic|cyan|green|yellow|red|blue)\]", "", text).strip()


def _wrapped(line: str) -> str:
    """Break a long command before an option."""
    lines = [""]
    for word in re.split(r" (?=--)", line):
        if lines[-1] and len(lines[-1]) + len(word) > WIDTH:
            lines.append("    " + word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip() if len(lines) == 1 else f"{lines[-1]} {word}"
    return " \\\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
