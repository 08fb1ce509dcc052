"""The harness: what pytest does in a session whose command line names suites."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from kdbench.catalog import suggestion
from kdbench.errors import KdbenchError, MeasureError, UsageError
from kdbench.suite_file import read_suite
from kdbench.variant import varied

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kdbench.devices.device import Device
    from kdbench.performance import Findings, Judge, Performance, Places
    from kdbench.spec import Suite
    from kdbench.suite_items import SuiteFile
    from kdbench.verdict import Comparison

_SHARED = (
    "method", "option", "seeds", "device", "jobs", "train-device", "store", "results", "quick", "baseline", "allow",
    "margin", "slower", "exact", "base-runtime",
)  # fmt: skip
_WORDS = re.compile(rf"(?<![\w-])(?:--(?P<name>{'|'.join(_SHARED)})|-o)(?![\w-])")


class Harness:
    """Collects the named suites, runs the chosen cases before the first item, and shows their tables at the end."""

    def __init__(
        self,
        performances: Mapping[Path, Performance],
        measures: Mapping[str, tuple[str, ...]],
        places: Places,
        command: Sequence[str],
    ) -> None:
        self._performances = performances
        self._measures = measures
        self._places = places
        self._command = command

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> SuiteFile | None:
        """The node of a suite that the command line names; no other file is looked at."""
        from kdbench.suite_items import SuiteFile

        performance = self._performances.get(file_path)
        if performance is None:
            return None
        return SuiteFile.from_parent(parent, path=file_path, performance=performance, measures=self._measures)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> None:
        """Run the stages of the cases whose items are left, and measure them, before pytest's own loop.

        Raises:
            pytest.UsageError: bad input that only shows when data, methods and devices are loaded.
        """
        from kdbench.suite_items import MeasureItem

        option = session.config.option
        if option.collectonly or (session.testsfailed and not option.continue_on_collection_errors):
            return
        from kdbench.verdict_items import VerdictItem

        items = [item for item in session.items if isinstance(item, MeasureItem | VerdictItem)]
        for performance in self._performances.values():
            mine = [item for item in items if item.performance is performance]
            if not mine:
                continue
            timing = any(isinstance(item, MeasureItem) for item in mine)  # verdicts rest on no times
            try:
                performance.run([item.case.id for item in mine], self._places, self._command, timing=timing)
            except UsageError as error:
                said = in_pytest(str(error))
                if performance.judge:
                    _tell_refused(performance.suite.name, performance.judge.base.name, said, print)
                raise pytest.UsageError(said) from None
            performance.failure = in_pytest(performance.failure)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Each run's table, its id and where it lies."""
        for performance in self._performances.values():
            if performance.findings is not None:
                _show(performance.findings, terminalreporter)
            elif performance.failure and performance.judge:
                base = performance.judge.base.name
                _tell_refused(performance.suite.name, base, performance.failure, terminalreporter.write_line)


def _show(findings: Findings, reporter: pytest.TerminalReporter) -> None:
    from kdbench.formats import render
    from kdbench.frame import frame, summary

    run, writer = findings.run, reporter.config.get_terminal_writer()
    reporter.section(f"kdbench: {run.name}")
    rows = summary(frame([run]))
    reporter.write(render(rows, "terminal", width=writer.fullwidth, colour=writer.hasmarkup))
    reporter.write_line(f"run {run.id} in {findings.folder}" + (" (partial)" if run.partial else ""))
    if findings.comparison is not None:
        from kdbench.review import terminal

        reporter.section(f"kdbench: {run.name} against its baseline")
        reporter.write(terminal(findings.comparison))
        _tell_github(findings.comparison, reporter.write_line)


def _tell_github(comparison: Comparison, tell: Callable[[str], object]) -> None:
    """The summary and annotations of a job; where the summary cannot be written, the verdicts stand all the same."""
    from kdbench.review import to_github

    try:
        to_github(comparison, tell)
    except MeasureError as error:
        tell(str(error))


def _tell_refused(suite: str, base: str, reason: str, tell: Callable[[str], object]) -> None:
    """The same where nothing was compared."""
    from kdbench.review import refused

    _tell_github(refused(suite, base, reason), tell)


def harness(config: pytest.Config, arguments: Sequence[str]) -> Harness:
    """The harness of a session whose command line has ``arguments`` that name suites, or cases or measures of them.

    Raises:
        pytest.UsageError: one line: a suite, case, measure or option is wrong, or the session cannot hold suites.
    """
    try:
        return _harness(config, arguments)
    except KdbenchError as error:
        said = in_pytest(str(error))
        if (base := config.option.kdbench_baseline) is not None:
            for suite in dict.fromkeys(Path(argument.split("::")[0]).stem for argument in arguments):
                _tell_refused(suite, base, said, print)
        raise pytest.UsageError(said) from None


def in_pytest(message: str) -> str:
    """A message with the options of ``kdbench run`` called by their names in pytest."""
    return _WORDS.sub(lambda match: f"--kdbench-{match['name'] or 'option'}", message)


