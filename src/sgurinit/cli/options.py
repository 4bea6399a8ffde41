"""Options that several commands have, and how they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from sgurinit.core.params import (
    KMEANS,
    LOCAL_NORMS,
    PARAMS,
    PREPROCESS_STEPS,
    PRESETS,
    default,
    described,
)

# Written out, for the classes would load torch before any help is shown.
ARMS = (
    *("random", "sgurinit", "local", "global", "hybrid"),
    *("permuted", "random-scaled", "collaborative", "hybrid-shuffled"),
)
MODELS = (
    *("bm3", "bprmf", "dragon", "dualgnn", "freedom", "grcn", "lattice", "lgmrec", "lightgcn"),
    *("mentor", "mgcn", "mmgcn", "slmrec", "smore", "vbpr"),
)


def _folders(begun: str) -> list[str]:
    """Complete the name of a data set in the shell."""
    parent = Path(begun) if begun.endswith("/") else Path(begun).parent
    found = sorted(f"{path}/" for path in parent.glob("*/") if not path.name.startswith("."))
    return [name for name in ("planted", "xwines", *found) if name.startswith(begun)]


def _known(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Complete one of the names in the shell."""

    def complete(begun: str) -> list[str]:
        return [name for name in known if name.startswith(begun)]

    return complete


def _presets() -> str:
    """What every preset sets that the default does not, as options."""
    differing = {
        name: [
            f"--{field.replace('_', '-')} {value}"
            for field, value in own.items()
            if value != default(field)
        ]
        for name, own in PRESETS.items()
    }
    return "; ".join(f"{name}: {', '.join(fields)}" for name, fields in differing.items() if fields)


def _own(name: str) -> str:
    """Text of a parameter that every arm has a default of its own for."""
    return escape(f"{PARAMS[name].text} For every arm that takes it. Default: the arm's own.")


Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="Folder of the data, 'planted' or 'xwines'.", autocompletion=_folders
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
Model = Annotated[
    str,
    typer.Argument(metavar="MODEL", help=f"{', '.join(MODELS)}.", autocompletion=_known(MODELS)),
]
Models = Annotated[
    str, typer.Option(metavar="MODEL,MODEL", help=f"Models, with commas: {', '.join(MODELS)}.")
]
Arm = Annotated[
    str,
    typer.Option(
        metavar="ARM",
        help=f"How the users start: {', '.join(ARMS)}.",
        autocompletion=_known(ARMS),
    ),
]
Arms = Annotated[
    str,
    typer.Option(metavar="ARM,ARM", help=f"Arms to compare, with commas: {', '.join(ARMS)}."),
]
MaxEpochs = Annotated[
    int | None, typer.Option(min=1, help="Largest number of epochs. Default: 1000.")
]
Patience = Annotated[
    int | None,
    typer.Option(
        min=1, help="Stop after so many epochs without a better validation score. Default: 20."
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME.FIELD=VALUE",
        help="Set a field of a model, an arm or 'train', such as lightgcn.n_layers=2 or "
        "sgurinit.scale=2. What is set for sgurinit or hybrid holds for its controls too. "
        "Repeatable.",
    ),
]


def _of(name: str, also: str = "", **more: Any) -> Any:
    """Option of a parameter of the method, with its text and default."""
    return typer.Option(help=escape(described(name) + also), **more)


_NORMS = "|".join(LOCAL_NORMS)
_STEPS = f" Steps: {', '.join(PREPROCESS_STEPS)}."

Clusters = Annotated[int | None, _of("n_clusters", min=1)]
LocalWeight = Annotated[float | None, _of("local_weight", min=0, max=1)]
LocalNorm = Annotated[str | None, _of("local_norm", metavar=_NORMS)]
Preprocess = Annotated[str, _of("preprocess", _STEPS, metavar="STEP,STEP")]
JointDim = Annotated[int | None, _of("joint_dim", min=1)]
Collaborative = Annotated[float | None, _of("collaborative", min=0, max=1)]
CollaborativeRank = Annotated[int | None, _of("collaborative_rank", min=1)]
Content = Annotated[bool | None, typer.Option("--content/--no-content", help=described("content"))]
KMeans = Annotated[str | None, _of("kmeans", metavar="|".join(KMEANS))]
ArmClusters = Annotated[int | None, typer.Option(min=1, help=_own("n_clusters"))]
ArmLocalWeight = Annotated[float | None, typer.Option(min=0, max=1, help=_own("local_weight"))]
ArmLocalNorm = Annotated[str | None, typer.Option(metavar=_NORMS, help=_own("local_norm"))]
Preset = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(PRESETS),
        help=f"Start from a preset; other options override it. {_presets()}. Default: published, "
        "the defaults named here.",
    ),
]
TensorBoard = Annotated[
    bool,
    typer.Option(
        "--tensorboard",
        help="Write curves during training. To view: tensorboard --logdir OUT/tensorboard.",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(min=1, help="Runs at a time; they share the cores. Default: one per core."),
]


def examples(*lines: str) -> str:
    """Lines below a command's help."""
    return "Examples:\n\n" + "\n\n".join(f"[dim]$[/dim] {line}" for line in lines)


def given(**options: Any) -> dict[str, Any]:
    """Options that were given; the library has the defaults of the others."""
    return {name: value for name, value in options.items() if value is not None}


def names(text: str) -> list[str]:
    """Names that were given with commas between them."""
    return [name.strip() for name in text.split(",") if name.strip()]
