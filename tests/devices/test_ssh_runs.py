"""Boards behind a real OpenSSH server, on loopback. Run where sshd is installed: ``tox -e ssh`` asks for it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import boards
import numpy as np
import psutil
import pytest
from jobs import interleave, predict, timing
from twins import TIMED, paired, suite_on

from kdbench.devices import ssh as module
from kdbench.devices.host import Host
from kdbench.devices.job import Input, Job, Load, Memory, Predict, Program
from kdbench.devices.runner.wheel import VARIABLE
from kdbench.devices.ssh import ssh
from kdbench.devices.tools import CROSS_COMPILER, EMULATOR, lacking
from kdbench.devices.visit import leave
from kdbench.errors import StageError

LACKS = boards.server_lacks()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(LACKS), reason=f"needs an ssh server, as tox -e ssh has it: {LACKS}"),
]

PATIENCE_S = 240
"""How long a test waits for a process to come; a busy machine is slow to start one."""


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """One server for all."""
    server = boards.serve(tmp_path_factory.mktemp("sshd"))
    yield server
    server.process.terminate()
    server.process.wait()


@pytest.fixture
def server(running, monkeypatch):
    """The server, which ssh reaches under several names; what a test leaves on the board is nothing."""
    monkeypatch.setenv("PATH", f"{running.client}:{os.environ['PATH']}")
    module._board.cache_clear()
    yield running
    leave()
    module._board.cache_clear()
    assert running.board.empties()
    boards.restore(running.board)


@pytest.fixture
def device(server):
    return ssh("ssh:board")


def forever(tiny, timeout=PATIENCE_S):
    return timing({"p": tiny}, interleave("p", min_ns=10**11), timeout_s=timeout)


def ended(seconds=10):
    """Whether no runner runs any more, at the latest after so many seconds: one that is killed takes a moment."""
    deadline = time.monotonic() + seconds
    while runners() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not runners()


def runners():
    """The runners that jobs of these tests have started and that still run."""
    found = []
    for process in psutil.process_iter(["exe", "status"]):
        exe = process.info["exe"] or ""
        if exe.endswith("/goods/runner") and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


@contextlib.contextmanager
def once(condition, act):
    """Do ``act`` with what ``condition`` finds, as soon as it finds something, while the block runs."""
    done = []

    def watch():
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if found := condition():
                time.sleep(0.2)
                done.append(act(found))
                return
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        watcher.join()
        assert done


def test_outputs_are_the_hosts_to_the_bit(device, tiny_program, portable_program):
    job = Job(
        (Program("a", tiny_program.path), Program("b", portable_program.path)),
        (Input("x", tiny_program.inputs),),
        (Load("a"), Load("b"), Predict("b", "x"), Predict("a", "x"), Memory("end")),
        pin=True,
    )
    there, here = device.run(job), Host("host", "native").run(job)
    for name in "ab":
        np.testing.assert_array_equal(
            there.outputs[name][0].view(np.uint8), here.outputs[name][0].view(np.uint8), strict=True
        )
    assert (there.threads, there.pinned, there.blocks) == (here.threads, here.pinned, here.blocks)
    assert abs(there.peak_rss_bytes["end"] - here.peak_rss_bytes["end"]) < here.peak_rss_bytes["end"] / 4
    assert device.run(predict(tiny_program, threads=2)).threads == 2


def test_one_connection_serves_a_process(server, device, tiny_program):
    for _ in range(3):
        device.run(predict(tiny_program))
    log = (server.board.folder / "sshd.log").read_text()
    before = log.count("Accepted publickey")
    device.run(predict(tiny_program))
    assert (server.board.folder / "sshd.log").read_text().count("Accepted publickey") == before
    assert len(server.sessions()) == 1


def test_what_does_not_end_is_ended(server, device, tiny_program):
    with pytest.raises(StageError, match=r"^no result after 3 s$") as caught:
        device.run(forever(tiny_program, 3))
    assert caught.value.status == "timed-out"
    assert ended()
    (visit,) = server.board.tmp.iterdir()
    assert [path.name for path in visit.iterdir()] == ["goods"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGSEGV, r"^crashed: signal 11 \(SIGSEGV\)$"),
        (signal.SIGKILL, r"^crashed: signal 9 \(SIGKILL\); perhaps for want of memory$"),
    ],
)
def test_a_runner_that_dies_is_a_crash(device, tiny_program, number, words):
    with (
        once(runners, lambda found: os.kill(found[0].pid, number)),  # psutil would refuse a number used before
        pytest.raises(StageError, match=words) as caught,
    ):
        device.run(forever(tiny_program))
    assert caught.value.status == "crashed"


def test_what_the_runner_refuses_is_its_own_line(device, broken_program):
    with pytest.raises(StageError, match=r"^cannot load method 'forward' of program program-0.pte: ") as caught:
        device.run(predict(broken_program))
    assert caught.value.status == "failed"


def test_too_little_memory_is_told(server, device, tiny_program):
    server.board.command("env", 'ulimit -v 100000; exec /usr/bin/env "$@"')
    items = np.zeros((150000, 1, 3, 8, 8), dtype=np.float32)
    with pytest.raises(StageError) as caught:
        device.run(Job((Program("p", tiny_program.path),), (Input("x", (items,)),), (Load("p"), Predict("p", "x"))))
    assert (caught.value.status, caught.value.reason) == ("out-of-memory", "out of memory")


def test_a_connection_that_breaks_is_told_and_nothing_stays(server, device, tiny_program):
    device.run(predict(tiny_program))

    def cut(_runners):
        for session in server.sessions():
            for process in [session, *session.children(recursive=False)]:
                if process.name() == "sshd":
                    process.kill()

    with (
        once(runners, cut),
        pytest.raises(StageError, match=r"^the connection to ssh:board was lost while it was to run a job there$"),
    ):
        device.run(forever(tiny_program))
    assert server.board.empties()
    assert ended()
    assert device.run(predict(tiny_program)).outputs["p"][0].shape == (4, 1, 4)


def test_nothing_stays_when_kdbench_is_killed(server, tiny_program, tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {os.path.dirname(boards.__file__)!r}); from jobs import *; from pathlib import Path; import numpy as np;"
        "from conftest import Tiny, tiny_items; from kdbench.devices.ssh import ssh;"
        f"tiny = Tiny(Path({str(tiny_program.path)!r}), tiny_items());"
        "ssh('ssh:board').run(timing({'p': tiny}, interleave('p', min_ns=10**11)))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(tmp_path)})
    deadline = time.monotonic() + PATIENCE_S
    while not runners() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.board.left()
    process.kill()
    process.wait()
    assert server.board.empties()
    assert ended()


def test_ctrl_c_leaves_nothing(server, tiny_program, tmp_path):
    words = ["measure", str(tiny_program.path), "--device", "ssh:board"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "kdbench", *words], env=environment, stderr=subprocess.PIPE, text=True
    )
    with once(runners, lambda _: process.send_signal(signal.SIGINT)):
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors.splitlines()[-1].startswith("kdbench: interrupted")) == (130, True)
    assert server.board.left() == []
    assert ended()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("refused", "the connection is refused, no ssh server listens there"),
        ("unknown", "its name is not known, neither to ssh's configuration nor to the network"),
        ("strange", "its host key is not known here"),
        ("locked", "it accepts none of your keys, and kdbench asks for no password"),
    ],
)
def test_what_cannot_be_reached_is_one_line(server, name, why):
    with pytest.raises(StageError) as caught:
        _ = ssh(f"ssh:{name}").runtime
    assert caught.value.reason == f"cannot reach ssh:{name}: {why}; try: ssh {name} uname"
    assert caught.value.exit_code == 3


def test_a_command_that_lacks_there_is_named(server):
    (server.board.bin / "uname").unlink()
    with pytest.raises(StageError, match=r"^cannot use ssh:board: it has no command uname$"):
        _ = ssh("ssh:board").runtime


def test_a_full_disk_there_is_said_to_be_full(server, device, tiny_program):
    server.board.command("tar", 'ulimit -f 100; exec /bin/tar "$@"')
    with pytest.raises(StageError, match=r"^ssh:board cannot put files there: "):
        device.run(predict(tiny_program))


def measured(program, device, *words):
    from click.testing import CliRunner

    from kdbench.cli.measure import command

    shown = CliRunner().invoke(command, [str(program), "--device", device, *words], standalone_mode=False)
    if shown.exception:
        raise shown.exception
    return shown.output


def test_a_program_is_measured_from_the_command_line(server, tiny_program):
    here, there = (
        json.loads(measured(tiny_program.path, name, "--processes", "1", "--format", "json"))
        for name in ("host", "ssh:board")
    )
    assert there["metrics"]["latency_ms"] > 0
    assert there["metrics"]["peak_rss_bytes"] > 0
    assert there["speed"]["device"] == "ssh:board"
    assert there["speed"]["runtime"].startswith(here["speed"]["runtime"] + " ")
    for key in ("program", "inputs", "units", "file"):
        assert there[key] == here[key]
    with pytest.raises(StageError, match=r"^cannot reach ssh:refused: "):
        measured(tiny_program.path, "ssh:refused")


@pytest.fixture(scope="module")
def both(running, tmp_path_factory):
    """A small suite on the host and on the board, run as a user runs it: its folder of results."""
    place = tmp_path_factory.mktemp("both")
    (place / "small.toml").write_text(suite_on("ssh:board"))
    environment = {
        **os.environ,
        "KDBENCH_STORE": str(place / "store"),
        "PATH": f"{running.client}:{os.environ['PATH']}",
    }
    command = [sys.executable, "-m", "kdbench", "run", "small.toml", "--results", "results"]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = (place / "results").rglob("run.json")
    return path


def test_records_differ_from_the_hosts_only_where_they_must(both):
    run = json.loads(both.read_text())
    for here, there in paired(run["records"], "ssh:board"):
        assert there["case"] == here["case"].removesuffix("host") + "ssh:board"
        beside, machine = there["details"].pop("beside_host"), there["details"].pop("machine")
        assert beside == {"items_differing": 0, "largest_difference": 0.0}
        assert machine["cores"] == run["machine" if "machine" in run else "provenance"]["machine"]["cores"]
        timed = there["metrics"]["latency_ms"], there["metrics"]["peak_rss_bytes"]
        assert None not in timed
        assert there["reasons"].pop("runtime_bytes") == "which libraries run programs there is not known"
        for record in (here, there):
            for key in ("case", "device", "flags"):
                del record[key]
            record["metrics"] = {key: value for key, value in record["metrics"].items() if key not in TIMED}
        assert there == here


def test_items_are_the_hosts_to_the_bit_and_nothing_stays(both, running):
    with np.load(both.parent / "items.npz") as items:
        names = [name for name in items.files if "host" in name]
        assert names
        for name in names:
            np.testing.assert_array_equal(items[name], items[name.replace("/host", "/ssh:board")])
    assert running.board.empties()


def test_a_record_of_a_board_has_no_name_of_it_but_its_alias(both, running):
    text = both.read_text()
    for private in ("127.0.0.1", running.board.folder.name, "/client"):
        assert private not in text
    assert "ssh:board" in text


@pytest.mark.skipif(
    bool(lacking(EMULATOR, CROSS_COMPILER)) or not os.environ.get(VARIABLE) or os.uname().machine != "x86_64",
    reason=f"needs qemu-user, the cross compiler and {VARIABLE}",
)
def test_a_64_bit_arm_board_runs_the_arm_runner(server, device, tiny_program):
    """The board says that it is one, and its env starts what it is given under qemu."""
    from kdbench.devices.runner.cross import arm_libraries

    root = arm_libraries().parent
    server.board.command("uname", "echo Linux 6.1.0 aarch64")
    server.board.command("env", f'shift; shift; shift; exec {EMULATOR.command} -cpu cortex-a72 -L {root} "$@"')
    (server.board.bin / EMULATOR.command).symlink_to(f"/usr/bin/{EMULATOR.command}")
    there, here = device.run(predict(tiny_program)), Host("host", "native").run(predict(tiny_program))
    assert there.runner.startswith("native executorch-1.5.1 aarch64 ")
    np.testing.assert_allclose(there.outputs["p"][0], here.outputs["p"][0], rtol=0, atol=1e-6)
