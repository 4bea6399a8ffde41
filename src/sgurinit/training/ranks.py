"""Several processes that train one model: each computes its part of every batch.

The gradients are averaged by torch's ``DistributedDataParallel``, as Lightning uses it. Every
process draws the same batches and the same random numbers, so the result is that of one process, up
to rounding.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy
from threadpoolctl import threadpool_limits
from torch import Tensor, distributed
from typing_extensions import override

from sgurinit.arms import Initializer
from sgurinit.data import Dataset
from sgurinit.errors import InputError
from sgurinit.evaluation import FullRanking
from sgurinit.models import Batch, Recommender, RecommenderConfig
from sgurinit.models.blocks.building import build_on
from sgurinit.runtime import (
    children_ignore_interrupts,
    count_cores,
    explain_memory_errors,
    keep_freed_memory,
    run_as_worker,
)
from sgurinit.seeds import derive_seed
from sgurinit.training.fitting import fit
from sgurinit.training.history import LAST_FILE, EpochRow, is_over, read_history
from sgurinit.training.loop import RecommenderModule
from sgurinit.training.sampler import TripleSampler
from sgurinit.training.settings import TrainSettings
from sgurinit.training.workers import import_class, locate_class, receive, send

_SERVE = f"{__name__}:_serve"
_TOLERANCE = 1e-5  # of a gradient's length; float32 gives about 1e-6
_WAIT = timedelta(hours=6)  # for the process that ranks the validation split
_LOG_LEVEL = "TORCH_CPP_LOG_LEVEL"
_Part = tuple[Batch, float]


@dataclass(frozen=True)
class Shared:
    """What the processes of a run need to build the same model.

    Attributes
    ----------
    dataset : Dataset
        The data.
    model_class : type
        Class of the model.
    config : RecommenderConfig
        Its settings.
    initializer : Initializer
        The arm that initializes it.
    settings : TrainSettings
        Settings of the run.
    seed : int
        The run's seed.
    """

    dataset: Dataset
    model_class: type[Recommender]
    config: RecommenderConfig
    initializer: Initializer
    settings: TrainSettings
    seed: int


def split_batch(batch: Batch, n_parts: int) -> list[_Part]:
    """Split a batch into parts, each with the factor of its loss.

    The mean of the parts' losses times their factors is the mean over the whole batch. A part that
    would be empty gets the first triple, with the factor 0.
    """
    columns = [column.tensor_split(n_parts) for column in batch]
    parts = [Batch(*part) for part in zip(*columns, strict=True)]
    whole = len(batch.users)
    return [
        (part if len(part.users) else Batch(*(c[:1] for c in batch)), n_parts * size / whole)
        for part, size in ((part, len(part.users)) for part in parts)
    ]


def check_divisible(module: RecommenderModule, n_parts: int) -> bool:
    """Refuse a model that does not train on parts of a batch as on the whole batch.

    Its gradient for the first batch is compared with that of the parts. They differ if the loss
    compares the triples of a batch with each other, or draws random numbers for them.

    Returns
    -------
    bool
        Whether every step needs all weights. LATTICE, for example, learns its graph only in the
        first step of an epoch.

    Raises
    ------
    InputError
        The gradients differ.
    """
    model = module.model.train()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    batch = module.sampler.epoch(0)[0]

    def differentiate(part: Batch) -> list[Tensor]:
        model.begin_epoch(derive_seed(module.seed, "model", 0))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return list(torch.autograd.grad(model.loss(part), weights, materialize_grads=True))

    whole = differentiate(batch)
    later = torch.autograd.grad(model.loss(batch), weights, allow_unused=True)
    total = [torch.zeros_like(gradient) for gradient in whole]
    for part, factor in split_batch(batch, n_parts):
        for added, gradient in zip(total, differentiate(part), strict=True):
            added.add_(gradient, alpha=factor / n_parts)
    for expected, found in zip(whole, total, strict=True):
        if (found - expected).norm() > _TOLERANCE * expected.norm():
            raise InputError(
                f"devices is {n_parts}, but {type(model).__name__} with these settings does not "
                "train on parts of a batch as on the whole: its loss compares the triples of a "
                "batch, or draws random numbers for them; use devices=1"
            )
    return all(gradient is not None for gradient in later)


def fit_on_several(
    module: RecommenderModule,
    shared: Shared,
    folder: Path,
    on_epoch: Callable[[EpochRow], None] | None,
    devices: Sequence[torch.device],
) -> None:
    """Train on several devices, from the folder's last checkpoint or from the beginning.

    The checkpoints in the folder and the module's history are the result. The processes are killed
    when this one stops for any reason.

    Parameters
    ----------
    module : RecommenderModule
        The model in training, with the weights of the start.
    shared : Shared
        What the model was built from.
    folder : Path
        Folder of the checkpoints.
    on_epoch : callable or None
        Called with each epoch's row.
    devices : sequence of torch.device
        The device of each process.

    Raises
    ------
    InputError
        The model cannot be trained in parts, its class cannot be imported by another process, a
        process died, or one of them raised it.
    """
    last = folder / LAST_FILE
    if last.is_file():
        module.history = read_history(last)
        if is_over(module.history, shared.settings):
            return
    needs_all = check_divisible(module, len(devices))
    places = {
        "model": locate_class(shared.model_class, "model"),
        "arm": locate_class(type(shared.initializer), "initializer"),
    }
    # A read-only mapping cannot be pickled, but its content can.
    parts = {f.name: getattr(shared.dataset, f.name) for f in fields(shared.dataset)}
    parts["features"] = dict(shared.dataset.features)
    weights = {name: table.numpy() for name, table in module.model.state_dict().items()}
    with tempfile.TemporaryDirectory(prefix="sgurinit-") as meeting, _start(len(devices)) as links:
        for rank, link in enumerate(links):
            work = {
                "places": places,
                "parts": parts,
                "config": shared.config.model_dump(),
                "arm": shared.initializer.model_dump(),
                "settings": shared.settings,
                "seed": shared.seed,
                "weights": weights,
                "folder": folder,
                "devices": [str(device) for device in devices],
                "rank": rank,
                "needs_all": needs_all,
                "meeting": str(Path(meeting) / "store"),
            }
            send(link, work)
        running = set(links)
        while running:
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)  # noqa: S101 - only connections were added
                message = receive(ready)
                if message is None:
                    running.discard(ready)
                elif on_epoch is not None:
                    on_epoch(message)
    module.history = read_history(last)


@contextmanager
def _start(count: int) -> Iterator[list[Connection]]:
    """Context manager: start processes, and kill them at the end."""
    context = multiprocessing.get_context("spawn")
    processes: list[SpawnProcess] = []
    links: list[Connection] = []
    try:
        with children_ignore_interrupts(), _children_log_errors():
            for _ in range(count):
                ours, theirs = context.Pipe()
                process = context.Process(target=run_as_worker, args=(_SERVE, theirs), daemon=True)
                process.start()
                processes.append(process)
                theirs.close()
                links.append(ours)
        yield links
    finally:
        for process in processes:
            process.kill()
            process.join()


@contextmanager
def _children_log_errors() -> Iterator[None]:
    """Context manager: processes created inside it print no advice of torch's own log."""
    before = os.environ.get(_LOG_LEVEL)
    os.environ[_LOG_LEVEL] = "ERROR"
    try:
        yield
    finally:
        os.environ.pop(_LOG_LEVEL)
        if before is not None:
            os.environ[_LOG_LEVEL] = before


