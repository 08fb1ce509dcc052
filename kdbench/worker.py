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
from typing import TYPE_CHECKING, Any

from kdbench.errors import KdbenchError, MeasureError, StageError, UsageError
from kdbench.stage import imported
from kdbench.store import STORE_HINT, Artefact, Store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

    from kdbench.stage import Tell


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
    """A worker's life. Ctrl-C is its master's to handle; SIGTERM unwinds the stage, so that nothing stays behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    connection, store = Connection(descriptor), Store(root)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            connection.send(_perform(connection.recv(), store, connection))


def _leave(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal.SIGTERM)


def _perform(order: Order, store: Store, connection: Connection) -> Done | Failed | KdbenchError:
    def tell(done: float, text: str) -> None:
        connection.send(Told(order.id, done, text))

    try:
        return Done(order.id, make(order, store, tell))
    except StageError as error:
        return Failed(order.id, error.status, error.reason)
    except (UsageError, MeasureError) as error:
        return type(error)(str(error))
    except Exception as error:  # noqa: BLE001 - whatever breaks a stage becomes its cases' reason, never a lost run
        traceback.print_exc()
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


def make(order: Order, store: Store, tell: Tell) -> Artefact:
    """The order's artefact, made unless another process has made it meanwhile."""
    with store.locked(order.kind, order.key):
        found = store.get(order.kind, order.key)
        if found is not None:
            return found
        keys = {name: artefact.key for name, artefact in order.inputs.items()}
        with store.making(order.kind, order.key, order.spec, keys) as out:
            imported(order.module).run(order.spec, order.inputs, out, tell)
        made = store.get(order.kind, order.key)
    if made is None:
        raise MeasureError(f"the store {store.root} lost what was just written to it")
    return made


if __name__ == "__main__":
    from kdbench.worker import serve as _serve  # what is said names classes of this module, not of __main__

    _serve(int(sys.argv[1]), Path(sys.argv[2]))
