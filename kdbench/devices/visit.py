"""A visit to another machine: one connection, one folder there, and both are gone when it ends."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import subprocess
import tempfile
import threading
from abc import ABC, abstractmethod
from pathlib import Path, PurePosixPath
from shlex import quote
from typing import IO, TYPE_CHECKING, ClassVar, TypeVar

from kdbench.errors import StageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MARK = "kdbench-visit"
"""What our own words come after, on either stream: a login script may say something first."""

JOB = PurePosixPath("job")
"""The folder of the one job that is there at a time, in the visit's."""

_CLEAR = 'cd "$0" && kill -9 -$(cat job/group) 2>/dev/null; rm -rf job || { sleep 1; rm -rf job; }'

_OPENING_S = 30
_ASKING_S = 30
_LEAVING_S = 10
MOVING_S = 3600
_ROOM = 60  # letters of the folder for temporary files
"""How long files may take on their way."""

_FULL = ("No space left", "Wrote only")
"""What is said where files find no room."""

_open: dict[str, Visit] = {}
"""This process's visits, by the device's name."""

Kind = TypeVar("Kind", bound="Visit")


def visited(name: str, make: Callable[[], Kind]) -> Kind:
    """The visit of this process to a device; ``make`` gives a new one if there is none or its connection was lost."""
    known = _open.get(name)
    if known is not None and not known.open:
        _open.pop(name).close()
        known = None
    if known is None:
        known = _open[name] = make()
    return known  # type: ignore[return-value]  # one name, one kind


@atexit.register
def leave() -> None:
    """End this process's visits; nothing is left on the machines."""
    while _open:
        _open.popitem()[1].close()


def guard(commands: Sequence[str], folder: str, *, first: str = "", last: str = "") -> str:
    """The script that keeps a visit: it makes the folder, waits for the end of its input, and removes the folder.

    No end of ours can fail to bring about that of its input. ``commands`` are what the machine must have; ``folder``
    is a template of mktemp. ``first`` is done before all else, ``last`` before the folder ``$d`` is removed; both end
    in a semicolon. Scripts are one line without single quotes and exclamation marks, so that any login shell hands
    them on to sh.
    """
    return (
        f"echo {MARK} >&2; for c in {' '.join(commands)}; do command -v $c >/dev/null || "
        f'{{ echo "it has no command $c" >&2; exit 1; }}; done; {first} '
        f'u=$(uname -s -r -m) && d=$(mktemp -d "{folder}") || exit 1; trap : HUP INT TERM; '
        f'echo "{MARK} $u $d"; cat >/dev/null; '
        f'kill -9 -$(cat "$d/job/group") 2>/dev/null; {last} rm -rf "$d" || {{ sleep 1; rm -rf "$d"; }}'
    )


