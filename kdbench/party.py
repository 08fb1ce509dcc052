"""Parties: stages that share work, made in one worker, step by step side by side."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

Position = tuple[int, bool]
"""How far one of them is; positions are compared."""

Key = TypeVar("Key")


def in_step(runs: Iterable[tuple[Key, Generator[Position]]]) -> Iterator[tuple[Key, Exception | None]]:
    """Advance the runs, always the one that is furthest behind; each run's key, with its error if any, at its end.

    A run yields its position before each of its steps. All are begun, in the order given, before any takes a step. An
    error ends its own run alone; whatever is no ``Exception`` ends all of them.
    """
    waiting: list[tuple[Position, int, Key, Generator[Position]]] = []
    number = count()

    def advance(key: Key, run: Generator[Position]) -> Iterator[tuple[Key, Exception | None]]:
        try:
            heapq.heappush(waiting, (next(run), next(number), key, run))
        except StopIteration:
            yield key, None
        except Exception as error:  # noqa: BLE001 - what breaks one run stops no other
            yield key, error

    try:
        for key, run in runs:
            yield from advance(key, run)
        while waiting:
            _, _, key, run = heapq.heappop(waiting)
            yield from advance(key, run)
    finally:
        for _, _, _, run in waiting:
            run.close()
