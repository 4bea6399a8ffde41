"""Where a run is computed: the device, and how many of them."""

from __future__ import annotations

import re

import torch
from pydantic import Field

from sgurinit.errors import InputError
from sgurinit.fields import Settings, StrictInteger
from sgurinit.runtime import count_cores

_MOST_PROCESSES = 1024
_DEVICE = r"auto|cpu|mps|cuda(?::(\d{1,4}))?"


class Machine(Settings):
    """What a machine gives to a run. Frozen; unknown fields are an error.

    It does not belong to the run's settings: a run that was interrupted on one device resumes on
    another. Numbers differ between devices by rounding only.

    Parameters
    ----------
    device : str, default "auto"
        ``"cpu"``, ``"cuda"``, a single CUDA device such as ``"cuda:1"``, or ``"mps"``. ``"auto"``:
        CUDA where there is such a device, else the CPU.
    devices : int >= 1, default 1
        Processes that share each batch of a run and train on equal parts of it, one per CUDA
        device, or on the CPU with an equal share of the cores, 1,024 at most. Only for models whose
        loss is a mean over the triples of the batch; the others are refused.

    See Also
    --------
    sgurinit.train : Takes it as `machine`.
    TrainSettings : What determines the numbers of a run, the precision among them.

    Examples
    --------
    >>> Machine(device="cpu").list_devices()
    [device(type='cpu')]
    """

    device: str = Field(
        default="auto", description="auto, cpu, cuda, cuda:N or mps. auto: CUDA where available."
    )
    devices: StrictInteger = Field(
        default=1, ge=1, description="Processes that share each batch of a run, one per device."
    )

    def list_devices(self) -> list[torch.device]:
        """List the devices of a run: one, or with `devices` as many.

        Raises
        ------
        InputError
            This machine has no such device, or not as many, or there would be too many processes.
        """
        if self.devices == 1:
            return self.list_choices()[:1]
        choices = self.list_choices()
        if choices[0].type == "cpu":
            if self.devices > _MOST_PROCESSES:
                raise InputError(f"devices is {self.devices}, expected {_MOST_PROCESSES} at most")
            return choices * self.devices
        if choices[0].type == "mps":
            raise InputError(f"devices is {self.devices}, but there is one mps device; use 1")
        if ":" in self.device:
            raise InputError(
                f"devices is {self.devices}, but device={self.device} is a single one; use "
                "device=cuda"
            )
        if len(choices) < self.devices:
            raise InputError(f"devices is {self.devices}: this machine has {_describe_cuda()}")
        return choices[: self.devices]

    def list_choices(self) -> list[torch.device]:
        """List the devices that a run can have: with ``"cuda"``, all CUDA devices.

        Raises
        ------
        InputError
            This machine has no such device, or `device` is none; the message says what there is.
        """
        found = re.fullmatch(_DEVICE, self.device)
        if found is None:
            raise InputError(
                f"device is {self.device!r}, expected auto, cpu, cuda, cuda:N or mps; this machine "
                f"has {_describe_devices()}"
            )
        kind = self.device.partition(":")[0]
        if kind == "auto":
            kind = "cuda" if torch.cuda.is_available() else "cpu"
        if kind == "mps" and not torch.backends.mps.is_available():
            raise InputError(
                f"device is 'mps': torch finds no such device here, only {_describe_devices()}"
            )
        if kind != "cuda":
            return [torch.device(kind)]
        count = _count_cuda()
        chosen = range(count) if found[1] is None else [int(found[1])]
        if not count or chosen[-1] >= count:
            raise InputError(f"device is {self.device!r}: this machine has {_describe_cuda()}")
        return [torch.device("cuda", index) for index in chosen]

    def count_jobs(self) -> int:
        """Count the runs that it is good for at a time: one per core, or one per other device.

        A run that has several devices is alone.
        """
        choices = self.list_choices()
        if self.devices > 1:
            return 1
        return count_cores() if choices[0].type == "cpu" else len(choices)


def resolve_machine(machine: Machine | None) -> Machine:
    """Return a machine: the given one, or the default if None.

    Raises
    ------
    InputError
        It is not a `Machine`, or its devices do not exist here.
    """
    if machine is None:
        machine = Machine()
    if not isinstance(machine, Machine):
        raise InputError(
            f"machine is {machine!r:.200}, expected a Machine, such as Machine(device='cpu')"
        )
    machine.list_devices()
    return machine


def _count_cuda() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _describe_cuda() -> str:
    count = _count_cuda()
    if not count:
        return "no CUDA device that torch can use, only " + _describe_devices()
    names = ", ".join(f"cuda:{index}" for index in range(count))
    return f"{count} CUDA device{'s' if count > 1 else ''}, {names}"


def _describe_devices() -> str:
    names = ["cpu", *(f"cuda:{index}" for index in range(_count_cuda()))]
    if torch.backends.mps.is_available():
        names.append("mps")
    return ", ".join(names)
