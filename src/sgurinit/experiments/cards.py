"""Runs at a time on other devices than the CPU: who has which, and how much of its memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import cycle, islice
from typing import NamedTuple

import torch

from sgurinit.errors import InputError, MemoryInputError
from sgurinit.models import Recommender
from sgurinit.training import Machine

CONTEXT_BYTES = 600 << 20
"""What CUDA itself takes for each process on a device, about."""
_TABLES_PER_WEIGHT = 4  # the weights, their gradients, and Adam's two means


class DeviceShare(NamedTuple):
    """What a worker process has of a device.

    Attributes
    ----------
    device : str
        The device, such as ``"cuda:1"``.
    memory : float or None
        Largest share of the device's whole memory that torch may take. None: no limit.
    """

    device: str
    memory: float | None

    def enforce(self) -> None:
        """Limit this process to the share, so that it cannot take the memory of the others."""
        if self.memory is not None:
            torch.cuda.set_per_process_memory_fraction(self.memory, torch.device(self.device))


def refuse_nested_processes(machine: Machine, jobs: int) -> None:
    """Refuse several runs at a time of which each has several processes.

    Raises
    ------
    InputError
        Both are above 1.
    """
    if machine.devices > 1 and jobs > 1:
        raise InputError(
            f"jobs is {jobs}, but each run has devices={machine.devices}; use jobs=1, or devices=1"
        )


def share_devices(
    machine: Machine, jobs: int, measure: Callable[[], Mapping[str, int]]
) -> list[DeviceShare]:
    """Assign a device to each worker process, in turn, and check that the memory suffices.

    Parameters
    ----------
    machine : Machine
        The device of the runs.
    jobs : int
        Number of workers.
    measure : callable
        Returns the bytes that a run of each model needs at least, see `measure_model`. It is only
        called for CUDA devices.

    Returns
    -------
    list of DeviceShare
        One for each worker. Those on the same CUDA device share its free memory equally.

    Raises
    ------
    InputError
        The memory does not suffice; the message says how many runs it is enough for.
    """
    choices = machine.list_choices()
    if choices[0].type != "cuda":
        return [DeviceShare(str(choices[0]), None)] * jobs
    assigned = list(islice(cycle(choices), jobs))
    needs = measure()
    model = max(needs, key=needs.__getitem__)
    limits = {}
    for device, count in Counter(assigned).items():
        free, total = torch.cuda.mem_get_info(device)
        share = free // count - CONTEXT_BYTES
        if share < needs[model]:
            fitting = free // (needs[model] + CONTEXT_BYTES)
            advice = f"{fitting} at most" if fitting else "lower `width`, or free the memory"
            raise MemoryInputError(
                f"jobs is {jobs}: {device} has {_format_bytes(free)} free for {count} runs, and "
                f"one of {model} needs at least {_format_bytes(needs[model] + CONTEXT_BYTES)}; "
                f"per device: {advice}"
            )
        limits[device] = share / total
    return [DeviceShare(str(device), limits[device]) for device in assigned]


def measure_model(model: Recommender) -> int:
    """Count the bytes that training a model needs at least, without those of a step."""
    trained = sum(weights.nbytes for weights in model.parameters())
    return _TABLES_PER_WEIGHT * trained + sum(constant.nbytes for constant in model.buffers())


def _format_bytes(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB"
