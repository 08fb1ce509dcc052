"""Devices that kdbench cannot reach: others measure there, and ``kdbench ingest`` takes their results in."""

from __future__ import annotations

from typing import NoReturn

from kdbench.errors import UsageError

KIND = "import"


def imported(name: str) -> NoReturn:
    """A device elsewhere, ``import:NAME``: programs go there by kdbench bundle, results come back by kdbench ingest.

    Raises:
        UsageError: always: nothing can be run on it from here.
    """
    raise UsageError(
        f"device {name!r} is not within reach: kdbench bundle RUN --to DIR hands programs out, kdbench ingest takes "
        "results in"
    )