class _RankModule(RecommenderModule):
    """A recommender in training, of which this process computes a part."""

    @override
    def on_train_start(self) -> None:
        """Let SIGTERM end this process: Lightning's handler can wait for the others forever."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    @override
    def on_validation_start(self) -> None:
        self.on_train_start()  # the start is ranked before

    @override
    def compute_loss(self, batch: Batch) -> Tensor:
        part, factor = split_batch(batch, self.trainer.world_size)[self.global_rank]
        return self.model.loss(part) * factor

    @override
    def validation_step(self, _: Tensor) -> None:
        """Rank in the first process, and pass on the scores, which decide when to stop."""
        if self.global_rank == 0:
            super().validation_step(_)
        self._scores = self.trainer.strategy.broadcast(self._scores)

    @override
    def on_validation_epoch_start(self) -> None:
        if self._losses:
            mean = self.trainer.strategy.reduce(torch.stack(self._losses), reduce_op="mean")
            assert isinstance(mean, Tensor)  # noqa: S101 - as it was given
            self._losses = list(mean)
        super().on_validation_epoch_start()


def _serve(link: Connection) -> None:
    """Train in this process, which is one of several, and report as the first."""
    keep_freed_memory()
    work: Mapping[str, Any] = link.recv()
    threads = max(1, count_cores() // len(work["devices"]))
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads), explain_memory_errors():
            _train_part(work, link)
        link.send(None)
    except InputError as error:
        link.send(error)
    link.close()


def _train_part(work: Mapping[str, Any], link: Connection) -> None:
    rank, seed = work["rank"], work["seed"]
    devices = [torch.device(device) for device in work["devices"]]
    settings: TrainSettings = work["settings"]
    dataset = Dataset(**work["parts"])
    kind = import_class(work["places"]["model"], "model")
    device = devices[rank]
    with build_on(device):
        model = kind(dataset, kind.Config(**work["config"]))
    # Tables can become frozen, or functions of others. The values are those that were sent.
    import_class(work["places"]["arm"], "initializer")(**work["arm"]).apply(
        model, dataset, seed=seed
    )
    model.load_state_dict({name: torch.from_numpy(rows) for name, rows in work["weights"].items()})
    module = _RankModule(
        model,
        TripleSampler(dataset, settings.batch_size, seed, settings.negatives),
        FullRanking(dataset, "valid"),
        seed,
    )
    os.environ["LOCAL_RANK"] = str(rank)  # Lightning then starts no processes
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # Not by an address, which a path with a space is not.
    store = distributed.FileStore(work["meeting"], len(devices))  # type: ignore[attr-defined]
    store.set_timeout(_WAIT)
    distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=store,
        rank=rank,
        world_size=len(devices),
        timeout=_WAIT,
    )
    strategy = DDPStrategy(
        broadcast_buffers=False,  # they are constants
        find_unused_parameters=not work["needs_all"],
    )
    fit(module, settings, work["folder"], link.send, devices=devices, strategy=strategy)
    # Not after an error: this can wait for the others, who wait for this process until it is dead.
    distributed.destroy_process_group()
