"""A real run of the tiny suite, and its bundles."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from kdbench.records import Run


@dataclass(frozen=True)
class Real:
    """A run, and the store and the results folder that it lies in."""

    run: Run
    store: Path
    results: Path


@pytest.fixture(scope="session")
def real(tmp_path_factory):
    from datetime import UTC, datetime

    from kdbench.plan import cases_of
    from kdbench.runs import perform
    from kdbench.store import named
    from kdbench.suite_file import read_suite, suite_path

    place = tmp_path_factory.mktemp("real")
    suite = read_suite(suite_path("tiny"))
    back = named(place / "store")
    try:
        done, _ = perform(
            suite, suite, cases_of(suite), place / "store", place / "results", 2, lambda _event: None, ("kdbench",),
            datetime.now(UTC),
        )  # fmt: skip
    finally:
        back()
    return Real(done.record, place / "store", place / "results")


@pytest.fixture(scope="session")
def bundled(real, tmp_path_factory):
    """The bundle with outputs, as it was written; tests copy it."""
    from kdbench.lab.bundle import bundle
    from kdbench.store import Store

    return bundle(real.run, tmp_path_factory.mktemp("bundle") / "out", Store(real.store), outputs=True)
