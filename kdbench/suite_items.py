"""Suite items: a suite's cases and measures as nodes of pytest, which report and judge what the session found."""

from __future__ import annotations

import shlex
from itertools import cycle
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

    from kdbench.performance import Findings, Performance
    from kdbench.plan import Case
    from kdbench.records import Record

LATENCY = "latency"
"""The measure whose items replay a device's samples through pytest-benchmark."""

_DECIDING = (
    "method", "option", "seeds", "device", "train_device", "store", "results", "baseline", "allow", "margin", "slower",
    "base_runtime",
)  # fmt: skip
"""The options of a session, beside its flags, by which its cases and their verdicts are found again."""

NOT_RUN = frozenset({"not-applicable", "skipped"})
"""How a case ends that was not meant to run here: its items are skipped, not failed."""


class ReplayTimer:
    """A timer for pytest-benchmark by which every round takes exactly the next sample, in s; then the first again.

    It reads 0 but for the reading after a step: that difference is the sample itself, free of a running sum's rounding.
    """

    def __init__(self) -> None:
        self.__name__ = "samples of the device"  # what pytest-benchmark's JSON calls its timer
        self._samples: Iterator[float] = iter(())
        self._now = 0.0

    def feed(self, samples: Iterable[float]) -> None:
        """Take the samples that the rounds shall last."""
        self._samples = cycle(samples)

    def step(self) -> None:
        """What pytest-benchmark times: nothing, for as long as the next sample."""
        self._now = next(self._samples)

    def __call__(self) -> float:
        """The time in s."""
        now, self._now = self._now, 0.0
        return now


class SuiteFile(pytest.File):
    """A suite named on the command line."""

    def __init__(self, *, performance: Performance, measures: Mapping[str, tuple[str, ...]], **others: Any) -> None:
        super().__init__(**others)
        self.performance = performance
        self.measures = measures

    def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        """A node a case, in the suite's order; and what the baseline has besides, if there is one."""
        for case in self.performance.cases.values():
            yield CaseNode.from_parent(self, name=case.id, case=case)
        if self.performance.judge and () in self.performance.named:
            from kdbench.verdict_items import LostCases

            yield LostCases.from_parent(self, performance=self.performance)


class CaseNode(pytest.Collector):
    """A case of a suite."""

    parent: SuiteFile

    def __init__(self, *, case: Case, **others: Any) -> None:
        super().__init__(**others)
        self.case = case

    def collect(self) -> Iterator[pytest.Item]:
        """An item a measure, and one a verdict where the session has a baseline."""
        performance = self.parent.performance
        for measure, metrics in self.parent.measures.items():
            if performance.has(self.case.id, measure):
                yield MeasureItem.from_parent(self, name=measure, metrics=metrics)
        if performance.judge:
            from kdbench.verdict_items import VerdictItem, judged_metrics

            for name, metric in judged_metrics(performance.judge, self.case.id).items():
                if performance.has(self.case.id, name):
                    told = again(performance.written, self.case.id, name, self.config.option)
                    facts = {"metric": metric, "case": self.case, "performance": performance, "again": told}
                    yield VerdictItem.from_parent(self, name=name, **facts)


