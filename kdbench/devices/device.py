"""The interface of a device: where programs run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from kdbench.devices.job import Job, Result


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
