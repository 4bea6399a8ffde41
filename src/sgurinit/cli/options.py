"""Options that several commands have, and how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sgurinit.core.params import KMEANS, LOCAL_NORMS, PRESETS, described


def _folders(begun: str) -> list[str]:
    """Complete the name of a data set in the shell."""
    parent = Path(begun) if begun.endswith("/") else Path(begun).parent
    found = sorted(f"{path}/" for path in parent.glob("*/") if not path.name.startswith("."))
    return [name for name in ("planted", "xwines", *found) if name.startswith(begun)]


Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="Folder of the data, 'planted' or 'xwines'.", autocompletion=_folders
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
MaxEpochs = Annotated[int | None, typer.Option(min=1, help="Epochs at the most. Default 1000.")]
Patience = Annotated[
    int | None, typer.Option(min=1, help="Epochs without a better validation score. Default 20.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME.FIELD=VALUE",
        help="A field of a model, an arm or 'train', such as lightgcn.n_layers=2. Repeatable.",
    ),
]
Clusters = Annotated[int | None, typer.Option(min=1, help=described("n_clusters"))]
LocalWeight = Annotated[float | None, typer.Option(min=0, max=1, help=described("local_weight"))]
LocalNorm = Annotated[
    str | None, typer.Option(metavar="|".join(LOCAL_NORMS), help=described("local_norm"))
]
Preprocess = Annotated[str, typer.Option(metavar="STEP,STEP", help=described("preprocess"))]
JointDim = Annotated[int | None, typer.Option(min=1, help=described("joint_dim"))]
Collaborative = Annotated[float | None, typer.Option(min=0, max=1, help=described("collaborative"))]
CollaborativeRank = Annotated[int | None, typer.Option(min=1, help=described("collaborative_rank"))]
KMeans = Annotated[str | None, typer.Option(metavar="|".join(KMEANS), help=described("kmeans"))]
Preset = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(PRESETS),
        help="Parameters by name; what else is given goes on top. Default: published.",
    ),
]
TensorBoard = Annotated[
    bool,
    typer.Option(
        "--tensorboard",
        help="Write curves while runs go on; tensorboard --logdir OUT/tensorboard draws them.",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(min=1, help="Runs at a time, sharing the cores. One per core by default."),
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
