"""Contests: two sides compared whole; what changed in structure is run side by side, all else is facts of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench.allowance import MARGIN
from kdbench.gate import compare
from kdbench.likeness import apart, moved_structures, served

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from kdbench.devices.device import Device
    from kdbench.rematch import Rematch
    from kdbench.side import Side
    from kdbench.verdict import Comparison


def contest(
    before: Side,
    after: Side,
    store: Path,
    allowances: Mapping[str, float] | None = None,
    *,
    margin: float = MARGIN,
    effect: float | None,
    runtime: Device | None = None,
    tell: Callable[[float, str], None] = lambda _done, _text: None,
) -> Comparison:
    """What ``gate.compare`` says of two sides, by which test items each had right and by rematches.

    ``effect``: the least slow-down that counts; None: nothing is run, and neither speed nor peak memory is judged.
    ``runtime`` runs the base's programs, if not the executorch that is installed. Programs that ``store`` lacks are
    ``incomparable``.

    Raises:
        UsageError: a side's answers cannot be read, or ``runtime`` is not where the cases are.
        MeasureError: a program cannot be run by anything here.
    """
    right = before.correct(), after.correct()
    rematched: Mapping[str, Rematch] = {}
    if (
        effect is not None
        and not apart(before.run.suite, after.run.suite)
        and (runtime is not None or moved_structures(before.run, after.run))
    ):
        from kdbench.rematch import rematches  # torch is not imported where nothing changed
        from kdbench.store import Store

        rematched = rematches(before, after, Store(store), effect=effect, runtime=runtime, tell=tell)
    return compare(
        before.run, after.run, allowances, right=right, margin=margin, rematched=rematched, by=served(runtime)
    )
