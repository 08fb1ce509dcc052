"""Workers: fresh processes that run stages side by side, and survive what kills one of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection, Pipe, wait
from typing import TYPE_CHECKING, Self

from kdbench.errors import KdbenchError
from kdbench.worker import Failed, Order, Report, Told

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from kdbench.store import Store

_PATIENCE_S = 5.0


class Workers:
    """At most ``jobs`` processes, started when first needed, each running one order or the orders of one party.

    A context manager: leaving it ends the processes, and a stage that is cut off leaves nothing in the store.
    """

    def __init__(self, store: Store, jobs: int) -> None:
        self._store = store
        self._jobs = jobs
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.ask_to_stop()
        for worker in self._workers:
            worker.stop()
        self._workers.clear()
        self._store.sweep()  # after a worker that had to be killed

    @property
    def free(self) -> bool:
        """Whether orders would start at once."""
        return len(self._workers) < self._jobs or any(not worker.orders for worker in self._workers)

    def start(self, orders: Sequence[Order]) -> None:
        """Hand an order, or several of one party, to a worker; one must be ``free``."""
        idle = next((worker for worker in self._workers if not worker.orders), None)
        if idle is None:
            idle = _Worker(self._store.root)
            self._workers.append(idle)
        idle.take(orders)

    def reports(self) -> Iterator[Report]:
        """What the busy workers say next; waits until at least one says something.

        Raises:
            MeasureError: the store cannot be written, which no other stage would survive either.
        """
        busy = {worker.connection: worker for worker in self._workers if worker.orders}
        for connection in wait(list(busy)):
            assert isinstance(connection, Connection)
            worker = busy[connection]
            try:
                said = connection.recv()
            except (EOFError, ConnectionResetError):
                self._workers.remove(worker)
                epitaph = worker.epitaph()
                self._store.sweep()
                for order in worker.orders:
                    yield Failed(order, "crashed", epitaph)
                continue
            if isinstance(said, KdbenchError):
                raise said
            if not isinstance(said, Told):
                worker.orders.discard(said.id)
            yield said


class _Worker:
    """A process of ``python -m kdbench.worker``: unlike multiprocessing's it does not import the caller's script."""

    def __init__(self, store: Path) -> None:
        self.connection, theirs = Pipe()
        self._log = tempfile.TemporaryFile(prefix="kdbench-worker-")  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kdbench.worker", str(theirs.fileno()), str(store)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        theirs.close()
        self.orders: set[str] = set()
        self._begun = 0

    def take(self, orders: Sequence[Order]) -> None:
        self._begun = os.fstat(self._log.fileno()).st_size
        self.orders = {order.id for order in orders}
        self.connection.send(orders)

    def ask_to_stop(self) -> None:
        self._process.terminate()

    def stop(self) -> None:
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close()

    def epitaph(self) -> str:
        """How the process died, with the last line it wrote."""
        code = self._process.wait()
        how = f"exit status {code}"
        if code < 0:
            how = f"signal {-code} ({signal.Signals(-code).name})"
            if -code == signal.SIGKILL:
                how += ", perhaps for want of memory"
        self._log.seek(self._begun)  # what it said of orders before is no reason for this end
        said = self._log.read().decode(errors="replace")
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        self._close()
        return f"the worker died of {how}" + (f"; its last words: {lines[-1][:200]}" if lines else "")

    def _close(self) -> None:
        self.connection.close()
        self._log.close()
