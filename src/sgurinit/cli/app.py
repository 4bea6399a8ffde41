"""The application that commands join, and how what a user can mend is said."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup
from typing_extensions import override

from sgurinit.errors import InputError

# What comes with the extra; a missing package of any other name is a broken installation.
_EXTRA = {
    *("class_resolver", "filelock", "lightning", "optuna", "platformdirs", "plotly", "torch"),
    "yaml",
}
_BAD_INPUT, _INTERRUPTED = 2, 130

# What the parser raises for unknown or malformed options; typer gives its subclasses a name only.
_UsageError: Any = typer.BadParameter.__base__

console = Console()
err = Console(stderr=True)


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
            _fail(str(error))
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in _EXTRA:
                raise
            _fail(
                f"this command needs {error.name}, which is not installed: "
                "pip install 'sgurinit[train]'"
            )
        except KeyboardInterrupt:
            err.print("\nstopped; what is finished is kept, the same command goes on from there")
            raise typer.Exit(_INTERRUPTED) from None


def say(where: Console, line: str) -> None:
    """Print text with names in it: no markup in it counts, and a path is not broken in two."""
    where.print(line, markup=False, highlight=False, soft_wrap=True)


def _fail(message: str) -> NoReturn:
    line = " ".join(message.split())
    say(err, f"error: {line}")
    raise typer.Exit(_BAD_INPUT) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help=(
        "A meaningful, training-free start for every user of a multimodal recommender.\n\n"
        "DATA is a folder in a known layout, or [bold]planted[/bold] for generated data.\n\n"
        "Begin with [bold]sgurinit demo[/bold]."
    ),
)


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
