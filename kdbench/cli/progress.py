"""Live progress of a session on a terminal; on anything else what failed, and now and then how far it is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import TaskID

    from kdbench.conduct import Event


QUIET_S = 30.0
"""How long nothing is said where there is no terminal."""


class Progress:
    """A listener for sessions: all stages with the time left, and a line for each one under way."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        console = Console(file=stream, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[text]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._stages = self._bars.add_task("stages", text="", total=None)
        self._running: dict[str, TaskID] = {}
        self._said = time.monotonic()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if self._bars.disable and time.monotonic() - self._said >= QUIET_S:
            self._said = time.monotonic()
            line = f"{event.done}/{event.total} stages; {event.title} {event.text}"
            self._bars.console.print(line.rstrip(), markup=False, soft_wrap=True)
        self._bars.update(self._stages, completed=event.done, total=event.total, text=f"{event.done}/{event.total}")
        if event.kind in {"started", "told", "measuring"}:
            if event.title not in self._running:
                self._running[event.title] = self._bars.add_task(event.title, text="", total=1.0)
            self._bars.update(self._running[event.title], completed=event.share, text=event.text)
            return
        if event.kind == "failed":
            self._bars.console.print(f"failed: {event.title}: {event.text}", markup=False, soft_wrap=True)
        if (task := self._running.pop(event.title, None)) is not None:
            self._bars.remove_task(task)
