"""Traces: what the tracer noted of each inference, with what was executed before each note."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast, get_args

from kdbench.errors import StageError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

Kind = Literal["begin", "end", "clock", "operator", "done"]
"""What a reading is; runner/tracer.cpp says what each means."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One line of a trace, and what was executed since the one before: int64 [``COUNTED``]."""

    kind: Kind
    name: str
    counts: NDArray[np.int64]


Inference = tuple[Reading, ...]
"""The readings of one execute(), the last of which is ``done``."""


def read_trace(path: Path, counts: NDArray[np.int64]) -> list[Inference]:
    """What the tracer wrote, by inference; ``counts`` is what the plugin wrote of it: int64 [readings, ``COUNTED``].

    Raises:
        StageError: there is nothing, or something else.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise StageError(f"the tracer left nothing to read: {error.strerror}") from None
    if len(lines) != len(counts):
        raise StageError(f"the tracer noted {len(lines)} readings, but {len(counts)} were counted")
    found: list[Inference] = []
    open_: list[Reading] = []
    for line, row in zip(lines, counts, strict=True):
        kind, _, name = line.partition(" ")
        if kind not in get_args(Kind):
            raise StageError(f"the tracer noted {line[:80]!r}, which is no reading")
        open_.append(Reading(cast("Kind", kind), name, row))
        if kind == "done":
            found.append(tuple(open_))
            open_ = []
    if open_:
        raise StageError("the tracer's last inference has no end")
    return found
