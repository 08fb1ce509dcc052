"""A stand-in for adb: ``adb_stand_in.py PHONE WORDS`` does in the folder PHONE what adb would do with a phone.

Its words are adb's own, of https://android.googlesource.com/platform/packages/modules/adb:

- ``adb devices -l``: ``append_transport`` in transport.cpp, which makes a model one word; a phone that does not trust
  this computer has none
- ``device unauthorized.`` and its three lines, ``device offline``, ``device '...' not found``: ``acquire_one_transport``
  in transport.cpp; the client puts ``adb: `` before them and exits with 1
- the shell: daemon/shell_service.cpp (a session of its own for each command; where the connection ends, the shell gets
  SIGHUP and its pipes are closed) and client/commandline.cpp (255 where no exit code comes, 128 + N after signal N)
- ``adb: error: failed to copy '...' to '...': remote No space left on device``: ``ReportDeferredCopyFailure`` in
  client/file_sync_client.cpp; as a phone said it, in the tests of https://github.com/ubports/promise-android-tools
- ``adb: unknown command``: client/commandline.cpp

What no phone knows fails, and is written to PHONE/unknown, which no test may leave.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

PHONE = Path(sys.argv[1])
ROOT = PHONE / "root"
SEEN = ("/data/local/tmp", "/sys/devices/system/cpu", "/proc/cpuinfo", "/proc/meminfo")
"""What of the phone's own files is looked at; all else is this machine's."""

UNAUTHORIZED = """unauthorized.
This adb server's $ADB_VENDOR_KEYS is not set
Try 'adb kill-server' if that seems wrong.
Otherwise check for a confirmation dialog on your device."""


def fail(said, code=1):
    print(said, file=sys.stderr)
    sys.exit(code)


def unknown(what):
    with (PHONE / "unknown").open("a") as file:
        file.write(what + "\n")
    fail(f"adb: unknown command {what}")


def inside(path):
    return ROOT / path.lstrip("/")


def there():
    return not (PHONE / "gone").exists()


def listed():
    lines = (PHONE / "devices").read_text().splitlines() if there() else []
    return {line.split()[0]: line for line in lines}


def ready(serial):
    """Nothing where the phone may be used."""
    line = listed().get(serial)
    if line is None:
        fail(f"adb: device '{serial}' not found")
    state = line.split()[1]
    if state != "device":
        fail(f"adb: device {UNAUTHORIZED if state == 'unauthorized' else state}")


def shell(command):
    for place in SEEN:
        command = command.replace(place, f"{ROOT}{place}")
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": str(PHONE / "bin")},
        start_new_session=True,
        cwd="/",
    )
    threading.Thread(target=feed, args=(process,), daemon=True).start()
    pumps = [threading.Thread(target=pump, args=pair, daemon=True) for pair in
             ((process.stdout, sys.stdout.buffer), (process.stderr, sys.stderr.buffer))]  # fmt: skip
    for each in pumps:
        each.start()
    while process.poll() is None:
        if not there():
            process.send_signal(signal.SIGHUP)
            os._exit(255)  # which closes the pipes, too
        time.sleep(0.005)
    for each in pumps:
        each.join()
    sys.exit(process.returncode if process.returncode >= 0 else 128 - process.returncode)


def feed(process):
    while data := os.read(0, 1 << 16):
        process.stdin.write(data)
        process.stdin.flush()
    process.stdin.close()


def pump(source, to):
    for line in source:
        to.write(line.replace(str(ROOT).encode(), b""))
        to.flush()
        if b": not found" in line:
            with (PHONE / "unknown").open("ab") as file:
                file.write(line)


def push(*sources, target):
    place = inside(target)
    for source in sources:
        if (PHONE / "full").exists():
            fail(f"adb: error: failed to copy '{source}' to '{target}': remote No space left on device")
        to = place / Path(source).name if place.is_dir() else place
        if not to.parent.is_dir():
            fail(
                f"adb: error: failed to copy '{source}' to '{target}': remote couldn't create file: No such file or directory"
            )
        shutil.copy(source, to)
        if (PHONE / "spoils").exists():
            to.write_bytes(to.read_bytes()[:-1] + b"?")
        print(f"{source}: 1 file pushed, 0 skipped. 12.3 MB/s ({to.stat().st_size} bytes in 0.001s)")


def pull(source, target):
    if not inside(source).exists():
        fail(f"adb: error: failed to stat remote object '{source}': No such file or directory")
    place = Path(target) / Path(source).name if Path(target).exists() else Path(target)
    shutil.copytree(inside(source), place)
    (PHONE / "pulled").write_text("\n".join(sorted(path.name for path in place.iterdir())))
    print(f"{source}/: {len(list(place.iterdir()))} files pulled, 0 skipped. 12.3 MB/s (1 bytes in 0.001s)")


def main(words):
    with (PHONE / "log").open("a") as file:
        file.write(" ".join(words) + "\n")
    if words == ["devices", "-l"]:
        print("\n".join(["List of devices attached", *listed().values(), ""]))
        return
    if words[0] != "-s" or len(words) < 3:
        unknown(" ".join(words))
    serial, kind, rest = words[1], words[2], words[3:]
    ready(serial)
    time.sleep(float((PHONE / "delay").read_text()) if (PHONE / "delay").exists() else 0)
    if kind == "features" and not rest:
        print((PHONE / "features").read_text(), end="")
    elif kind == "shell" and rest[0] == "-T" and len(rest) == 2:
        shell(rest[1])
    elif kind == "push" and len(rest) > 1:
        push(*rest[:-1], target=rest[-1])
    elif kind == "pull" and len(rest) == 2:
        pull(*rest)
    else:
        unknown(" ".join(words[2:]))


main(sys.argv[2:])
