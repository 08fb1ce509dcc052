"""Boards without a board: a stand-in for ssh that runs here what it is told to run there, and a real server on loopback."""

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

COMMANDS = ("sh", "uname", "mktemp", "tar", "cat", "rm", "sleep", "env")
"""What docs/ssh.md says that a board needs."""

STAND_IN = """#!/bin/sh
here={folder}
case " $* " in *" -G "*) printf "user ann\\nhostname 10.1.2.3\\n"; exit;; esac
echo "$*" >>$here/log
if [ -f $here/refusal ]; then cat $here/refusal >&2; exit 255; fi
if [ -f $here/welcome ]; then cat $here/welcome; cat $here/welcome >&2; fi
for last; do :; done
export TMPDIR=$here/tmp PATH=$here/bin
exec sh -c "$last"
"""


class Seen:
    """Another machine's folder for temporary files, ``tmp``, as seen from outside."""

    def left(self):
        """What lies in its folder for temporary files."""
        return sorted(path.name for path in self.tmp.iterdir())

    def empties(self, seconds=20):
        """Whether nothing lies there, at the latest after so many seconds."""
        deadline = time.monotonic() + seconds
        while self.left() and time.monotonic() < deadline:
            time.sleep(0.05)
        return not self.left()


@dataclass(frozen=True)
class Board(Seen):
    """What is seen of a board from outside. ``bin`` is the only folder with commands that its shells find."""

    folder: Path

    @property
    def tmp(self):
        return self.folder / "tmp"

    @property
    def bin(self):
        return self.folder / "bin"

    def command(self, name, script):
        """Put a command there, instead of the real one."""
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def lines(self):
        """What the stand-in was called with."""
        return (self.folder / "log").read_text().splitlines()


def laid(folder):
    """A board's folders, with the commands that it needs and no other."""
    board = Board(folder)
    board.tmp.mkdir()
    board.bin.mkdir()
    restore(board)
    return board


def restore(board):
    """Put the real commands back, and no other."""
    for path in board.bin.iterdir():
        path.unlink()
    for name in COMMANDS:
        (board.bin / name).symlink_to(shutil.which(name))


def script(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path.parent


def server_lacks():
    """Why no ssh server can be started here; empty where one can."""
    for command in ("ssh", "ssh-keygen"):
        if shutil.which(command) is None:
            return f"{command} is not installed (Debian: openssh-client)"
    if not Path("/usr/sbin/sshd").exists():
        return "/usr/sbin/sshd is not installed (Debian: openssh-server)"
    if os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        return "root may not unshare, so that sshd would need a folder in /run"
    return ""


@dataclass
class Server:
    """A real sshd on loopback, of this user, with its own keys; ``board`` is what its shells see."""

    board: Board
    process: subprocess.Popen
    client: Path

    def sessions(self):
        """The processes that serve its connections."""
        import psutil

        return psutil.Process(self.process.pid).children()


SSHD = """
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
SetEnv TMPDIR={folder}/tmp PATH={folder}/bin HOME={folder}
"""

CLIENT = """
Host refused
  Port {free}
Host unknown
  HostName no-such-board.invalid
Host strange
  UserKnownHostsFile {folder}/none
Host locked
  IdentityFile {folder}/stranger
Host board refused unknown strange
  IdentityFile {folder}/user
Host *
  HostName 127.0.0.1
  Port {port}
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known
"""
"""ssh takes the first value that it finds, so what is special stands first."""


def serve(folder):
    """Start a server in ``folder``; it lies in no folder of the system."""
    board = laid(folder)
    for name in ("host", "user", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    port, free = free_ports(2)
    (folder / "sshd_config").write_text(SSHD.format(folder=folder, port=port))
    (folder / "config").write_text(CLIENT.format(folder=folder, port=port, free=free))
    key = (folder / "host.pub").read_text().split()[:2]
    (folder / "known").write_text(" ".join([f"[127.0.0.1]:{port}", *key]) + "\n")
    command = ["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config")]
    if os.geteuid() == 0:  # sshd wants a folder in /run, which is one of its own here
        inside = 'mount -t tmpfs none /run && mkdir /run/sshd && exec "$@"'
        command = ["unshare", "-m", "sh", "-c", inside, "sh", *command]
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while b"listening" not in (folder / "sshd.log").read_bytes():
        assert process.poll() is None, (folder / "sshd.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    client = script(folder / "client" / "ssh", f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/config "$@"\n')
    return Server(board, process, client)


def free_ports(count):
    import socket

    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
