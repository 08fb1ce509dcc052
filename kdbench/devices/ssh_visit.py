"""A visit by ssh: OpenSSH's own client, one connection that all calls share, files as tar."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from kdbench.devices.tools import SSH, need
from kdbench.devices.visit import MOVING_S, Visit, guard, remote
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

_NEEDS = ("uname", "mktemp", "tar", "cat", "rm", "sleep", "env")
_PUT = 'cd "$0" && tar xof -'
_FETCH = 'cd "$0/job" && rm -f program-* input-* && tar cf - .'

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


class SshVisit(Visit):
    """A visit to ``host``, as ssh knows it."""

    def __init__(self, host: str) -> None:
        self._host = host
        need(SSH, to=f"use ssh:{host}")
        super().__init__(f"ssh:{host}", guard(_NEEDS, "${TMPDIR:-/tmp}/kdbench.XXXXXX"))

    def put(self, files: Mapping[str, Path]) -> None:
        """Copy files into the folder, by their names in it."""
        with tempfile.TemporaryFile() as packed:
            with tarfile.open(fileobj=packed, mode="w", dereference=True, format=tarfile.USTAR_FORMAT) as archive:
                for name, path in files.items():
                    archive.add(path, name, recursive=False, filter=_nobodys)
            packed.seek(0)
            self.told("put files there", _PUT, seconds=MOVING_S, stdin=packed)

    def fetch(self, folder: Path) -> None:
        """Copy what the job left into ``folder``, its programs and inputs excepted."""
        packed = self.told("fetch results", _FETCH, seconds=MOVING_S)
        try:
            with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                for member in archive:
                    content = archive.extractfile(member)  # of a file, wherever it says that it lies
                    if content is not None:
                        (folder / PurePosixPath(member.name).name).write_bytes(content.read())
        except tarfile.TarError as error:
            raise StageError(f"{self.name}: the results did not arrive whole: {error}") from None

    def command(self, script: str, words: tuple[str, ...] = (), *, first: bool = False) -> list[str]:
        """One connection, made by the first command, serves all."""
        # Where the connection is gone, ssh would make another one, past the folder that is gone too.
        master = ("ControlMaster=yes",) if first else ("ControlMaster=no", "ProxyCommand=false")
        options = [part for setting in (*_SET, *master) for part in ("-o", setting)]
        socket = str(Path(self._place.name) / "socket")
        return [SSH.command, "-T", "-x", *options, "-S", socket, self._host, remote(script, words)]

    def unreached(self, said: str) -> str:
        """What ssh means."""
        return next((why for words, why in _REASONS.items() if words in said), self.cut(said))

    def hint(self) -> str:
        """A command that says more."""
        return f"try: ssh {self._host} uname"

    def cut(self, said: str) -> str:
        """The first line of what ssh or a shell said, without the machine's address and who one is there."""
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        told = subprocess.run([SSH.command, "-G", self._host], capture_output=True, text=True, check=False).stdout
        private = re.findall(r"^(?:user|hostname) (\S+)$", told, re.MULTILINE)
        return without_names(lines[0][:300], tuple(name for name in private if name != self._host)) if lines else ""


def _nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """An entry without the names and numbers of who owns it here."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry
