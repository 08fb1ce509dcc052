"""A phone: what adb shows of those that are attached, and a visit to one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ClassVar

from kdbench.devices.condition import Condition, read_condition
from kdbench.devices.tools import ADB, need
from kdbench.devices.visit import JOB, MOVING_S, Visit, environment, guard, remote
from kdbench.errors import StageError
from kdbench.privacy import without_names
from kdbench.store import file_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

ANY = "phone"
"""What the one phone that is attached is called, whatever it is."""

_TMP = "/data/local/tmp"
"""Where adb's shell may write, and run what it wrote."""

_NEEDS = ("uname", "mktemp", "mkdir", "chmod", "cat", "rm", "sleep", "env", "getprop", "dumpsys", "sha256sum")

_FIX = "cmd power set-fixed-performance-mode-enabled"
_UNFIX = f'[ -e "$d/fixed" ] && {_FIX} false >/dev/null 2>&1;'
_SWEEP = (
    f"for d in {_TMP}/kdbench.*; do p=${{d#{_TMP}/kdbench.}}; p=${{p%%.*}}; "
    f'kill -0 "$p" 2>/dev/null && continue; {_UNFIX} rm -rf "$d"; done;'
)
"""Removes the folders of visits whose guard is gone, as after a restart of the phone; their names have its number."""

_STATES = {
    "unauthorized": "it does not trust this computer yet: unlock it and allow USB debugging",
    "authorizing": "it is asking whether to trust this computer: unlock it and allow USB debugging",
    "offline": "adb calls it offline: plug it in again, or try adb reconnect",
    "no permissions": "this user may not open its USB port: it needs a udev rule",
}
"""What ``adb devices`` calls a phone that cannot be used, in words."""

_GONE = re.compile(r"device (?:offline|unauthorized|'[^']*' not found)|no devices|closed|protocol fault|[Cc]onnect|EOF")
"""What adb says when it has lost a phone."""

_PART = "--"
_COOLING_S = 900
_GLANCE_S = 10
_LISTING_S = 60


@dataclass(frozen=True, slots=True)
class Attached:
    """A phone as ``adb devices -l`` lists it; ``model`` is empty where adb may not ask it."""

    serial: str
    state: str
    model: str


def attached() -> list[Attached]:
    """All that adb knows of; its server is started if none runs.

    Raises:
        MeasureError: adb is not installed.
        StageError: it does not answer.
    """
    need(ADB, to="reach phones")
    try:
        done = _adb("devices", "-l", seconds=_LISTING_S)
    except subprocess.TimeoutExpired:
        raise StageError(f"adb does not answer within {_LISTING_S} s; try: adb kill-server") from None
    if done.returncode:
        raise StageError(f"adb cannot list phones: {_first(done.stderr.decode(errors='replace'))}; try: adb devices")
    listed = done.stdout.decode(errors="replace").partition("List of devices attached")[2]
    found = []
    for line in filter(str.strip, listed.splitlines()):
        serial, _, rest = line.strip().replace("\t", " ").partition(" ")
        state = re.split(r"\s(?:usb|product|model|device|transport_id):", f" {rest}")[0].strip()
        model = re.search(r"\smodel:(\S+)", line)
        found.append(Attached(serial, state.partition(" (")[0], model[1] if model else ""))
    return found


def phone_called(wanted: str) -> Attached:
    """The phone of that model or serial, or the only one where ``wanted`` is ``ANY``; ANDROID_SERIAL names one of many.

    Raises:
        MeasureError, StageError: there is none, there are several, or it cannot be used; no serial is told.
    """
    only = os.environ.get("ANDROID_SERIAL")
    here = [each for each in attached() if not only or each.serial == only]
    fits = here if wanted == ANY else [each for each in here if wanted in (each.serial, each.model)]
    shown = ", ".join(sorted(each.model or each.state for each in here)) or "none"
    if not fits:
        hint = f"try adb devices -l, which shows: {shown}"
        raise StageError(f"cannot reach adb:{wanted}: no such phone is attached; {hint}")
    if len(fits) > 1:
        hint = "name its model, or " if wanted == ANY else ""
        raise StageError(f"cannot tell which is adb:{wanted}: {shown} are attached; {hint}set ANDROID_SERIAL to one")
    if fits[0].state != "device":
        state = fits[0].state
        raise StageError(f"cannot reach adb:{wanted}: {_STATES.get(state, f'adb calls it {state!r}')}")
    return fits[0]


