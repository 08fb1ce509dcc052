"""The interface of a device: where programs run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from kdbench.catalog import load
from kdbench.errors import StageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from kdbench.devices.job import Job, Result

COUNTED = ("instructions", "vector_instructions", "loads", "stores")
"""What a counter counts of an execute(), in the order of its columns."""


class Device(Protocol):
    """Puts files, runs the runner in a fresh process, gets files.

    ``name`` is the device as suites write it; ``runtime`` is what ran the programs there (``native`` or ``python``
    with the executorch version and the instruction set), part of the key of predictions: figures of two runtimes are
    incomparable.
    """

    name: str

    @property
    def runtime(self) -> str:
        """The runner's kind, the executorch version, the instruction set: ``native executorch-1.5.1 x86_64``."""
        ...

    def run(self, job: Job) -> Result:
        """Run ``job`` in a fresh process.

        Raises:
            StageError: status ``crashed``, ``timed-out``, ``out-of-memory`` or ``failed``, with the reason.
        """
        ...


@runtime_checkable
class Packaged(Protocol):
    """What a device tells besides whose programs run with the libraries of an executorch package that is here."""

    def package(self) -> Path:
        """The folder of that package.

        Raises:
            MeasureError: it is not to be had.
        """
        ...


@runtime_checkable
class Remote(Protocol):
    """What a device tells besides that is another machine: records say of it what they say of this one, and no more."""

    def facts(self) -> Mapping[str, str | int]:
        """What decides its figures, in the words of ``records.Machine`` and more: no host, no user, no address.

        Raises:
            StageError: it cannot be reached.
        """
        ...

    def revealed(self) -> str:
        """Why its name cannot stand in a record, and what can (one line); empty where it can."""
        ...


@runtime_checkable
class Changeable(Protocol):
    """What a device tells besides whose condition moves its figures: it is asked before it is timed and after."""

    def condition(self) -> Mapping[str, str | float | None]:
        """Its condition now, in words that its own module explains.

        Raises:
            StageError: it cannot be reached.
        """
        ...


@runtime_checkable
class Counter(Device, Protocol):
    """A device that counts what is executed and cannot time it; ``untimed`` says why, in a line."""

    @property
    def untimed(self) -> str:
        """Why its times and its memory are of no use."""
        ...

    def count(self, job: Job) -> tuple[Result, NDArray[np.int64]]:
        """Run ``job``, and what each execute() of it took, in their order: int64 [executes, ``COUNTED``].

        Raises:
            StageError: as for ``run``.
        """
        ...


def device_named(name: str) -> Device:
    """The device that a suite or a command line calls ``name``.

    Raises:
        UsageError: there is none, or not of that form.
    """
    found: Device = load("devices", name.partition(":")[0])(name)
    return found


def condition_of(device: Device) -> dict[str, Any]:
    """The condition of a device that has one to tell, or why it cannot be told: what was timed has failed then too."""
    try:
        return dict(device.condition()) if isinstance(device, Changeable) else {}
    except StageError as error:
        return {"unknown": error.reason}
