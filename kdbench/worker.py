"""A worker: the process that runs stages (``python -m kdbench.worker``), and what is said between it and its master."""

from __future__ import annotations

import contextlib
import errno
import signal
import sys
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from kdbench.errors import KdbenchError, MeasureError, StageError, UsageError
from kdbench.party import in_step
from kdbench.stage import imported
from kdbench.store import STORE_HINT, Artefact, Store

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence
    from types import FrameType

    from kdbench.party import Position
    from kdbench.stage import PartyModule, Steps, Tell


_STORE_IS_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
"""What no other stage would survive either."""


@dataclass(frozen=True, slots=True)
class Order:
    """A stage to run: everything a worker needs, and nothing that only this process has."""

    id: str
    kind: str
    module: str
    key: str
    spec: Mapping[str, Any]
    inputs: Mapping[str, Artefact]


@dataclass(frozen=True, slots=True)
class Told:
    """A running stage's word on its progress."""

    id: str
    done: float
    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """A stage ended well."""

    id: str
    artefact: Artefact


@dataclass(frozen=True, slots=True)
class Failed:
    """A stage ended badly: the status and reason of every case that needs it."""

    id: str
    status: str
    reason: str


Report = Told | Done | Failed


def serve(descriptor: int, root: Path) -> None:
    """A worker's life. Ctrl-C is its master's to handle; SIGTERM unwinds the stages, so that nothing stays behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    connection, store = Connection(descriptor), Store(root)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            for report in _perform(connection.recv(), store, connection):
                connection.send(report)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal.SIGTERM)


def _perform(orders: Sequence[Order], store: Store, connection: Connection) -> Iterator[Report | KdbenchError]:
    """Make what is ordered, one stage or several of one party; a report as each ends."""
    with _together(orders) as steps:
        # Every session locks keys in their order, so that no two wait for each other.
        ordered = sorted(orders, key=lambda order: order.key)
        for order, error in in_step([(order, _making(order, store, connection, steps)) for order in ordered]):
            yield _report(order, error, store)


@contextlib.contextmanager
def _together(orders: Sequence[Order]) -> Iterator[Steps]:
    module = imported(orders[0].module)
    if hasattr(module, "together"):
        with cast("PartyModule", module).together(len(orders)) as steps:
            yield steps
        return

    def at_once(spec: Mapping[str, Any], inputs: Mapping[str, Artefact], out: Path, tell: Tell) -> Generator[Position]:
        module.run(spec, inputs, out, tell)
        yield from ()

    yield at_once


def _making(order: Order, store: Store, connection: Connection, steps: Steps) -> Generator[Position]:
    """Make the order's artefact, unless another process has made it meanwhile."""

    def tell(done: float, text: str) -> None:
        connection.send(Told(order.id, done, text))

    with store.locked(order.kind, order.key):
        if store.get(order.kind, order.key) is not None:
            return
        keys = {name: artefact.key for name, artefact in order.inputs.items()}
        with store.making(order.kind, order.key, order.spec, keys) as out:
            yield from steps(order.spec, order.inputs, out, tell)


def _report(order: Order, error: Exception | None, store: Store) -> Report | KdbenchError:
    """What came of an order, to be said to the master."""
    if error is None:
        made = store.get(order.kind, order.key)
        lost = f"the store {store.root} lost what was just written to it"
        return MeasureError(lost) if made is None else Done(order.id, made)
    if isinstance(error, StageError):
        return Failed(order.id, error.status, error.reason)
    if isinstance(error, UsageError):
        # Of one case: what is wrong with all of them is found before anything is made.
        return Failed(order.id, "failed", str(error))
    if isinstance(error, MeasureError):
        return MeasureError(str(error))
    traceback.print_exception(error)
    return _broken(order, error, store)


def _broken(order: Order, error: Exception, store: Store) -> Failed | KdbenchError:
    """What an error that no stage foresaw means for its cases, or for the session."""
    if isinstance(error, OSError) and error.errno in _STORE_IS_FULL:
        return MeasureError(f"cannot write the store {store.root}: {error.strerror}; {STORE_HINT}")
    if isinstance(error, MemoryError):
        return Failed(order.id, "out-of-memory", str(error) or "out of memory")
    place = traceback.extract_tb(error.__traceback__)[-1]
    words = " ".join(str(error).split())[:300]
    return Failed(order.id, "failed", f"{type(error).__name__}: {words} ({Path(place.filename).name}:{place.lineno})")


if __name__ == "__main__":
    from kdbench.worker import serve as _serve  # what is said names classes of this module, not of __main__

    _serve(int(sys.argv[1]), Path(sys.argv[2]))
