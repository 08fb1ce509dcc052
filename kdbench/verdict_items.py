"""Verdict items: what a comparison with a baseline says of each case and metric, as tests of pytest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kdbench.measures.metric import METRICS
from kdbench.review import FAILING

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from pathlib import Path

    from kdbench.performance import Judge, Performance
    from kdbench.plan import Case
    from kdbench.verdict import Verdict

BASELINE = "baseline"
"""The measure of these items: ``-m "kdbench(measure='baseline')"`` chooses them alone."""

REMATCHED = ("latency_ms", "peak_rss_bytes")
"""The metrics that a rematch of two programs judges."""

STATUS = "status"
"""How a case ended; its item also reports what has no item of its own."""


class VerdictItem(pytest.Item):
    """The verdict on one metric of a case: fails, is skipped where the data cannot tell, and passes where it is ok.

    A verdict over the seeds of a retrained student is reported by the first of them that was chosen.
    """

    def __init__(self, *, metric: str, case: Case, performance: Performance, again: str, **others: Any) -> None:
        super().__init__(**others)
        self.metric = metric
        self.case = case
        self.performance = performance
        self._again = again
        self.add_marker(pytest.mark.kdbench(**{**case.axes, "seed": case.seed, "measure": BASELINE}))

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the item stands, and what headings call it."""
        return self.path, 0, f"{self.case.id} {self.name}"

    def runtest(self) -> None:
        """Report the verdicts of this item, the reason in one line and the command to ask again in another."""
        if self.performance.failure:
            pytest.fail(self.performance.failure, pytrace=False)
        verdicts = self._verdicts()
        self.user_properties[:] = [(verdict.metric, f"{verdict.verdict}: {verdict.reason}") for verdict in verdicts]
        if bad := [verdict for verdict in verdicts if verdict.verdict in FAILING]:
            told = "\n".join(f"{verdict.verdict}: {verdict}" for verdict in bad)
            pytest.fail(f"{told}\nreproduce: {self._again}", pytrace=False)
        if open_ := [verdict for verdict in verdicts if verdict.verdict == "inconclusive"]:
            pytest.skip("; ".join(f"inconclusive: {verdict}" for verdict in open_))

    def _verdicts(self) -> Sequence[Verdict]:
        findings = self.performance.findings
        assert findings is not None, "verdicts are reported after their session's stages ran"
        judge = self.performance.judge
        assert judge is not None
        elsewhere = set(judged_metrics(judge, self.case.id).values())
        return reported(self.metric, findings.compared.get(self.case.id, ()), elsewhere)


def reported(metric: str, verdicts: Sequence[Verdict], metrics: Container[str]) -> list[Verdict]:
    """What the item of a case for ``metric`` reports, among ``metrics`` that have items: what is said of it.

    Where the case has failed, nothing is said of its figures and each item reports that. The item for how the case
    ended reports what has no item of its own, too.
    """
    if metric == STATUS:
        return [verdict for verdict in verdicts if verdict.metric == STATUS or verdict.metric not in metrics]
    ended = [verdict for verdict in verdicts if verdict.metric == STATUS and verdict.verdict in FAILING]
    return [verdict for verdict in verdicts if verdict.metric == metric] or ended


class LostCases(pytest.Item):
    """Fails where the baseline has cases that the suite does not have any more."""

    def __init__(self, *, performance: Performance, **others: Any) -> None:
        super().__init__(name=f"{BASELINE}:cases", **others)
        self.performance = performance
        self.add_marker(pytest.mark.kdbench(measure=BASELINE))

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the item stands, and what headings call it."""
        return self.path, 0, f"{self.performance.suite.name} {self.name}"

    def runtest(self) -> None:
        """Name the first of the cases that are lost."""
        judge = self.performance.judge
        assert judge is not None
        lost = [record.case for record in judge.base.run.records if record.case not in self.performance.cases]
        if lost:
            more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
            pytest.fail(
                f"incomparable: the suite lacks cases of the baseline: {', '.join(lost[:3])}{more}", pytrace=False
            )


def judged_metrics(judge: Judge, case: str) -> dict[str, str]:
    """What there is an item for, by its name: how the case ended, every exact figure that the baseline has, speed
    and peak memory.

    The last two of a structure that changed are reported by the first of its cases; no other can have become worse, and
    none where instructions are counted instead.
    """
    base = next((record for record in judge.base.run.records if record.case == case), None)
    known = base.metrics if base and base.status == "ok" else {}
    metrics = [name for name, metric in METRICS.items() if metric.tier == "exact" and known.get(name) is not None]
    timed = base and base.structure and known.get("instructions") is None
    run = REMATCHED if timed and judge.effect is not None else ()
    return {f"{BASELINE}:{metric}": metric for metric in (STATUS, *metrics, *run)}
