"""Clocks: how long the device is busy with something, without making the host wait for it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    """Adds up the seconds inside its ``running`` blocks; ``seconds`` waits for a GPU to have done what was asked."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._total = 0.0
        self._open: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count what the block does."""
        if self._cuda:
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            start.record()
            yield
            end.record()
            self._open.append((start, end))
            return
        started = time.perf_counter()
        yield
        self._total += time.perf_counter() - started

    def seconds(self) -> float:
        """The total so far, in s."""
        if self._open:
            torch.cuda.synchronize()
            self._total += sum(start.elapsed_time(end) for start, end in self._open) / 1000
            self._open.clear()
        return self._total
