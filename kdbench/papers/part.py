"""Parts: which cases of runs a figure shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdbench.selection import wanted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kdbench.records import Run

AXES = ("pair", "method", "target", "device")
"""What a part is chosen by. Seeds are not among them: a figure shows all that were run."""


@dataclass(frozen=True, slots=True)
class Part:
    """The values that are shown, by axis; an axis without any shows all."""

    values: Mapping[str, set[str]]

    def holds(self, **axes: str) -> bool:
        """Whether what lies there on these axes is shown."""
        return all(value in self.values.get(axis, (value,)) for axis, value in axes.items())


def part(runs: Sequence[Run], only: str) -> Part:
    """The part of the runs that ``only`` names as ``kdbench run --only`` does; all of them where it is empty.

    Raises:
        UsageError: it is not of the form AXIS=VALUE,... or names what the runs do not have.
    """
    known = {
        axis: list(dict.fromkeys(str(getattr(record, axis)) for run in runs for record in run.records)) for axis in AXES
    }
    return Part(wanted(only, known, "what is shown") if only else {})