class MeasureItem(pytest.Function):
    """What a measure says of a case: figures as properties, an error where the case failed, budgets as asserts."""

    parent: CaseNode

    def __init__(self, *, name: str, parent: CaseNode, metrics: tuple[str, ...]) -> None:
        super().__init__(name=name, parent=parent, callobj=_replay if name == LATENCY else _judge)
        case = parent.case
        self.case = case
        self.metrics = metrics
        self.performance = parent.parent.performance
        self.timer = ReplayTimer()
        self.add_marker(pytest.mark.kdbench(**{**case.axes, "seed": case.seed, "measure": name}))
        if name == LATENCY:
            self.add_marker(pytest.mark.benchmark(timer=self.timer, group=f"{case.pair.id} {case.target}"))

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the item stands, and what headings call it. pytest wants a line of every item that is skipped."""
        return self.path, 0, f"{self.case.id} {self.name}"

    @property
    def record(self) -> Record:
        """The record of the item's case."""
        return self.findings.records[self.case.id]

    @property
    def findings(self) -> Findings:
        """What the session found."""
        findings = self.performance.findings
        assert findings is not None, "suite items are judged after their session's stages ran"
        return findings

    def setup(self) -> None:
        """Report the figures; a case that failed is an error here, and what could not apply is skipped."""
        if self.performance.failure:
            pytest.fail(self.performance.failure, pytrace=False)
        record = self.record
        self.user_properties[:] = self._properties()
        if record.status in NOT_RUN:
            pytest.skip(f"{record.case}: {record.status}: {record.reason}")
        if record.status != "ok":
            self._fail(f"{record.status}: {record.reason}")
        if all(record.metrics.get(metric) is None for metric in self.metrics) and not self._doubts():
            reasons = dict.fromkeys(record.reasons.get(metric, "no such figure") for metric in self.metrics)
            pytest.skip(f"{record.case}: no {self.name}: {'; '.join(reasons)}")
        super().setup()

    def judge(self) -> None:
        """Fail where a budget for one of the item's metrics is broken, or has no figure to be judged by."""
        if doubts := self._doubts():
            self._fail("; ".join(doubts))

    def replay(self, benchmark: BenchmarkFixture) -> None:
        """Give pytest-benchmark the samples that the device measured, under the name of suite and case."""
        suite, record = self.performance.suite, self.record
        seconds = self.findings.seconds(record).tolist()
        benchmark.name = record.case
        # Suites share cases, and a quick variant is never compared with the full one.
        benchmark.fullname = f"{suite.name}::{record.case}"
        benchmark.extra_info |= {
            "suite": suite.name,
            "version": suite.version,
            "run": self.findings.run.id,
            "program_sha256": record.program_sha256,
            "structure": record.structure,
            "flags": list(record.flags),
            **{metric: value for metric, value in record.metrics.items() if value is not None},
            "reasons": dict(record.reasons),
        }
        self.timer.feed(seconds)
        if seconds:
            benchmark.pedantic(self.timer.step, rounds=len(seconds), iterations=1)
        else:
            benchmark.skipped = True  # a budget without a figure: there is nothing to replay

    def _doubts(self) -> list[str]:
        """What speaks against the case: budgets that are broken or that nothing can be said of."""
        verdicts = self.findings.verdicts
        found = (verdict for metric in self.metrics for verdict in verdicts.get((self.case.id, metric), ()))
        return [verdict.reason for verdict in found if verdict.verdict != "ok"]

    def _properties(self) -> list[tuple[str, object]]:
        record = self.record
        properties: list[tuple[str, object]] = [("run", self.findings.run.id), ("status", record.status)]
        for metric in self.metrics:
            value = record.metrics.get(metric)
            missing = (f"{metric}.missing", record.reasons.get(metric, "no such figure"))
            properties.append(missing if value is None else (metric, value))
        return properties

    def _fail(self, what: str) -> None:
        command = again(self.performance.written, self.case.id, self.name, self.config.option)
        pytest.fail(f"{what}\nreproduce: {command}", pytrace=False)


def again(suite: str, case: str, measure: str, option: Any) -> str:
    """The command that measures and judges this again, with the options of the session that decide what is judged."""
    words = ["pytest", f"{suite}::{case}::{measure}"]
    words += ["--kdbench-quick"] * bool(option.kdbench_quick) + ["--kdbench-exact"] * bool(option.kdbench_exact)
    for name in _DECIDING:
        given: Sequence[str] | str | None = getattr(option, f"kdbench_{name}")
        for value in [given] if isinstance(given, str) else given or ():
            words += [f"--kdbench-{name.replace('_', '-')}", value]
    return shlex.join(words)


def _judge(request: pytest.FixtureRequest) -> None:
    request.node.judge()


def _replay(request: pytest.FixtureRequest, benchmark: BenchmarkFixture) -> None:
    request.node.replay(benchmark)
    request.node.judge()
