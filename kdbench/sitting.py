"""A sitting: one device's programs timed, process after process, with the reference program twice in each."""

from __future__ import annotations

from statistics import median
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

AA_LIMIT = 0.05
"""Two copies of one program that differ by more than this share in a process make all rows ``noisy``: the least
difference of two programs that such a sitting could show is larger than what people choose programs by."""

STOLEN_LIMIT = 0.01
"""Where a hypervisor took more than this share of the time that this machine had work for, rows are ``stolen``."""

DRIFT_LIMIT = 0.10
"""A reference program that became slower from each third of the processes to the next, and by more than this share
from all of the first to all of the last, is explained by a clock that fell by half as much or, where others left the
machine alone, by nothing else."""

OTHERS_LIMIT = 0.25
"""Other work that kept fewer cores busy than this, on average, left the machine alone."""


class Part(BaseModel):
    """A frozen part of a record, as strict as ``kdbench.records.Fact``, whose module imports this one."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Time = Annotated[float, Field(gt=0)]


class Around(Part):
    """How busy, fast and warm this machine was before or after a process; see ``kdbench.moment.Moment``."""

    load: float | None
    mhz: float | None
    celsius: float | None


class Sitting(Part):
    """What a sitting says of itself.

    ``reference_ms``: the reference program's median in each process; ``again_ms``: that of a second copy of it. What
    follows is of devices that share this machine alone: ``around`` before the first process and after each,
    ``stolen`` (of the time that all cores had work for, the share that a hypervisor took) and ``others`` (how many
    cores other work kept busy, on average). None, or nothing, where it is not told.
    """

    device: str
    threads: int
    reference_ms: tuple[Time, ...] = ()
    again_ms: tuple[Time, ...] = ()
    around: tuple[Around, ...] = ()
    governor: str = ""
    stolen: float | None = None
    others: float | None = None

    @model_validator(mode="after")
    def _paired(self) -> Self:
        if len(self.reference_ms) != len(self.again_ms):
            raise ValueError("each process has both copies of the reference program, or neither")
        return self

    @property
    def aa(self) -> float | None:
        """A/A: the largest difference, as a share, between the two copies in one process."""
        pairs = zip(self.reference_ms, self.again_ms, strict=True)
        return max((abs(again / first - 1) for first, again in pairs), default=None)

    @property
    def flags(self) -> tuple[str, ...]:
        """What is doubtful of all that was timed in it: ``noisy``, ``stolen``, ``throttled``."""
        found = {
            "noisy": self.aa is not None and self.aa > AA_LIMIT,
            "stolen": self.stolen is not None and self.stolen > STOLEN_LIMIT,
            "throttled": self._throttled,
        }
        return tuple(flag for flag, holds in found.items() if holds)

    @property
    def _throttled(self) -> bool:
        if len(self.reference_ms) < 3:
            return False
        n = len(self.reference_ms)
        first, middle, last = (self.reference_ms[third * n // 3 : (third + 1) * n // 3] for third in range(3))
        rises = median(first) < median(middle) < median(last)
        if not rises or min(last) <= max(first) * (1 + DRIFT_LIMIT):
            return False
        # Both are read where a process has just ended; before the first one the clock may have been resting.
        clocks = [each.mhz for each in self.around[1:] if each.mhz is not None]
        fell = len(clocks) > 1 and clocks[-1] < clocks[0] * (1 - DRIFT_LIMIT / 2)
        stolen, others = self.stolen or 0.0, self.others
        return fell or (others is not None and others < OTHERS_LIMIT and stolen <= STOLEN_LIMIT)