class Phone(Visit):
    """A visit to a phone: adb's shell, a folder under /data/local/tmp, files by push and pull, proved by their hashes.

    ``fixed``: whether programs were timed at clocks that it can sustain; ``cooled_s``: how long jobs have waited for it
    to cool.
    """

    environment: ClassVar[str] = "ANDROID_ROOT=/system ANDROID_DATA=/data PATH=/system/bin"

    def __init__(self, name: str, serial: str) -> None:
        self.fixed = False
        self.cooled_s = 0.0
        self._asked = False
        self._patience_s = float(_COOLING_S)
        self._serial = serial
        script = guard(_NEEDS, f"{_TMP}/kdbench.$$.XXXXXX", first=_SWEEP, last=_UNFIX)
        try:
            features = _adb("-s", serial, "features", seconds=_LISTING_S)
        except subprocess.TimeoutExpired:
            raise StageError(f"cannot reach {name}: adb does not answer within {_LISTING_S} s") from None
        if features.returncode == 0 and b"shell_v2" not in features.stdout:
            raise StageError(f"cannot use {name}: its adb tells no exit codes; it needs Android 7 or newer")
        super().__init__(name, script)

    def put(self, files: Mapping[str, Path]) -> None:
        """Copy files into the folder, by their names in it, and see that they arrived whole."""
        places = {name: PurePosixPath(self.folder) / name for name in files}
        folders = dict.fromkeys(str(place.parent) for place in places.values())
        self.told("make a folder there", 'mkdir -p "$@"', *folders)
        pushes: dict[str, list[str]] = {}
        for name, path in files.items():
            place = places[name]
            pushes.setdefault(f"{place.parent}/" if place.name == path.name else str(place), []).append(str(path))
        for target, sources in pushes.items():
            self._moved("put files there", "push", *sources, target)
        told = self.told("read its files", 'cd "$0" && sha256sum "$@"', *files, seconds=MOVING_S).decode()
        found = {name: digest for digest, _, name in (line.partition("  ") for line in told.splitlines())}
        for name, path in files.items():
            if found.get(name) != file_sha256(path):
                raise StageError(f"{self.name}: the file {PurePosixPath(name).name} did not arrive whole")

    def fetch(self, folder: Path) -> None:
        """Copy what the job left into ``folder``, its programs and inputs excepted."""
        self.told("fetch results", 'cd "$0/job" && rm -f program-* input-*')
        with tempfile.TemporaryDirectory(prefix="kdbench-pull-") as scratch:
            pulled = Path(scratch) / "pulled"
            self._moved("fetch results", "pull", f"{self.folder}/{JOB}", str(pulled))
            for path in pulled.iterdir():
                if path.is_file() and not path.is_symlink():
                    shutil.copyfile(path, folder / path.name)

    def fix(self) -> None:
        """Turn fixed-performance mode on until ``free`` or the end of the visit, where the phone has it: Android 11.

        What ends it is the guard there, so it ends however we do.
        """
        if not self._asked:
            script = f': >"$0/fixed"; {_FIX} true >/dev/null 2>&1 && echo on || {{ rm "$0/fixed"; echo off; }}'
            self.fixed = self.told("set its performance mode", script).strip() == b"on"
            self._asked = True

    def free(self) -> None:
        """Turn it off again: an app runs at the clocks that the system chooses."""
        if self._asked:
            script = f'[ -e "$0/fixed" ] && {_FIX} false >/dev/null 2>&1; rm -f "$0/fixed"'
            self.told("set its performance mode", script)
            self._asked = False

    def condition(self) -> Condition:
        """Battery and heat now.

        Raises:
            StageError: it cannot be reached.
        """
        script = f"dumpsys battery 2>/dev/null; echo {_PART}; dumpsys thermalservice 2>/dev/null; :"
        battery, _, thermal = self.told("say how it is", script).decode(errors="replace").partition(f"{_PART}\n")
        return read_condition(battery, thermal)

    def cool(self) -> None:
        """Wait until the phone is no hotter than ``light``, for 15 minutes at most, and say so.

        Once that was in vain, nothing more is waited for: what finds it hot later fails at once.

        Raises:
            StageError: it stays hotter.
        """
        start = time.monotonic()
        told = False
        while (now := self.condition()).hot:
            left = self._patience_s - (time.monotonic() - start)
            if left <= 0:
                self.cooled_s += self._patience_s
                spent = f"after waiting {self._patience_s:.0f} s" if self._patience_s else "and stayed so before"
                self._patience_s = 0.0
                raise StageError(
                    f"{self.name} is too hot to measure: thermal status {now.heat} {spent}; "
                    "let it cool, out of its case and off the charger"
                )
            if not told:
                print(f"{self.name} is hot, thermal status {now.heat}: waiting up to {left:.0f} s", file=sys.stderr)
                told = True
            time.sleep(min(_GLANCE_S, left))
        if told:
            waited = time.monotonic() - start
            self.cooled_s += waited
            print(f"{self.name} has cooled after {waited:.0f} s", file=sys.stderr)

    def command(self, script: str, words: tuple[str, ...] = (), *, first: bool = False) -> list[str]:
        """One string for adb's shell, which quotes nothing; without a terminal, and with exit codes."""
        del first
        return [ADB.command, "-s", self._serial, "shell", "-T", remote(script, words)]

    def unreached(self, said: str) -> str:
        """What adb means."""
        return next((why for words, why in _STATES.items() if words in said), self.cut(said) or "it does not answer")

    def hint(self) -> str:
        """A command that says more."""
        return "try: adb devices -l"

    def cut(self, said: str) -> str:
        """The line of what was said that tells most, without places and the serial."""
        line = re.sub(r"^(?:adb: )?(?:error: )?(?:failed to copy '.*' to '.*': )?(?:remote )?", "", _first(said))
        return without_names(line, (self._serial,))

    def lost(self, done: subprocess.CompletedProcess[bytes], *, begun: bool) -> bool:
        """Adb fails with 255 on the way and with 1 before it."""
        return super().lost(done, begun=begun) or not begun

    def _moved(self, what: str, *words: str) -> None:
        """Let adb move files."""
        try:
            done = _adb("-s", self._serial, *words, seconds=MOVING_S)
        except subprocess.TimeoutExpired:
            raise self.late(what, MOVING_S) from None
        if done.returncode:
            said = (done.stderr + done.stdout).decode(errors="replace")
            raise self.parted(what) if _GONE.search(said) or not self.open else self.refusal(what, said)


def _adb(*words: str, seconds: float) -> subprocess.CompletedProcess[bytes]:
    """What a call of adb came to; it cannot be stopped by a Ctrl-C that is ours."""
    return subprocess.run(
        [ADB.command, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=seconds,
        env=environment(),
        start_new_session=True,
    )


def _first(said: str) -> str:
    """The first line with an error in it, else the first that is not about adb's own server; at most 300 letters."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("*")]
    return next((line for line in lines if "error" in line), lines[0] if lines else "")[:300]
