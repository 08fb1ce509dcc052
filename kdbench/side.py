"""Sides: the run or the baseline on either side of a comparison, by the name that the command line gives it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.baseline import BASELINE_FILE, Baseline, baseline_folder, read_baseline, stored_program
from kdbench.errors import UsageError
from kdbench.records import Run, read_items, read_run
from kdbench.results import find_run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kdbench.store import Store

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

    def program(self, structure: str, store: Store) -> Path:
        """The file of a program that stands for a structure: the baseline's, or that of the run's first case.

        Raises:
            UsageError: there is no such structure.
            MeasureError: its program is lost.
        """
        if self.baseline:
            return self.baseline.program(structure, store)
        record = next((record for record in self.run.records if record.structure == structure), None)
        if record is None:
            raise UsageError(f"run {self.run.id} has no structure {structure!r}")
        return stored_program(self.run, record.case, record.program_sha256, store)


def side(reference: str, results: Path, suite: str = "") -> Side:
    """The side that is meant by ``reference``: ``baseline`` (of ``suite``), ``baseline:SUITE``, a folder or a run.

    Runs are named as in ``results.find_run``.

    Raises:
        NoBaselineError: there is no such baseline.
        UsageError: there is no such run, or it cannot be read.
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
