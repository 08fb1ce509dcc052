"""A runner's process: started, waited for, and what its end means."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

from kdbench.devices.wire import RESULT_FILE, STATUS
from kdbench.errors import StageError

if TYPE_CHECKING:
    from pathlib import Path


def finish(
    command: list[str], environment: dict[str, str], timeout: float, folder: Path, leaves: str = RESULT_FILE
) -> None:
    """Run ``command`` in ``folder``, for ``timeout`` s at most; when its time is up or we are, end all it started.

    ``leaves`` is the file that it leaves there if all went well.

    Raises:
        StageError: it crashed, ran out of time or memory, or says why it could not do the job.
    """
    errors = folder / "stderr.txt"
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise StageError(f"no result after {timeout:g} s", status="timed-out") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if code == 0 and (folder / leaves).exists():
        return
    raise failure(code, errors.read_text(encoding="utf-8", errors="replace"))


def failure(code: int, said: str) -> StageError:
    """What a runner's exit code, below zero the signal that ended it, and its last words mean."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = lines[-1][:300] if lines else "it said nothing"
    if code in STATUS:
        return StageError(last, status=STATUS[code])
    if code < 0:
        name = next((known.name for known in signal.Signals if known == -code), "unnamed")
        hint = " perhaps for want of memory" if -code == signal.SIGKILL else f" {last}" if lines else ""
        return StageError(f"crashed: signal {-code} ({name}){';' + hint if hint else ''}", status="crashed")
    return StageError(f"the runner ended with exit status {code}: {last}")
