"""An errand: one job on another machine, packed here, run there, its results brought back."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from kdbench.devices.process import failure
from kdbench.devices.visit import JOB
from kdbench.devices.wire import RESULT_FILE, pack_job, read_result
from kdbench.errors import MeasureError, StageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kdbench.devices.job import Job, Result
    from kdbench.devices.visit import Visit

GOODS = PurePosixPath("goods")
"""Where what every job needs lies, in a visit's folder."""

_NOT_STARTED = (126, 127)
"""What a shell's exit status says of a command that it cannot start."""


def errand(
    job: Job,
    command: Sequence[str],
    visit: Callable[[], Visit],
    *,
    name: str,
    runtime: str,
    core: int = -1,
    needs: str,
) -> Result:
    """Run ``job`` on the machine ``name`` in a fresh process of ``command``, which is told the job's folder.

    ``visit`` gives the machine as soon as the job is packed, with all there that the command needs. ``core``: the one
    that the runner keeps to, -1 for none. ``needs`` says what a machine needs where the command cannot be started.

    Raises:
        StageError: as for ``Device.run``, and where the machine cannot be reached or has no room.
        MeasureError: a folder here cannot be written.
        UsageError: the job contradicts itself.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="kdbench-job-") as scratch:
            folder = Path(scratch)
            pack_job(job, folder, PurePosixPath(), core)
            _run(visit(), [*command, "."], job.timeout_s, folder, name, needs)
            return read_result(job, folder, runtime)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise MeasureError(f"cannot run a job on {name}:{where}: {error.strerror or error}") from None


def _run(visit: Visit, command: Sequence[str], timeout: float, folder: Path, name: str, needs: str) -> None:
    """Run the job that lies in ``folder`` and bring what it leaves there."""
    try:
        visit.put({str(JOB / path.name): path for path in folder.iterdir()})
        code, said = visit.run(command, timeout)
        if code in _NOT_STARTED:
            why = said.strip().splitlines()[-1:] or ["nothing is said of it"]
            raise StageError(f"the runner cannot be started on {name}: {why[0][:200]}; {needs}")
        if code == 0:
            visit.fetch(folder)
        if code or not (folder / RESULT_FILE).exists():
            raise failure(code if code < 128 else 128 - code, said)
    finally:
        visit.clear()
