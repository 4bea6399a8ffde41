"""Train one model with one initializer on one data set."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch.nn.utils.parametrize import type_before_parametrizations

from sgurinit.arguments import check_callable, check_integer, check_path
from sgurinit.arms import Initializer
from sgurinit.data import Dataset
from sgurinit.evaluation import FullRanking
from sgurinit.files import claim
from sgurinit.handover import HandoverReport
from sgurinit.locks import claim_folder
from sgurinit.models import Recommender, RecommenderConfig
from sgurinit.models.blocks.building import build_on
from sgurinit.models.checkpoint import load_weights
from sgurinit.resolve import (
    resolve_config,
    resolve_dataset,
    resolve_initializer,
    resolve_model,
)
from sgurinit.runtime import explain_memory_errors
from sgurinit.seeds import derive_seed
from sgurinit.training.history import BEST_FILE, EpochRow, find_best_epoch, is_out_of_patience
from sgurinit.training.machine import Machine, resolve_machine
from sgurinit.training.sampler import TripleSampler
from sgurinit.training.settings import TrainSettings, resolve_settings

# `train` imports it, which takes seconds. That it is missing should be known before.
if find_spec("lightning") is None:
    raise ModuleNotFoundError("No module named 'lightning'", name="lightning")

_RUN_FILE = "run.json"

Stage = Literal["start", "trained"]


@dataclass(frozen=True)
class Trained:
    """A finished training run.

    Parameters
    ----------
    model : Recommender
        The model with the weights of its best epoch, in evaluation mode. Where training does not
        help, these are the weights of the start.
    dataset : Dataset
        The data set that it was trained on.
    history : list of dict
        The first row is the start, the initialized model: ``epoch`` 0, ``train_loss`` None,
        ``train_seconds`` 0. Then a row per trained epoch: ``epoch``, the number of epochs
        completed, ``train_loss``, each validation metric under a name like ``recall@20``,
        ``train_seconds`` for training and ``seconds`` including validation.
    best_epoch : int
        Epoch with the best validation score, the earliest of equals; 0 for the start.
    handover : HandoverReport
        What the initializer did to the user tables.
    stopped_early : bool
        Whether training ended because of `TrainSettings.patience`, not of the number of epochs.
    stopped_at : int or None, default None
        Epoch at which training ended only because of `TrainSettings.floors`. None: it did not.

    See Also
    --------
    train : Returns it.
    sgurinit.models.checkpoint.save_model : Saves the model.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> trained = train(planted(200, 100), settings=TrainSettings(max_epochs=2))
    >>> [row["epoch"] for row in trained.history], trained.stopped_early
    ([0, 1, 2], False)
    """

    model: Recommender
    dataset: Dataset
    history: list[EpochRow]
    best_epoch: int
    handover: HandoverReport
    stopped_early: bool
    stopped_at: int | None = None


@explain_memory_errors()
def build_model(
    model_class: type[Recommender], dataset: Dataset, config: RecommenderConfig, *, seed: int
) -> Recommender:
    """Build a model with weights that only depend on the seed.

    Torch's global random state is left as it was.

    Parameters
    ----------
    model_class : type
        Class of the model, such as ``LightGCN``.
    dataset : Dataset
        Data set that the model is for.
    config : RecommenderConfig
        The model's settings.
    seed : int
        Seed of the weights.

    Returns
    -------
    Recommender
        The model, in training mode.

    Raises
    ------
    InputError
        The model does not fit into the memory.
    """
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, "weights"))
        return model_class(dataset, config)


@explain_memory_errors()
def train(
    dataset: Dataset | str | Path,
    model: str | type[Recommender] = "lightgcn",
    initializer: str | type[Initializer] | Initializer = "sgurinit",
    *,
    config: Mapping[str, Any] | RecommenderConfig | None = None,
    settings: TrainSettings | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    machine: Machine | None = None,
    on_epoch: Callable[[EpochRow], None] | None = None,
    on_stage: Callable[[Stage, Recommender], None] | None = None,
) -> Trained:
    """Build a model, initialize its users and train it with early stopping on validation.

    The initialized model is ranked before the first epoch. If no epoch is better, the model that is
    returned is the start.

    Parameters
    ----------
    dataset : Dataset, str or Path
        A data set, its path or its name.
    model : str or type, default "lightgcn"
        Name or class of the model.
    initializer : str, type or Initializer, default "sgurinit"
        Name, class or instance of the arm that initializes the users; ``"random"`` changes nothing.
    config : mapping or RecommenderConfig, optional
        The model's settings, or only the fields that differ from the defaults.
    settings : TrainSettings, optional
        Settings of the run; the defaults if None.
    seed : int >= 0, default 0
        Seed of everything random.
    folder : str or Path, optional
        Where checkpoints are kept; nothing is kept if None. A run that was stopped in this folder
        resumes and reaches the same numbers, up to rounding if the model is not deterministic on
        several threads or the device is another.
    machine : Machine, optional
        The device, and how many; a CUDA device where there is one if None, else the CPU. The model
        that is returned is on the CPU.
    on_epoch : callable, optional
        Called with the row of the start, if the run does not resume, and with each epoch's row, see
        `Trained`.
    on_stage : callable, optional
        Called with ``"start"`` and the initialized model, and with ``"trained"`` and the model with
        the weights of its best epoch. The model is in evaluation mode.

    Returns
    -------
    Trained
        The model, its history and the report of the hand-over.

    Raises
    ------
    InputError
        An argument, a name, a field or the data cannot be used, this machine has no such device,
        `folder` holds another run or another process uses it, its checkpoint cannot be read,
        training diverges, the model does not fit into the memory, or it cannot be trained on
        several devices.

    See Also
    --------
    sgurinit.compare : Trains models with several arms and seeds and compares the results.
    sgurinit.initialize_ : Fills the tables of a model that is trained elsewhere.
    sgurinit.evaluation.FullRanking : Evaluates the trained model.

    Examples
    --------
    >>> from sgurinit.data import planted
    >>> dataset = planted(200, 100)
    >>> trained = train(
    ...     dataset, "vbpr", config={"width": 16}, settings=TrainSettings(max_epochs=2)
    ... )
    >>> trained.model.config.width
    16
    >>> trained.handover.initializer
    'sgurinit'
    """
    # These import Lightning. A process that trains nothing does not wait for it.
    from sgurinit.training.fitting import fit  # noqa: PLC0415
    from sgurinit.training.loop import RecommenderModule  # noqa: PLC0415
    from sgurinit.training.ranks import Shared, fit_on_several  # noqa: PLC0415

    settings = resolve_settings(settings)
    machine = resolve_machine(machine)
    seed = check_integer(seed, "seed", 0)
    place = None if folder is None else check_path(folder, "folder")
    for name, callback in (("on_epoch", on_epoch), ("on_stage", on_stage)):
        if callback is not None:
            check_callable(callback, name)
    dataset = resolve_dataset(dataset)
    model_class = resolve_model(model)
    arm = resolve_initializer(initializer)
    devices = machine.list_devices()
    resolved = resolve_config(model_class, config)
    with build_on(devices[0]):
        built = build_model(model_class, dataset, resolved, seed=seed)
    report = arm.apply(built, dataset, seed=seed)
    if on_stage is not None:
        on_stage("start", built.eval())
        built.train()
    module = RecommenderModule(
        built,
        TripleSampler(dataset, settings.batch_size, seed, settings.negatives),
        FullRanking(dataset, "valid"),
        seed,
    )
    with _open_folder(place) as opened:
        claim(opened / _RUN_FILE, _identity(built, arm, settings, seed, dataset))
        if len(devices) == 1:
            fit(module, settings, opened, on_epoch, devices=devices)
        else:
            shared = Shared(dataset, model_class, resolved, arm, settings, seed)
            fit_on_several(module, shared, opened, on_epoch, devices)
        load_weights(built, opened / BEST_FILE)
    if on_stage is not None:
        on_stage("trained", built.eval())
    history, last = module.history, int(module.history[-1]["epoch"])
    stopped_early = is_out_of_patience(history, settings.monitor, settings.patience)
    is_cut = not stopped_early and last < settings.max_epochs
    return Trained(
        model=built.eval(),
        dataset=dataset,
        history=history,
        best_epoch=int(find_best_epoch(history, settings.monitor)["epoch"]),
        handover=report,
        stopped_early=stopped_early,
        stopped_at=last if is_cut else None,
    )


def _identity(
    model: Recommender,
    initializer: Initializer,
    settings: TrainSettings,
    seed: int,
    dataset: Dataset,
) -> dict[str, Any]:
    """Return everything that determines a run's numbers: only an equal run resumes in a folder."""
    return {
        "model": {
            "class": type_before_parametrizations(model).__name__,
            **model.config.model_dump(mode="json"),
        },
        "initializer": {
            "name": initializer.name,
            **initializer.model_dump(mode="json"),
        },
        "train": settings.model_dump(mode="json"),
        "seed": seed,
        "data": dataset.fingerprint,
    }


@contextmanager
def _open_folder(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        with claim_folder(folder):
            yield folder
        return
    with tempfile.TemporaryDirectory(prefix="sgurinit-") as temporary:
        yield Path(temporary)
