"""Readings: what a file from a lab says of programs, whatever tool wrote it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


NO_SAMPLES = "no-samples"
"""The flag of a speed that rests on averages."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One program in one process.

    The program is known by its sha256 or, where the tool does not tell that, by its file's ``stem`` as the tool spells
    it. ``samples``: ns, int64 [runs]; None where there are none. ``cold``: the first of them are the warm-up, since the
    tool times that too. ``threads``: 0 where that is not told. ``outputs``: the file that holds them. ``failed``: why
    there is nothing else. ``flags``: doubts about its speed. ``details``: what else was told, by the tool's names.
    """

    program: str = ""
    stem: str = ""
    threads: int = 0
    process: int = 0
    samples: NDArray[np.int64] | None = None
    cold: bool = False
    mean_ms: float | None = None
    first_ms: float | None = None
    load_ms: float | None = None
    peak_rss_bytes: int | None = None
    outputs: Path | None = None
    failed: str = ""
    flags: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def timed(self) -> bool:
        """Whether it says anything of speed or memory."""
        told = (self.samples, self.mean_ms, self.first_ms, self.load_ms, self.peak_rss_bytes)
        return bool(self.failed) or any(value is not None for value in told)


@dataclass(frozen=True, slots=True)
class Told:
    """What a file says: of which device and runtime, of which programs; and ``left``, what of it has no use, and why.

    ``reader``: the tool whose format it is. ``empty_rss_bytes``: the peak of a process without a program.
    """

    path: Path
    sha256: str
    reader: str
    runtime: str
    device: Mapping[str, str]
    readings: tuple[Reading, ...]
    empty_rss_bytes: int | None = None
    left: tuple[str, ...] = ()
