"""Sides: the run or the baseline on either side of a comparison, by the name that the command line gives it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.baseline import BASELINE_FILE, Baseline, baseline_folder, read_baseline
from kdbench.errors import UsageError
from kdbench.records import Run, read_items, read_run
from kdbench.results import find_run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BASELINE = "baseline"
"""What the command line calls a suite's own baseline; ``baseline:SUITE`` is that of any suite."""


@dataclass(frozen=True, slots=True)
class Side:
    """A run, or the run of a baseline."""

    folder: Path
    run: Run
    baseline: Baseline | None = None

    @property
    def name(self) -> str:
        """What people read: the run's id, or whose baseline it is."""
        return f"baseline of {self.run.name} ({self.run.id})" if self.baseline else self.run.id

    def correct(self) -> dict[str, NDArray[np.bool_]]:
        """Which test items the program of each case had right: bool [items]. Raises UsageError."""
        if self.baseline:
            return self.baseline.correct()
        return {case: items.correct for case, items in read_items(self.folder).items()}


def side(reference: str, results: Path, suite: str = "") -> Side:
    """The side that is meant by ``reference``: ``baseline`` (of ``suite``), ``baseline:SUITE``, a folder or a run.

    Runs are named as in ``results.find_run``.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    name, colon, of = reference.partition(":")
    if name == BASELINE and (of or not colon):
        if not (of or suite):
            raise UsageError(f"{reference!r}: say of which suite, such as {BASELINE}:digits")
        return _of_baseline(read_baseline(baseline_folder(of or suite, results)))
    if (Path(reference) / BASELINE_FILE).is_file():
        return _of_baseline(read_baseline(Path(reference)))
    folder = find_run(reference, results)
    return Side(folder, read_run(folder))


def _of_baseline(found: Baseline) -> Side:
    return Side(found.folder, found.run, found)
