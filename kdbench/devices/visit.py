"""A visit to another machine by ssh: one connection, one folder there, and both are gone when it ends."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import tarfile
import tempfile
import threading
from pathlib import Path, PurePosixPath
from shlex import quote
from typing import IO, TYPE_CHECKING

from kdbench.devices.tools import SSH, need
from kdbench.errors import StageError
from kdbench.privacy import without_names

if TYPE_CHECKING:
    from collections.abc import Mapping

_SET = (
    "BatchMode=yes",  # never a question, so never a password
    "ConnectTimeout=10",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
    "ControlPersist=no",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "LogLevel=ERROR",
)
"""What kdbench sets whatever the user's configuration says; names, keys and jumps are the user's."""

_MARK = "kdbench-visit"
"""What our own words come after, on either stream: a login script may say something first."""

# Scripts are one line without single quotes and exclamation marks, so that any login shell hands them on to sh.
_GUARD = (
    f"echo {_MARK} >&2; for c in uname mktemp tar cat rm sleep env; do command -v $c >/dev/null || "
    '{ echo "it has no command $c" >&2; exit 1; }; done; '
    'u=$(uname -s -r -m) && d=$(mktemp -d "${TMPDIR:-/tmp}/kdbench.XXXXXX") || exit 1; trap : HUP INT TERM; '
    f'echo "{_MARK} $u $d"; cat >/dev/null; '
    'kill -9 -$(cat "$d/job/group") 2>/dev/null; rm -rf "$d" || { sleep 1; rm -rf "$d"; }'
)
"""Makes the folder, waits for the end of its input, which no end of ours can fail to bring about, and removes it."""

_PUT = 'cd "$0" && tar xof -'
_RUN = (
    'cd "$0/job" && echo $$ >group || exit 1; exec 3>&2 2>/dev/null; '
    '(exec env -i LC_ALL=C PATH=/usr/bin:/bin "$@" >&3 2>&3 </dev/null); s=$?; rm -f group; echo $s'
)
_FETCH = 'cd "$0/job" && rm -f program-* input-* && tar cf - .'
_CLEAR = 'cd "$0" && kill -9 -$(cat job/group) 2>/dev/null; rm -rf job || { sleep 1; rm -rf job; }'

JOB = PurePosixPath("job")
"""The folder of the one job that is there at a time, in the visit's."""

_OPENING_S = 30
_MOVING_S = 3600
_ASKING_S = 30
_LEAVING_S = 10

_REASONS = {
    "Could not resolve hostname": "its name is not known, neither to ssh's configuration nor to the network",
    "Connection refused": "the connection is refused, no ssh server listens there",
    "IDENTIFICATION HAS CHANGED": "its host key is not the known one",
    "Host key verification failed": "its host key is not known here",
    "Permission denied": "it accepts none of your keys, and kdbench asks for no password",
    "timed out": "it does not answer",
    "No route to host": "it does not answer",
    "Network is unreachable": "the network is unreachable",
}
"""What ssh says when it cannot connect, in words without an address."""


