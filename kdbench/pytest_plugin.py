"""Suites as pytest items: this module is loaded into every pytest session, so it imports nothing of kdbench by itself.

The rest of the plugin is ``kdbench.harness``, which joins only the sessions whose command line names a suite.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPTIONS: tuple[tuple[str, dict[str, str | bool]], ...] = (
    ("--kdbench-quick", {"action": "store_true", "help": "the suite's [quick] variant: does it work here?"}),
    ("--kdbench-method", {"action": "append", "help": "add a method's rows: NAME or FILE.py:CLASS"}),
    ("--kdbench-option", {"action": "append", "help": "an option of the added method: KEY=VALUE"}),
    ("--kdbench-seeds", {"help": "other seeds than the suite's: 0,1,2 or 0-9"}),
    ("--kdbench-device", {"action": "append", "help": "run programs there instead of where the suite says"}),
    ("--kdbench-jobs", {"help": "stages side by side (default: one a core); measuring is never shared"}),
    ("--kdbench-train-device", {"help": "train there instead of where the recipe says: cpu or cuda"}),
    ("--kdbench-baseline", {"help": "judge against it: baseline (the suite's own), baseline:SUITE, a folder or a run"}),
    ("--kdbench-allow", {"action": "append", "help": "how much worse an exact fact may become: METRIC=PERCENT%%"}),
    ("--kdbench-margin", {"help": "how far quality may fall, in points (default 0.5)"}),
    ("--kdbench-slower", {"help": "the least slow-down that counts: PERCENT%% (default 0.5%%)"}),
    (
        "--kdbench-exact",
        {"action": "store_true", "help": "run nothing beside the baseline's programs: judge no speed, no memory"},
    ),
    ("--kdbench-base-runtime", {"help": "the executorch that runs the baseline's programs: its folder"}),
    ("--kdbench-store", {"help": "where checkpoints, programs and predictions are kept (else KDBENCH_STORE)"}),
    ("--kdbench-results", {"help": "where runs are written (else KDBENCH_RESULTS, else results)"}),
)

_MARKER = (
    "kdbench(pair, method, target, device, seed, measure): a case of a suite and what is measured of it; "
    "choose with -m \"kdbench(method='kd', seed=0)\""
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Mirror the options of ``kdbench run``. Their values are looked at only where a suite is named."""
    group = parser.getgroup("kdbench", "suites of kdbench (pytest suites/NAME.toml)")
    for name, settings in _OPTIONS:
        group.addoption(name, **settings)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker of suite items known."""
    config.addinivalue_line("markers", _MARKER)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Let the harness join where the command line names a suite.

    Raises:
        pytest.UsageError: a suite or an option is wrong, or the session cannot hold suites.
    """
    suites = _suites(session.config.args)
    if suites:
        from kdbench.harness import harness

        session.config.pluginmanager.register(harness(session.config, suites), "kdbench-harness")


@pytest.fixture(scope="session", name="kdbench")
def kdbench_fixture(pytestconfig: pytest.Config) -> SimpleNamespace:
    """``kdbench.measure(model, example, target="xnnpack-int8", ...)``: a module lowered, proved, timed and sized.

    See ``kdbench.measurement.measure`` for its arguments and for the figures it returns. The session's
    ``--kdbench-store`` holds the reference program that ``latency_ref`` is a ratio to.
    """
    from functools import partial
    from pathlib import Path

    from kdbench.measurement import measure

    store = pytestconfig.getoption("--kdbench-store")
    return SimpleNamespace(measure=partial(measure, store=Path(store) if store else None))


def _suites(arguments: Sequence[str]) -> list[str]:
    """The arguments that name a suite or something in one, as they were written."""
    return [argument for argument in arguments if argument.partition("::")[0].endswith(".toml")]
