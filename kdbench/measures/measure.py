"""The interface of a measure: a family of metrics computed from what is known of a case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from kdbench.records import Speed
    from kdbench.tasks.task import Task

Figure = float | str
"""A value in the metric's unit, or the reason why there is none."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything known of a case when its row is written.

    ``network`` and ``program`` are what the stages wrote (``network.json``, ``program.json``); ``eager``, ``outputs``
    and ``teacher`` are the test set's outputs [N, K] of the eager network, of the program on the device, and of the
    eager teacher (None for a teacher's own row); ``targets`` [N]. ``speed`` belongs to the program's structure on the
    device and holds latency, load and memory. ``kd_seconds`` is what ``kd`` of the same pair and seed took to train.
    What a failed stage left out is empty or None; a measure says in ``needs`` which parts it cannot do without.
    """

    task: Task
    network: Mapping[str, Any]
    program: Mapping[str, Any]
    targets: NDArray[np.int64] | None
    eager: NDArray[np.float32] | None
    outputs: NDArray[np.float32] | None
    teacher: NDArray[np.float32] | None
    speed: Speed | None
    kd_seconds: float | None

    def missing(self, needs: tuple[str, ...]) -> str:
        """Which of ``needs`` this case lacks, as the reason for an empty figure; empty where it lacks none."""
        lacking = [
            name for name in needs if (part := getattr(self, name)) is None or (isinstance(part, dict) and not part)
        ]
        return ("not timed" if lacking[0] == "speed" else f"no {lacking[0]}") if lacking else ""


class Measure(Protocol):
    """One family: which metrics it gives, and how they follow from the evidence.

    ``needs`` names the parts of the evidence that must be there; ``of`` is called with nothing less.
    """

    metrics: ClassVar[tuple[str, ...]]
    needs: ClassVar[tuple[str, ...]]

    def of(self, evidence: Evidence) -> dict[str, Figure]:
        """A figure, or the reason for its absence, for every metric of the family."""
        ...