class Visit:
    """One connection to ``host``, as ssh knows it, and one folder there.

    What keeps both is a process there that ends with the connection: however we end, it ends what runs and removes the
    folder. ``system``, ``kernel`` and ``architecture`` are what uname says. What goes wrong is a StageError of one line
    without the machine's address.
    """

    def __init__(self, host: str) -> None:
        self.name = f"ssh:{host}"
        self.supplied = False
        need(SSH, to=f"use {self.name}")
        self._host = host
        self._place = tempfile.TemporaryDirectory(prefix="kdbench-ssh-")
        self._log = (Path(self._place.name) / "log").open("w+b")
        self._guard = subprocess.Popen(
            self._command("ControlMaster=yes", script=_GUARD),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment(),
            start_new_session=True,  # Ctrl-C is ours
        )
        try:
            self.system, self.kernel, self.architecture, self.folder = self._greeting()
        except BaseException:
            self.close()
            raise

    @property
    def open(self) -> bool:
        """Whether the connection stands, as far as ssh knows."""
        return self._guard.poll() is None

    def close(self) -> None:
        """End the visit; nothing is left there. A second time nothing happens."""
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        with contextlib.suppress(OSError):
            self._guard.stdin.close()
        try:
            self._guard.wait(_LEAVING_S)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
        self._guard.stdout.close()
        self._log.close()
        self._place.cleanup()

    def read(self, path: str) -> str:
        """The text of a file there (shell patterns may name several), empty where there is none."""
        return self._told(f"read {path}", f"cat {path} 2>/dev/null || :", _ASKING_S).decode(errors="replace")

    def put(self, files: Mapping[str, Path]) -> None:
        """Copy files into the folder, by their names in it."""
        with tempfile.TemporaryFile() as packed:
            with tarfile.open(fileobj=packed, mode="w", dereference=True, format=tarfile.USTAR_FORMAT) as archive:
                for name, path in files.items():
                    archive.add(path, name, recursive=False, filter=_nobodys)
            packed.seek(0)
            self._told("put files there", _PUT, _MOVING_S, packed)

    def run(self, command: str, words: list[str], timeout: float) -> tuple[int, str]:
        """Run ``command`` in the job's folder: its exit status, 128 + N where signal N ended it, and what it said.

        Raises:
            StageError: also with status ``timed-out``.
        """
        try:
            done = self._call(_RUN, command, *words, seconds=timeout)
        except subprocess.TimeoutExpired:
            raise StageError(f"no result after {timeout:g} s", status="timed-out") from None
        status = self._said(done, "run a job there").strip()
        if not status.isdigit():
            raise StageError(f"{self.name} does not say how the job ended: {status[:80]!r}")
        return int(status), _own(done.stderr)

    def fetch(self, folder: Path) -> None:
        """Copy what the job left into ``folder``, its programs and inputs excepted."""
        packed = self._told("fetch results", _FETCH, _MOVING_S)
        try:
            with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                for member in archive:
                    content = archive.extractfile(member)  # of a file, wherever it says that it lies
                    if content is not None:
                        (folder / PurePosixPath(member.name).name).write_bytes(content.read())
        except tarfile.TarError as error:
            raise StageError(f"{self.name}: the results did not arrive whole: {error}") from None

    def clear(self) -> None:
        """End the job, if it still runs, and remove its folder. Without a connection that is done there."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._call(_CLEAR, seconds=_ASKING_S)

    def _greeting(self) -> tuple[str, str, str, str]:
        """What the guard says first: uname's three words, and the folder."""
        assert self._guard.stdout is not None
        alarm = threading.Timer(_OPENING_S, self._guard.kill)
        alarm.start()
        try:
            for line in self._guard.stdout:
                if line.startswith(_MARK.encode()):
                    _, system, kernel, architecture, folder = line.decode(errors="replace").strip().split(maxsplit=4)
                    if re.fullmatch(r"/[\w./+@:-]+", folder):
                        return system, kernel, architecture, folder
                    raise StageError(f"{self.name}: its folder for temporary files has an odd name; set TMPDIR there")
        finally:
            alarm.cancel()
        code = self._guard.wait()
        self._log.seek(0)
        said = _own(self._log.read())
        if code < 0:
            raise StageError(f"cannot use {self.name}: it says nothing within {_OPENING_S} s; {self._hint}")
        if code == _SSH_FAILED:
            why = next((why for words, why in _REASONS.items() if words in said), self._cut(said))
            raise StageError(f"cannot reach {self.name}: {why}; {self._hint}")
        raise StageError(f"cannot use {self.name}: {self._cut(said) or f'its shell ended with status {code}'}")

    @property
    def _hint(self) -> str:
        return f"try: ssh {self._host} uname"

    def _command(self, *settings: str, script: str, words: tuple[str, ...] = ()) -> list[str]:
        options = [part for setting in (*_SET, *settings) for part in ("-o", setting)]
        remote = " ".join(["exec sh -c", f"'{script}'", *map(quote, words)])
        return [SSH.command, "-T", "-x", *options, "-S", str(Path(self._place.name) / "socket"), self._host, remote]

    def _call(
        self, script: str, *words: str, stdin: IO[bytes] | int = subprocess.DEVNULL, seconds: float
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a script there over the visit's connection; ``$0`` is the visit's folder."""
        # Where the connection is gone, ssh would make another one, past the folder that is gone too.
        settings = ("ControlMaster=no", "ProxyCommand=false")
        return subprocess.run(
            self._command(*settings, script=f"echo {_MARK}; echo {_MARK} >&2; {script}", words=(self.folder, *words)),
            stdin=stdin,
            capture_output=True,
            check=False,
            timeout=seconds,
            env=_environment(),
            start_new_session=True,
        )

    def _told(self, what: str, script: str, seconds: float, stdin: IO[bytes] | int = subprocess.DEVNULL) -> bytes:
        """What a script wrote; ``what`` it is for."""
        try:
            return self._said(self._call(script, stdin=stdin, seconds=seconds), what)
        except subprocess.TimeoutExpired:
            raise StageError(f"{self.name} cannot {what}: it is not done after {seconds:g} s") from None

    def _said(self, done: subprocess.CompletedProcess[bytes], what: str) -> bytes:
        """What a script wrote, if it ended well."""
        _, mark, told = done.stdout.partition(f"{_MARK}\n".encode())
        if done.returncode == 0 and mark:
            return told
        if done.returncode <= 0 or done.returncode == _SSH_FAILED:
            raise StageError(f"the connection to {self.name} was lost while it was to {what}")
        said = _own(done.stderr)
        full = "No space left" in said or "Wrote only" in said
        raise StageError(f"{self.name} cannot {what}: {'no room is left there' if full else self._cut(said)}")

    def _cut(self, said: str) -> str:
        """The first line of what ssh or a shell said, without the machine's address and who one is there."""
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        told = subprocess.run([SSH.command, "-G", self._host], capture_output=True, text=True, check=False).stdout
        private = re.findall(r"^(?:user|hostname) (\S+)$", told, re.MULTILINE)
        return without_names(lines[0][:300], tuple(name for name in private if name != self._host)) if lines else ""


_SSH_FAILED = 255
"""ssh's own failures."""


def _own(stderr: bytes) -> str:
    """What a script wrote to standard error, or ssh where no script was run."""
    return stderr.rpartition(f"{_MARK}\n".encode())[2].decode(errors="replace")


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}  # what ssh and, where it is handed on, the shells there say is read


def _nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """An entry without the names and numbers of who owns it here."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry
