"""Options that several commands share, and how their values are parsed."""

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
    describe_parameter,
    get_default,
)

# Listed here, because importing the classes would load torch just to show help.
ARMS = (
    *("random", "sgurinit", "local", "global", "hybrid"),
    *("permuted", "random-scaled", "collaborative", "hybrid-shuffled"),
)
MODELS = (
    *("bm3", "bprmf", "dragon", "dualgnn", "freedom", "grcn", "lattice", "lgmrec", "lightgcn"),
    *("mentor", "mgcn", "mmgcn", "slmrec", "smore", "vbpr"),
)


def _complete_data(incomplete: str) -> list[str]:
    """Complete the name or folder of a data set in the shell."""
    parent = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    found = sorted(f"{path}/" for path in parent.glob("*/") if not path.name.startswith("."))
    return [name for name in ("planted", "xwines", *found) if name.startswith(incomplete)]


def _complete_from(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Make a function that completes one of the names in the shell."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in known if name.startswith(incomplete)]

    return complete


def _describe_presets() -> str:
    """Describe what every preset changes, as options."""
    differing = {
        name: [
            f"--{field.replace('_', '-')} {value}"
            for field, value in own.items()
            if value != get_default(field)
        ]
        for name, own in PRESETS.items()
    }
    return "; ".join(f"{name}: {', '.join(fields)}" for name, fields in differing.items() if fields)


def _describe_for_arms(name: str) -> str:
    """Describe a parameter that is set for several arms, each with its own default."""
    return escape(f"{PARAMS[name].text} Set for every arm that has it. Default: that of each arm.")


DataArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="Folder of a data set, 'planted' or 'xwines'.",
        autocompletion=_complete_data,
    ),
]
StudyDataOption = Annotated[
    str | None,
    typer.Option(
        metavar="DATA",
        help="Data of the study, instead of those in the file: a folder, 'planted' or 'xwines'.",
        autocompletion=_complete_data,
    ),
]
SeedOption = Annotated[int, typer.Option(min=0, metavar="N", help="Seed of everything random.")]
ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help=f"{', '.join(MODELS)}.", autocompletion=_complete_from(MODELS)
    ),
]
ModelsOption = Annotated[
    str,
    typer.Option(metavar="MODEL,MODEL", help=f"Models, separated by commas: {', '.join(MODELS)}."),
]
ArmOption = Annotated[
    str,
    typer.Option(
        metavar="ARM",
        help=f"Initializer of the users: {', '.join(ARMS)}.",
        autocompletion=_complete_from(ARMS),
    ),
]
ArmsOption = Annotated[
    str,
    typer.Option(
        metavar="ARM,ARM", help=f"Arms to compare, separated by commas: {', '.join(ARMS)}."
    ),
]
MaxEpochsOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Largest number of epochs. Default: 1000.")
]
PatienceOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Stop after this number of epochs without a better validation score. Default: 20.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME.FIELD=VALUE",
        help="Set a field of a model, an arm or 'train', such as lightgcn.n_layers=2 or "
        "sgurinit.scale=2. Fields of sgurinit and hybrid also apply to their controls. "
        "Repeatable.",
    ),
]


def _method_option(name: str, also: str = "", **more: Any) -> Any:
    """Make an option for a parameter of the method, with its description and default."""
    return typer.Option(help=escape(describe_parameter(name) + also), **more)


_NORMS = "|".join(LOCAL_NORMS)
_STEPS = f" Steps: {', '.join(PREPROCESS_STEPS)}."

ClustersOption = Annotated[int | None, _method_option("n_clusters", min=1, metavar="N")]
LocalWeightOption = Annotated[
    float | None, _method_option("local_weight", min=0, max=1, metavar="W")
]
LocalNormOption = Annotated[str | None, _method_option("local_norm", metavar=_NORMS)]
PreprocessOption = Annotated[str, _method_option("preprocess", _STEPS, metavar="STEP,STEP")]
JointDimOption = Annotated[int | None, _method_option("joint_dim", min=1, metavar="N")]
CollaborativeOption = Annotated[
    bool | None,
    typer.Option("--collaborative/--no-collaborative", help=describe_parameter("collaborative")),
]
ContentWeightOption = Annotated[
    float | None, _method_option("content_weight", min=0, metavar="WEIGHT")
]
PenaltyOption = Annotated[float | None, _method_option("penalty", min=0, metavar="PENALTY")]
CollaborativeRankOption = Annotated[
    int | None, _method_option("collaborative_rank", min=1, metavar="N")
]
KMeansOption = Annotated[str | None, _method_option("kmeans", metavar="|".join(KMEANS))]
StartDeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="cpu|cuda|cuda:N|auto",
        help="What computes: NumPy, or torch on a card, for very many items. auto: a card where "
        "there is one.",
    ),
]
ArmClustersOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help=_describe_for_arms("n_clusters"))
]
ArmLocalWeightOption = Annotated[
    float | None, typer.Option(min=0, max=1, metavar="W", help=_describe_for_arms("local_weight"))
]
ArmLocalNormOption = Annotated[
    str | None, typer.Option(metavar=_NORMS, help=_describe_for_arms("local_norm"))
]
PresetOption = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(PRESETS),
        help=f"Set several options at once; single options override it. {_describe_presets()}. "
        "Default: published, the defaults shown here.",
    ),
]
TensorBoardOption = Annotated[
    bool,
    typer.Option(
        "--tensorboard",
        help="Write learning curves. To view them: tensorboard --logdir OUT/tensorboard.",
    ),
]
JobsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Runs at a time, which share the cores, or the memory of CUDA devices. Default: one "
        "per core, or one per CUDA device.",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda|cuda:N|mps",
        help="Where to train and rank. auto: CUDA where available, else the CPU. An interrupted "
        "run resumes on any device.",
    ),
]
DevicesOption = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="N",
        help="Processes that share each batch of a run: one per CUDA device, or on the CPU.",
    ),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        metavar="32|bf16-mixed",
        help="bf16-mixed: dense products of training in bfloat16, everything else in float32. "
        "Default: 32.",
    ),
]


def format_examples(*lines: str) -> str:
    """Format the examples below the help of a command."""
    return "Examples:\n\n" + "\n\n".join(f"[dim]$[/dim] {line}" for line in lines)


def drop_missing(**options: Any) -> dict[str, Any]:
    """Drop options that were not given, so that the library's defaults apply."""
    return {name: value for name, value in options.items() if value is not None}


def split_names(text: str) -> list[str]:
    """Split names that are separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]