def _harness(config: pytest.Config, arguments: Sequence[str]) -> Harness:
    from kdbench.performance import Performance, Places, metrics_by_measure
    from kdbench.results import default_results
    from kdbench.store import default_store, named

    if off := _benchmark_is_off(config):
        raise UsageError(
            f"suites cannot run with {off}: their latencies would have no statistics; leave it out, "
            "and use --kdbench-jobs N to train and lower side by side"
        )
    option = config.option
    if option.kdbench_store:
        config.add_cleanup(named(Path(option.kdbench_store)))
    measures = metrics_by_measure()
    performances: dict[Path, Performance] = {}
    for argument in arguments:
        written, *names = argument.split("::")
        path = Path(os.path.abspath(config.invocation_params.dir / written))  # noqa: PTH100 - as pytest does, links left alone
        if path not in performances:
            declared = read_suite(Path(written), quick=option.kdbench_quick)
            suite = _varied(declared, config)
            performances[path] = Performance(written, declared, suite, _judge(suite, config))
        _check_names(performances[path], measures, names)
        performances[path].named.add(tuple(names))
    places = Places(
        store=Path(option.kdbench_store or default_store()),
        results=Path(option.kdbench_results or default_results()),
        jobs=_jobs(option.kdbench_jobs),
    )
    return Harness(performances, measures, places, ("pytest", *map(str, config.invocation_params.args)))


def _benchmark_is_off(config: pytest.Config) -> str:
    """What switches pytest-benchmark off in this session; empty where nothing does."""
    if not config.pluginmanager.hasplugin("benchmark"):
        return "-p no:benchmark"
    option = config.option
    if getattr(option, "dist", "no") != "no":
        return "-n (pytest-xdist)"
    if os.environ.get("PYTEST_XDIST_WORKER"):  # what pytest-benchmark looks at in a pytest inside a worker
        return "PYTEST_XDIST_WORKER set (inside pytest-xdist)"
    if option.benchmark_disable and not option.benchmark_enable:
        return "--benchmark-disable"
    return "--benchmark-skip" if option.benchmark_skip and not option.benchmark_only else ""


def _varied(declared: Suite, config: pytest.Config) -> Suite:
    option = config.option
    device = option.kdbench_train_device
    if device not in (None, "cpu", "cuda"):
        raise UsageError(f"--train-device {device!r}: expected cpu or cuda")
    return varied(
        declared,
        methods=option.kdbench_method or (),
        options=option.kdbench_option or (),
        seeds=option.kdbench_seeds,
        devices=option.kdbench_device or (),
        train_device=device,
    )


def _judge(suite: Suite, config: pytest.Config) -> Judge | None:
    """What the suite is compared with, seen to be comparable before anything is trained."""
    option = config.option
    if option.kdbench_baseline is None:
        for name in ("allow", "margin", "slower", "exact", "base-runtime"):
            if getattr(option, f"kdbench_{name.replace('-', '_')}") not in (None, False):
                raise UsageError(f"--{name} judges nothing without --baseline")
        return None
    from kdbench import allowance
    from kdbench.devices.host import host_with
    from kdbench.likeness import apart
    from kdbench.performance import Judge
    from kdbench.results import default_results
    from kdbench.side import side

    allowances = dict(allowance.allowance(text) for text in option.kdbench_allow or ())
    margin = allowance.MARGIN if option.kdbench_margin is None else allowance.margin(option.kdbench_margin)
    base = side(option.kdbench_baseline, Path(option.kdbench_results or default_results()), suite.name)
    if why := apart(base.run.suite, suite.model_dump(mode="json")):
        raise UsageError(f"--baseline {option.kdbench_baseline}: {why}")
    if option.kdbench_exact:
        if option.kdbench_base_runtime:
            raise UsageError("--base-runtime says what runs the base's programs; with --exact nothing is run")
        return Judge(base, allowances, margin, None)
    effect = allowance.EFFECT if option.kdbench_slower is None else allowance.effect(option.kdbench_slower)
    folder = option.kdbench_base_runtime
    return Judge(base, allowances, margin, effect, cast("Device", host_with(Path(folder))) if folder else None)


def _jobs(text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch(r"[1-9]\d{0,3}", text):
        raise UsageError(f"--jobs {text!r}: expected how many stages may run side by side, such as 2")
    return int(text)


def _verdicts(performance: Performance, case: str | None) -> Mapping[str, str]:
    if performance.judge is None or case is None:
        return {}
    from kdbench.verdict_items import judged_metrics

    return judged_metrics(performance.judge, case)


def _check_names(performance: Performance, measures: Mapping[str, tuple[str, ...]], names: Sequence[str]) -> None:
    """Whether ``SUITE::CASE::MEASURE`` is there, asked before pytest says less of it."""
    case, measure = (*names, None, None)[:2]
    if case is not None and case not in performance.cases:
        hint = suggestion(case, list(performance.cases))
        if not hint.startswith("did you mean"):
            hint = f"cases are named like {next(iter(performance.cases))}"
        raise UsageError(f"{performance.written} has no case {case!r}; {hint}")
    if measure is not None and measure not in measures and measure not in _verdicts(performance, case):
        raise UsageError(
            f"{performance.written}::{case}: unknown measure {measure!r}; {suggestion(measure, list(measures))}"
        )
    if len(names) > 2:
        raise UsageError(f"{'::'.join((performance.written, *names))}: expected SUITE::CASE::MEASURE")