class Visit(ABC):
    """One connection to another machine, and one folder there.

    What keeps both is a process there (``guard``) that ends with the connection: however we end, it ends what runs and
    removes the folder. ``system``, ``kernel`` and ``architecture`` are what uname says. What goes wrong is a StageError
    of one line without the machine's address. A kind of connection is a subclass.
    """

    environment: ClassVar[str] = "LC_ALL=C PATH=/usr/bin:/bin"
    """All that a job finds in its environment: what a user has set must not decide figures."""

    failed: ClassVar[int] = 255
    """The exit code of the connection's own failures."""

    def __init__(self, name: str, script: str) -> None:
        self.name = name
        self.supplied = False
        # The socket of ssh lies in it, whose path may have 107 letters and gets a random ending of 17.
        short = len(tempfile.gettempdir()) <= _ROOM
        self._place = tempfile.TemporaryDirectory(prefix="kdbench-", dir=None if short else "/tmp")  # noqa: S108
        self._log = (Path(self._place.name) / "log").open("w+b")
        self._guard = subprocess.Popen(
            self.command(script, first=True),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment(),
            start_new_session=True,  # Ctrl-C is ours
        )
        try:
            self.system, self.kernel, self.architecture, self.folder = self._greeting()
        except BaseException:
            self.close()
            raise

    @property
    def open(self) -> bool:
        """Whether the connection stands, as far as is known."""
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
        return self.told(f"read {path}", f"cat {path} 2>/dev/null || :").decode(errors="replace")

    def told(
        self,
        what: str,
        script: str,
        *words: str,
        seconds: float = 0.0,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
    ) -> bytes:
        """What a script wrote; ``what`` it is for. ``seconds``: how long it may take, if not as long as a question.

        Raises:
            StageError: it takes longer, it failed, or the connection did.
        """
        seconds = seconds or _ASKING_S
        try:
            return self._said(self._call(script, *words, stdin=stdin, seconds=seconds), what)
        except subprocess.TimeoutExpired:
            raise self.late(what, seconds) from None

    def run(self, command: Sequence[str], timeout: float) -> tuple[int, str]:
        """Run ``command`` in the job's folder: its exit status, 128 + N where signal N ended it, and what it said.

        Raises:
            StageError: also with status ``timed-out``.
        """
        script = (
            'cd "$0/job" && echo $$ >group || exit 1; exec 3>&2 2>/dev/null; '
            f'(exec env -i {self.environment} "$@" >&3 2>&3 </dev/null); s=$?; rm -f group; echo $s'
        )
        try:
            done = self._call(script, *command, seconds=timeout)
        except subprocess.TimeoutExpired:
            raise StageError(f"no result after {timeout:g} s", status="timed-out") from None
        status = self._said(done, "run a job there").strip()
        if not status.isdigit():
            raise StageError(f"{self.name} does not say how the job ended: {status[:80]!r}")
        return int(status), own(done.stderr)

    def clear(self) -> None:
        """End the job, if it still runs, and remove its folder. Without a connection that is done there."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._call(_CLEAR, seconds=_ASKING_S)

    @abstractmethod
    def put(self, files: Mapping[str, Path]) -> None:
        """Copy files into the folder, by their names in it."""

    @abstractmethod
    def fetch(self, folder: Path) -> None:
        """Copy what the job left into ``folder``, its programs and inputs excepted."""

    @abstractmethod
    def command(self, script: str, words: tuple[str, ...] = (), *, first: bool = False) -> list[str]:
        """What runs a script there, with ``words`` as ``$0`` and more; ``first``: it is the guard's."""

    @abstractmethod
    def unreached(self, said: str) -> str:
        """Why there is no connection, by what was said of it: a few words without an address."""

    @abstractmethod
    def hint(self) -> str:
        """A command that shows whether there is one."""

    @abstractmethod
    def cut(self, said: str) -> str:
        """The first line of what was said, without the machine's address and who one is there."""

    def lost(self, done: subprocess.CompletedProcess[bytes], *, begun: bool) -> bool:
        """Whether the connection failed, and not what ran over it; ``begun``: it did run."""
        return done.returncode < 0 or done.returncode == self.failed or (done.returncode == 0 and not begun)

    def refusal(self, what: str, said: str) -> StageError:
        """That the machine cannot do ``what``, by what was said of it."""
        full = any(words in said for words in _FULL)
        return StageError(f"{self.name} cannot {what}: {'no room is left there' if full else self.cut(said)}")

    def parted(self, what: str) -> StageError:
        """That the connection was lost at ``what``."""
        return StageError(f"the connection to {self.name} was lost while it was to {what}")

    def late(self, what: str, seconds: float) -> StageError:
        """That ``what`` took longer than ``seconds``."""
        return StageError(f"{self.name} cannot {what}: it is not done after {seconds:g} s")

    def _greeting(self) -> tuple[str, str, str, str]:
        """What the guard says first: uname's three words, and the folder."""
        assert self._guard.stdout is not None
        alarm = threading.Timer(_OPENING_S, self._guard.kill)
        alarm.start()
        try:
            for line in self._guard.stdout:
                if line.startswith(MARK.encode()):
                    _, system, kernel, architecture, folder = line.decode(errors="replace").strip().split(maxsplit=4)
                    if re.fullmatch(r"/[\w./+@:-]+", folder):
                        return system, kernel, architecture, folder
                    raise StageError(f"{self.name}: its folder for temporary files has an odd name; set TMPDIR there")
        finally:
            alarm.cancel()
        code = self._guard.wait()
        self._log.seek(0)
        log = self._log.read()
        if code < 0:
            raise StageError(f"cannot use {self.name}: it says nothing within {_OPENING_S} s; {self.hint()}")
        done = subprocess.CompletedProcess([], code, b"", log)
        if self.lost(done, begun=MARK.encode() in log):
            raise StageError(f"cannot reach {self.name}: {self.unreached(own(log))}; {self.hint()}")
        raise StageError(f"cannot use {self.name}: {self.cut(own(log)) or f'its shell ended with status {code}'}")

    def _call(
        self, script: str, *words: str, stdin: IO[bytes] | int = subprocess.DEVNULL, seconds: float
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a script there over the visit's connection; ``$0`` is the visit's folder."""
        return subprocess.run(
            self.command(f"echo {MARK}; echo {MARK} >&2; {script}", (self.folder, *words)),
            stdin=stdin,
            capture_output=True,
            check=False,
            timeout=seconds,
            env=environment(),
            start_new_session=True,
        )

    def _said(self, done: subprocess.CompletedProcess[bytes], what: str) -> bytes:
        """What a script wrote, if it ended well."""
        _, mark, told = done.stdout.partition(f"{MARK}\n".encode())
        if done.returncode == 0 and mark:
            return told
        if self.lost(done, begun=bool(mark)):
            raise self.parted(what)
        raise self.refusal(what, own(done.stderr))


def remote(script: str, words: Sequence[str]) -> str:
    """A script and its words as one command line, for whatever shell the connection hands it to."""
    return " ".join(["exec sh -c", f"'{script}'", *map(quote, words)])


def own(stderr: bytes) -> str:
    """What a script wrote to standard error, or the connection where no script was run."""
    return stderr.rpartition(f"{MARK}\n".encode())[2].decode(errors="replace")


def environment() -> dict[str, str]:
    """What the connection finds in its environment: what it says is read, so it speaks English."""
    return {**os.environ, "LC_ALL": "C"}
