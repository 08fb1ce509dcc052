"""A pace as the Python runner keeps it: what ``runner/pace.h`` does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 1 << 16
"""How many inferences of a series are kept."""


class Kept:
    """Of a series of any length at most ``MOST``, evenly spread: every one, then every second, every fourth ...

    ``runs``: how many there were; ``pairs``: when each that is kept began, from the start, and what it took, in ns.
    """

    def __init__(self) -> None:
        self.runs = 0
        self.pairs: list[tuple[int, int]] = []
        self._stride = 1

    def add(self, began: int, taken: int) -> None:
        """One more inference."""
        if self.runs % self._stride == 0:
            if len(self.pairs) == MOST:
                self.pairs = self.pairs[::2]
                self._stride *= 2
            self.pairs.append((began, taken))
        self.runs += 1


def pace(period_ns: int, runs: int, max_ns: int, once: Callable[[], int]) -> Kept:
    """Inferences that begin at due times, or back to back where ``period_ns`` is 0.

    ``once`` runs one and returns what it took, in ns. The k-th is due k periods after the start, so that lateness does
    not add up: it begins then, or at once where that is over. Ends after ``runs``, or with the first that ends after
    ``max_ns``.
    """
    kept = Kept()
    start = time.perf_counter_ns()
    while True:
        wait = kept.runs * period_ns - (time.perf_counter_ns() - start)
        if wait > 0:
            time.sleep(wait / 1e9)
        began = time.perf_counter_ns() - start
        kept.add(began, once())
        if kept.runs >= runs or time.perf_counter_ns() - start >= max_ns:
            return kept
