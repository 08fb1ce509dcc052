"""Performances: a suite named on pytest's command line, and what running the chosen cases of it found."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kdbench.catalog import entries
from kdbench.errors import MeasureError
from kdbench.plan import cases_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from kdbench.devices.device import Device
    from kdbench.plan import Case
    from kdbench.records import Record, Run
    from kdbench.side import Side
    from kdbench.spec import Suite
    from kdbench.verdict import Comparison, Verdict

Samples = tuple["NDArray[np.int32]", ...]


@dataclass(frozen=True, slots=True)
class Places:
    """Where a performance keeps things, and how many stages run side by side (None: one a core)."""

    store: Path
    results: Path
    jobs: int | None


@dataclass(frozen=True, slots=True)
class Judge:
    """What a performance is compared with, and how much worse it may be (see ``gate.compare``).

    ``effect``: the least slow-down that counts (``rematch.rematches``), None where nothing is to be run; ``runtime``:
    what runs the base's programs, if not the executorch that is installed.
    """

    base: Side
    allowances: Mapping[str, float]
    margin: float
    effect: float | None
    runtime: Device | None = None


@dataclass(frozen=True)
class Findings:
    """The run that was written to ``folder``, and what its items are judged by.

    ``samples``: a structure's kept latency samples on a device, int32 ns by process; ``comparison``: with the baseline,
    where there is one, and ``compared`` its verdicts by the case that reports them.
    """

    run: Run
    folder: Path
    samples: Mapping[tuple[str, str], Samples]
    records: Mapping[str, Record]
    verdicts: Mapping[tuple[str, str], tuple[Verdict, ...]]
    comparison: Comparison | None = None
    compared: Mapping[str, tuple[Verdict, ...]] = field(default_factory=dict)

    def seconds(self, record: Record) -> NDArray[np.float64]:
        """The latency samples behind a record, all processes after one another, in s: float64 [n]."""
        import numpy as np

        samples = self.samples.get((record.structure, record.device), ())
        return np.concatenate([np.zeros(0, np.int32), *samples]) / 1e9


@dataclass
class Performance:
    """A suite of the command line: ``written`` as it stands there, ``declared`` by its file, ``suite`` as it is run.

    ``named`` are the parts of it that the command line names: (), (case,) or (case, measure). ``findings`` are there
    once it ran; ``failure`` says in a line why nothing could be found. ``judge``: what it is compared with.
    """

    written: str
    declared: Suite
    suite: Suite
    judge: Judge | None = None
    named: set[tuple[str, ...]] = field(default_factory=set)
    findings: Findings | None = None
    failure: str = ""
    cases: Mapping[str, Case] = field(init=False)

    def __post_init__(self) -> None:
        self.cases = {case.id: case for case in cases_of(self.suite)}

    def has(self, case: str, measure: str) -> bool:
        """Whether the command line names this item: a folder beside it that holds the suite names nothing more."""
        return not self.named.isdisjoint({(), (case,), (case, measure)})

    def run(self, chosen: Sequence[str], places: Places, command: Sequence[str], *, timing: bool = True) -> None:
        """Run the cases with the ids ``chosen``, in the suite's order, and write their run; ``timing`` them or not.

        Raises:
            UsageError: bad input. What cannot be measured becomes ``failure`` instead, or the record of its case.
        """
        # Imported here, not above: collecting needs none of it.
        from kdbench.budgets import judged_budgets
        from kdbench.cli.progress import Progress
        from kdbench.contest import contest
        from kdbench.results import check_writable, save
        from kdbench.review import by_case
        from kdbench.rows import run_of
        from kdbench.session import conducted, timed
        from kdbench.side import Side
        from kdbench.store import Store

        started = datetime.now(UTC)
        cases = [case for name, case in self.cases.items() if name in set(chosen)]
        try:
            check_writable(places.results)
            with Progress(sys.stderr) as progress:
                finished = conducted(self.suite, cases, Store(places.store), places.jobs, progress)
                if timing:
                    finished = timed(finished, progress)
            run, items = run_of(finished, self.declared, command, started)
            folder = save(run, finished.samples(), items, places.results)
        except MeasureError as error:
            self.failure = str(error)
            return
        verdicts: dict[tuple[str, str], tuple[Verdict, ...]] = {}
        for verdict in judged_budgets(run):
            place = (verdict.case, verdict.metric)
            verdicts[place] = (*verdicts.get(place, ()), verdict)
        samples = {key: timing.samples for key, timing in finished.speeds.items()}
        comparison = None
        if self.judge:
            judge = self.judge
            unlimited = run.model_copy(update={"suite": run.suite | {"budgets": {}}})  # budgets have items of their own
            try:
                comparison = contest(
                    judge.base,
                    Side(folder, unlimited),
                    places.store,
                    judge.allowances,
                    margin=judge.margin,
                    effect=judge.effect,
                    runtime=judge.runtime,
                )
            except MeasureError as error:
                self.failure = str(error)
                return
        records = {record.case: record for record in run.records}
        compared = by_case(comparison, list(records)) if comparison else {}
        self.findings = Findings(run, folder, samples, records, verdicts, comparison, compared)


def metrics_by_measure() -> dict[str, tuple[str, ...]]:
    """The metrics of every measure by its name; a suite has an item for each measure of a case."""
    return {name: tuple(entry.load().metrics) for name, entry in entries("measures").items()}
