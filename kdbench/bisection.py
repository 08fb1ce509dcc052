"""Bisection: the commit that moved an exact figure of a case, by ``git bisect run`` in a worktree of its own.

At each commit the case is run in a checkout of that commit, with the store that all share: what is proven the same is
not made again. A commit is bad if its figure is nearer to that of BAD than to that of GOOD; one that cannot be
measured is skipped. A checkout that holds a kdbench of its own is measured by that one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.catalog import suggestion
from kdbench.errors import MeasureError, UsageError
from kdbench.measures.metric import METRICS
from kdbench.records import RUN_FILE, read_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_JUDGE = "import sys; from kdbench.bisection import judge; sys.exit(judge(sys.argv[1:]))"
"""Run with -P, so that it is this kdbench, not the checkout's."""

SKIP = 125
"""How a command tells ``git bisect run`` that a commit cannot be judged."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What is measured at a commit: a metric of a case of a suite, whose file lies at ``suite`` in the repository."""

    suite: str
    metric: str
    case: str

    def __post_init__(self) -> None:
        exact = [name for name, metric in METRICS.items() if metric.tier == "exact"]
        if self.metric not in exact:
            raise UsageError(f"--metric {self.metric!r} is no exact metric; {suggestion(self.metric, exact)}")
        if len(self.case.split("/")) != 5:
            raise UsageError(f"--case {self.case!r}: expected PAIR/METHOD/TARGET/sSEED/DEVICE, as tables name it")

    def measured(self, checkout: Path) -> float:
        """The figure at a checkout.

        Raises:
            MeasureError: the case has none there, with the last line that was said.
        """
        pair, method, target, seed, device = self.case.split("/")
        only = f"pair={pair},method={method},target={target},seed={seed.removeprefix('s')},device={device}"
        with tempfile.TemporaryDirectory(prefix="kdbench-bisect-") as results:
            command = [sys.executable, "-m", "kdbench", "run", self.suite, "--only", only, "--results", results]
            done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False, env=_importable())
            for folder in Path(results).glob(f"scratch/*/*/*/{RUN_FILE}"):
                record = next((each for each in read_run(folder).records if each.case == self.case), None)
                value = record.metrics.get(self.metric) if record and record.status == "ok" else None
                if value is not None:
                    return value
        said = (done.stderr or done.stdout).strip().splitlines()
        raise MeasureError(f"{self.case} has no {self.metric} there: {said[-1] if said else 'nothing was said'}")


@dataclass(frozen=True, slots=True)
class Found:
    """The first bad commit, and the figures at both ends."""

    commit: str
    subject: str
    good: float
    bad: float


def bisect(good: str, bad: str, probe: Probe, tell: Callable[[str], None]) -> Found:
    """The commit between ``good`` and ``bad`` at which the figure moved.

    Raises:
        UsageError: no such commits, ``good`` is no ancestor of ``bad``, or both have the same figure.
        MeasureError: an end cannot be measured, or too many commits between them cannot be.
    """
    ends = [_commit(name) for name in (good, bad)]
    if subprocess.run(["git", "merge-base", "--is-ancestor", *ends], check=False).returncode:
        raise UsageError(f"{good} is no ancestor of {bad}")
    with _worktree(ends[1]) as checkout:
        values = []
        for name, commit in zip((good, bad), ends, strict=True):
            _git("checkout", "-q", "--detach", commit, at=checkout)
            values.append(probe.measured(checkout))
            tell(f"{name} ({commit[:10]}): {probe.metric} {values[-1]:.10g}")
        if values[0] == values[1]:
            raise UsageError(f"{probe.metric} of {probe.case} is {values[0]:.10g} at both {good} and {bad}")
        _git("bisect", "start", ends[1], ends[0], at=checkout)
        words = (probe.suite, probe.metric, probe.case, repr(values[0]), repr(values[1]))
        run = ["git", "bisect", "run", sys.executable, "-P", "-c", _JUDGE, *words]
        done = subprocess.run(run, cwd=checkout, capture_output=True, text=True, check=False, env=_importable())
        for line in done.stdout.splitlines():
            if line.startswith("kdbench: "):
                tell(line.removeprefix("kdbench: "))
        if done.returncode:
            last = next((line for line in reversed(done.stdout.splitlines()) if line.strip()), "git bisect failed")
            raise MeasureError(f"no commit can be named: {last}")
        found = _git("rev-parse", "refs/bisect/bad", at=checkout)
        return Found(found, _git("log", "-1", "--format=%s", found, at=checkout), *values)


def judge(words: list[str]) -> int:
    """What ``git bisect run`` runs at a commit: 0 good, 1 bad, 125 where there is no figure."""
    suite, metric, case, good, bad = words
    commit = _git("rev-parse", "--short=10", "HEAD", at=Path())
    try:
        value = Probe(suite, metric, case).measured(Path())
    except (MeasureError, UsageError) as error:
        print(f"kdbench: {commit}: skipped: {error}", flush=True)
        return SKIP
    is_bad = abs(value - float(bad)) < abs(value - float(good))
    print(f"kdbench: {commit}: {metric} {value:.10g}: {'bad' if is_bad else 'good'}", flush=True)
    return int(is_bad)


def _importable() -> dict[str, str]:
    """The environment in which this kdbench is found, whatever the checkout holds."""
    package = str(Path(__file__).parents[1])
    before = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (package, before)))}


@contextmanager
def _worktree(commit: str) -> Iterator[Path]:
    """A worktree of this repository that vanishes again: nobody's checkout and nobody's bisection is touched."""
    with tempfile.TemporaryDirectory(prefix="kdbench-bisect-") as folder:
        checkout = Path(folder) / "checkout"
        _git("worktree", "add", "-q", "--detach", str(checkout), commit, at=Path())
        try:
            yield checkout
        finally:
            _git("worktree", "remove", "--force", str(checkout), at=Path())


def _commit(name: str) -> str:
    try:
        return _git("rev-parse", "--verify", "-q", f"{name}^{{commit}}", at=Path())
    except MeasureError:
        raise UsageError(f"no commit {name!r} in this git repository") from None


def _git(*words: str, at: Path) -> str:
    try:
        return subprocess.run(["git", *words], cwd=at, capture_output=True, text=True, check=True).stdout.strip()
    except OSError as error:
        raise MeasureError(f"git cannot be run: {error.strerror}") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines()
        raise MeasureError(f"git {words[0]}: {said[-1] if said else error.returncode}") from None
