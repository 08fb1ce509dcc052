"""Runs from Python and notebooks: made, loaded, compared and reported as the command line does it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.allowance import EFFECT, MARGIN
from kdbench.errors import UsageError
from kdbench.records import read_run
from kdbench.results import check_writable, default_results, find_run, save

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from kdbench.conduct import Listener
    from kdbench.plan import Case
    from kdbench.records import Run
    from kdbench.session import Finished
    from kdbench.spec import Suite
    from kdbench.verdict import Comparison


@dataclass(frozen=True)
class StoredRun:
    """A run and the folder where it lies. ``record`` is everything measured, as ``kdbench.records.Run``."""

    record: Run
    folder: Path

    def frame(self) -> pd.DataFrame:
        """One row a case: ``kdbench.frame.CASE_COLUMNS``, then every metric by id, NaN where there is none."""
        from kdbench.frame import frame

        return frame([self.record])

    def summary(self, *, per_seed: bool = False) -> pd.DataFrame:
        """One row over the seeds of a method: ``kdbench.frame.summary`` says which columns there are."""
        from kdbench.frame import frame, summary

        return summary(frame([self.record]), per_seed=per_seed)

    def __repr__(self) -> str:
        cases = len(self.record.records)
        return f"<run {self.record.id} of suite {self.record.name}: {cases} case{'s' * (cases != 1)}>"

    def _repr_html_(self) -> str:
        """The run's table, for a notebook."""
        from kdbench.markup import as_html
        from kdbench.tables import table_of

        return as_html(table_of(self.summary()))


def load_run(reference: Path | str, *, results: Path | str | None = None) -> StoredRun:
    """The run that ``reference`` means: a folder, a run.json, a run id, a suite's name (its newest run) or SUITE~1.

    ``results``: where runs are looked for (default: ``KDBENCH_RESULTS``, else ``results`` here).

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    folder = find_run(str(reference), _results(results))
    return StoredRun(read_run(folder), folder)


def run(
    suite: Path | str,
    *,
    quick: bool = False,
    only: str = "",
    methods: Sequence[str] = (),
    options: Mapping[str, object] | None = None,
    tuned: Sequence[str] = (),
    seeds: str | None = None,
    jobs: int | None = None,
    train_device: str | None = None,
    trained: Path | str | None = None,
    store: Path | str | None = None,
    results: Path | str | None = None,
    listen: Listener = lambda _event: None,
) -> StoredRun:
    """Train, lower and measure a suite, a name or a .toml file, as ``kdbench run`` does; its options have its names.

    ``only``: ``AXIS=VALUE,...``; ``methods`` and their ``options`` add rows, ``tuned`` those of searched options;
    ``seeds``: ``"0,1,2"`` or ``"0-9"``; ``trained``: a store that ``kdbench train`` filled on another machine, to take
    the networks from; ``listen`` is told of every stage. A script that calls this guards itself by
    ``if __name__ == "__main__"``, since workers are spawned.

    Raises:
        UsageError: bad input.
        MeasureError: nothing can be measured. A case that fails is a row with its reason instead.
    """
    from kdbench.plan import cases_of, select
    from kdbench.store import default_store, named
    from kdbench.suite_file import read_suite, suite_path
    from kdbench.tuning import with_tuned
    from kdbench.variant import varied

    started = datetime.now(UTC)
    settings = tuple(f"{key}={value}" for key, value in (options or {}).items())
    declared = read_suite(suite_path(str(suite)), quick=quick)
    chosen = varied(declared, methods=methods, options=settings, seeds=seeds, train_device=train_device)
    chosen = with_tuned(chosen, tuple(tuned), _results(results)) if tuned else chosen
    cases = select(cases_of(chosen), only) if only else cases_of(chosen)
    words = ["kdbench", "run", str(suite), *(["--quick"] if quick else []), *(["--only", only] if only else [])]
    words += [word for method in methods for word in ("--method", method)]
    words += [word for setting in settings for word in ("-o", setting)]
    words += [word for name in tuned for word in ("--tuned", name)]
    words += ["--seeds", seeds] if seeds else []
    words += ["--train-device", train_device] if train_device else []
    words += ["--trained", str(trained)] if trained else []
    place, elsewhere = Path(store) if store else default_store(), Path(trained) if trained else None
    with ExitStack() as afterwards:
        afterwards.callback(named(place))
        return perform(declared, chosen, cases, place, _results(results), jobs, listen, words, started, elsewhere)[0]


def perform(
    declared: Suite,
    chosen: Suite,
    cases: Sequence[Case],
    store: Path,
    results: Path,
    jobs: int | None,
    listen: Listener,
    command: Sequence[str],
    started: datetime,
    trained: Path | None = None,
) -> tuple[StoredRun, Finished]:
    """Run ``cases`` of ``chosen`` and write their run; ``declared`` is the suite as its file says it.

    ``trained``: the store that another machine filled with its networks, if one did.

    Raises:
        KdbenchError: nothing can go on.
    """
    from kdbench.rows import run_of
    from kdbench.session import conducted, timed
    from kdbench.store import Store

    check_writable(results)
    finished = timed(conducted(chosen, cases, Store(store), jobs, listen, trained), listen)
    found, items = run_of(finished, declared, tuple(command), started)
    return StoredRun(found, save(found, finished.samples(), items, results)), finished


def compare(
    base: StoredRun | Path | str,
    new: StoredRun | Path | str,
    *,
    allow: Mapping[str, float] | None = None,
    margin: float = MARGIN,
    slower: float | None = EFFECT,
    store: Path | str | None = None,
    results: Path | str | None = None,
) -> Comparison:
    """What has changed from ``base`` to ``new``, as ``kdbench compare``: verdicts, and the exit code they share.

    ``allow``: by exact metric, the share of its old value by which it may grow worse; ``margin``: the share by which
    quality may fall; ``slower``: the least slow-down that counts, as a share: programs whose structure changed are run
    side by side, with those that ``store`` keeps. None runs nothing.

    Raises:
        UsageError: no such run.
        MeasureError: a program cannot be run by anything here.
    """
    from kdbench.contest import contest
    from kdbench.side import Side
    from kdbench.store import default_store

    before, after = (Side(run.folder, run.record) for run in (opened(base, results), opened(new, results)))
    place = Path(store) if store else default_store()
    return contest(before, after, place, allow, margin=margin, effect=slower)


def report(
    *runs: StoredRun | Path | str,
    to: Path | str = "report.html",
    profiles: Sequence[Path | str] = (),
    results: Path | str | None = None,
) -> Path:
    """Write ``runs`` as one HTML file that needs no network, as ``kdbench report``, and return its path.

    ``profiles``: files that ``kdbench profile FILE.pte --format json`` printed.

    Raises:
        UsageError: no such run, or a file that is no profile.
        MeasureError: ``to`` cannot be written.
    """
    from kdbench.reports.page import write_report

    if not runs:
        raise UsageError("a report is of at least one run")
    found = {each.folder.resolve(): each.record for each in (opened(run, results) for run in runs)}
    write_report(list(found.values()), Path(to), _results(results), [Path(path) for path in profiles])
    return Path(to)


def opened(run: StoredRun | Path | str, results: Path | str | None = None) -> StoredRun:
    """``run`` itself, or the run that it names. Raises UsageError."""
    return run if isinstance(run, StoredRun) else load_run(run, results=results)


def _results(results: Path | str | None) -> Path:
    return Path(results) if results is not None else default_results()
