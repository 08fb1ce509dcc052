"""What needs no ssh server: a stand-in runs here what it is told to run there. The real one is in test_ssh_runs.py."""

import os
import stat
import sys
import tempfile
import time
from pathlib import Path

import boards
import numpy as np
import psutil
import pytest
from jobs import interleave, predict, timing

from kdbench.devices import ssh as module
from kdbench.devices.host import Host
from kdbench.devices.job import Job, Load, Memory, Program
from kdbench.devices.runner import parcel as parcels
from kdbench.devices.ssh import ssh
from kdbench.devices.visit import _open, leave
from kdbench.errors import MeasureError, StageError, UsageError
from kdbench.machine import machine


@pytest.fixture
def board(tmp_path, monkeypatch):
    """A board that the stand-in leads to; what it is left with is nothing."""
    folder = tmp_path / "board"
    folder.mkdir()
    board = boards.laid(folder)
    client = boards.script(tmp_path / "client" / "ssh", boards.STAND_IN.format(folder=folder))
    monkeypatch.setenv("PATH", f"{client}:{os.environ['PATH']}")
    module._board.cache_clear()
    yield board
    leave()
    module._board.cache_clear()
    assert board.left() == []


@pytest.fixture
def device(board):
    return ssh("ssh:board")


@pytest.fixture
def runs(monkeypatch, tmp_path):
    """A function: let the board run a shell script instead of the runner."""

    def replace(text):
        path = tmp_path / "other-runner"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        monkeypatch.setattr(module, "parcel", lambda *_: {"runner": path})

    return replace


def test_the_socket_finds_room_where_the_folder_for_temporary_files_has_a_long_name(
    device, tmp_path, monkeypatch, tiny_program
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("long" * 20)))
    Path(tempfile.gettempdir()).mkdir()
    device.run(predict(tiny_program))
    (visit,) = _open.values()
    assert len(f"{visit._place.name}/socket.{'x' * 16}") < 108


@pytest.mark.parametrize(
    "name", ["ssh:board", "ssh:pi@board", "ssh:pi@192.168.1.20", "ssh:board.lan", "ssh:my_board-2"]
)
def test_a_name_is_an_alias_or_a_user_and_a_host(name):
    assert (ssh(name).name, ssh(name).host) == (name, name.removeprefix("ssh:"))


@pytest.mark.parametrize(
    "name", ["ssh", "ssh:", "ssh:-oProxyCommand=x", "ssh:a b", "ssh:a@", "ssh:a@-b", "ssh:a;b", "ssh:a\nb"]
)
def test_other_names_are_refused(name):
    with pytest.raises(UsageError, match=r"^device .*: expected ssh:HOST or ssh:USER@HOST, such as ssh:board$"):
        ssh(name)


@pytest.mark.parametrize("name", ["ssh:pi@board", "ssh:board.lan", "ssh:10.0.0.7"])
def test_a_name_with_a_user_or_an_address_is_for_no_record(name):
    assert ssh("ssh:board").revealed() == ""
    assert ssh(name).revealed() == (
        f"device '{name}': records hold no user and no address; give it a name in ~/.ssh/config (Host board) and use ssh:board"
    )


def test_a_job_gives_what_it_gives_on_the_host(board, device, tiny_program):
    there, here = device.run(predict(tiny_program)), Host("host", "native").run(predict(tiny_program))
    np.testing.assert_array_equal(
        there.outputs["p"][0].view(np.uint8), here.outputs["p"][0].view(np.uint8), strict=True
    )
    assert (there.threads, there.pinned, there.blocks) == (here.threads, here.pinned, here.blocks)
    assert there.runner == device.runtime


def test_times_threads_cores_and_peaks_are_the_runners(device, tiny_program):
    job = timing({"a": tiny_program, "b": tiny_program}, interleave("ab", seed=3))
    job = Job(job.programs, job.inputs, (*job.steps, Memory("peak")), pin=True)
    there, here = device.run(job), Host("host", "native").run(job)
    assert there.blocks == here.blocks
    assert {name: len(samples) for name, samples in there.samples.items()} == {"a": 20, "b": 20}
    assert there.pinned == here.pinned == max(os.sched_getaffinity(0))
    assert 1 << 20 < there.peak_rss_bytes["peak"] < 4 << 30
    assert device.run(predict(tiny_program, pin=True, threads=2)).pinned is None


def test_the_machine_is_told_without_names(device):
    facts, here = device.facts(), machine()
    for key in ("slug", "system", "architecture", "cpu", "cores", "memory_bytes"):
        assert facts[key] == getattr(here, key)
    assert facts["kernel"] == os.uname().release
    assert set(facts) == {
        "slug",
        "system",
        "architecture",
        "cpu",
        "cores",
        "memory_bytes",
        "kernel",
        "governor",
        "fingerprint",
    }
    assert device.runtime.startswith(f"native executorch-1.5.1 {here.architecture} {here.slug.partition('-linux')[0]}")
    assert not {os.uname().nodename, "board"} & set(map(str, facts.values()))


def test_one_connection_serves_all_and_asks_for_nothing(board, device, tiny_program):
    device.run(predict(tiny_program))
    device.run(predict(tiny_program))
    lines = [line.split() for line in board.lines()]
    assert [line[line.index("-S") - 1] for line in lines][:2] == ["ControlMaster=yes", "ProxyCommand=false"]
    assert sum("ControlMaster=yes" in line for line in lines) == 1
    for line in lines:
        assert {"BatchMode=yes", "ConnectTimeout=10"} <= set(line)
    (socket,) = {Path(line[line.index("-S") + 1]) for line in lines}
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    assert sum("tar xof" in " ".join(line) for line in lines) == 3  # the runner once, two jobs
    leave()
    assert not socket.parent.exists()


def test_between_jobs_only_the_runner_lies_there(board, device, tiny_program):
    device.run(predict(tiny_program))
    (visit,) = board.tmp.iterdir()
    assert stat.S_IMODE(visit.stat().st_mode) == 0o700
    assert [path.name for path in visit.iterdir()] == ["goods"]
    leave()
    assert board.left() == []


def test_what_a_login_script_says_is_no_result(board, device, tiny_program, runs):
    (board.folder / "welcome").write_text("Welcome to board!\nkdbench is not spoken here\n")
    assert device.run(predict(tiny_program)).outputs["p"][0].shape == (4, 1, 4)
    runs("exit 3")
    leave()
    with pytest.raises(StageError, match=r"^the runner ended with exit status 3: it said nothing$"):
        device.run(predict(tiny_program))
    (board.bin / "uname").unlink()
    leave()
    with pytest.raises(StageError, match=r"^cannot use ssh:board: it has no command uname$"):
        device.run(predict(tiny_program))


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("echo out of memory >&2; exit 13", "out-of-memory", r"^out of memory$"),
        ("echo no such backend >&2; exit 12", "failed", r"^no such backend$"),
        ("kill -SEGV $$", "crashed", r"^crashed: signal 11 \(SIGSEGV\)$"),
        ("kill -KILL $$", "crashed", r"^crashed: signal 9 \(SIGKILL\); perhaps for want of memory$"),
        ("kill -ABRT $$", "crashed", r"^crashed: signal 6 \(SIGABRT\)$"),
        ("echo why >&2; exit 3", "failed", r"^the runner ended with exit status 3: why$"),
        ("exit 0", "failed", r"^the runner ended with exit status 0: it said nothing$"),
        ("echo {} >result.json", "failed", r"^the runner's results cannot be read: KeyError: 'version'$"),
        (
            "exec ./nothing",
            "failed",
            r"^the runner cannot be started on ssh:board: .*nothing.*; it needs a 64-bit Linux ",
        ),
    ],
)
def test_how_a_runner_ends_is_told_as_on_the_host(board, device, tiny_program, runs, text, status, words):
    runs(text)
    with pytest.raises(StageError, match=words) as caught:
        device.run(predict(tiny_program))
    assert caught.value.status == status
    assert [path.name for path in next(board.tmp.iterdir()).iterdir()] == ["goods"]


def test_what_does_not_end_is_ended_with_all_that_it_started(board, device, tiny_program, runs):
    runs(f"{sys.executable} -c 'import time; time.sleep(60)' & echo $! >{board.folder}/child; wait")
    with pytest.raises(StageError, match=r"^no result after 5 s$") as caught:
        device.run(predict(tiny_program, timeout_s=5))
    assert caught.value.status == "timed-out"
    child = int((board.folder / "child").read_text())
    deadline = time.monotonic() + 20  # what was killed may take a while to be gone where the machine is busy
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [path.name for path in next(board.tmp.iterdir()).iterdir()] == ["goods"]


def test_the_environment_there_does_not_reach_the_runner(device, tiny_program, runs):
    runs("env >&2; exit 3")
    with pytest.raises(StageError, match=r"ended with exit status 3: (PWD|_|LC_ALL|PATH)="):
        device.run(predict(tiny_program))
    runs('[ -z "$TMPDIR" ] || exit 4; exit 5')
    leave()
    with pytest.raises(StageError, match="exit status 5"):
        device.run(predict(tiny_program))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("ssh: Could not resolve hostname nowhere: Name or service not known", "its name is not known, neither to ssh's configuration nor to the network"),
        ("ssh: connect to host 10.1.2.3 port 22: Connection refused", "the connection is refused, no ssh server listens there"),
        ("No ED25519 host key is known for 10.1.2.3.\nHost key verification failed.", "its host key is not known here"),
        ("@ REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", "its host key is not the known one"),
        ("ann@10.1.2.3: Permission denied (publickey,password).", "it accepts none of your keys, and kdbench asks for no password"),
        ("ssh: connect to host 10.1.2.3 port 22: Connection timed out", "it does not answer"),
        ("ssh: connect to host 10.1.2.3 port 22: No route to host", "it does not answer"),
        ("something new about ann at 10.1.2.3", "something new about ... at ..."),
    ],
)  # fmt: skip
def test_what_ssh_cannot_reach_is_one_line_without_an_address(board, device, tiny_program, said, why):
    (board.folder / "refusal").write_text(said + "\n")
    for ask in (lambda: device.runtime, device.facts, lambda: device.run(predict(tiny_program))):
        with pytest.raises(StageError) as caught:
            ask()
        assert caught.value.reason == f"cannot reach ssh:board: {why}; try: ssh board uname"


@pytest.mark.parametrize("name", [name for name in boards.COMMANDS if name != "sh"])
def test_a_command_that_lacks_is_named(board, device, name):
    (board.bin / name).unlink()
    with pytest.raises(StageError, match=rf"^cannot use ssh:board: it has no command {name}$"):
        _ = device.runtime


def test_a_board_that_has_no_room_for_a_folder_says_so(board, device):
    board.command("mktemp", "echo mktemp: failed to create directory: No space left on device >&2; exit 1")
    with pytest.raises(StageError, match=r"^cannot use ssh:board: mktemp: .*: No space left on device$"):
        _ = device.runtime


def test_a_folder_with_an_odd_name_is_not_used(board, device):
    board.command("mktemp", "d=$TMPDIR/it$(printf '\\047')s; mkdir -p $d; echo $d")
    (board.bin / "mkdir").symlink_to("/bin/mkdir")
    with pytest.raises(
        StageError, match=r"^ssh:board: its folder for temporary files has an odd name; set TMPDIR there$"
    ):
        _ = device.runtime
    assert board.empties()


@pytest.mark.parametrize(
    "said",
    [
        "tar: job/job.txt: Cannot open: No space left on device\ntar: Exiting with failure status due to previous errors",
        "tar: job/input-0-0.bin: Wrote only 4096 of 10240 bytes\ntar: Exiting with failure status due to previous errors",
    ],
)
def test_a_full_disk_is_said_to_be_full(board, device, tiny_program, said):
    board.command("tar", f"cat >/dev/null; echo '{said}' >&2; exit 2")
    with pytest.raises(StageError, match=r"^ssh:board cannot put files there: no room is left there$"):
        device.run(predict(tiny_program))
    assert [list(path.iterdir()) for path in board.tmp.iterdir()] == [[]]


def test_a_connection_that_is_lost_during_a_job_is_said_to_be(board, device, tiny_program, runs):
    runs("kill -9 -$(cat group)")
    with pytest.raises(StageError, match=r"^the connection to ssh:board was lost while it was to run a job there$"):
        device.run(predict(tiny_program))


def test_after_a_lost_connection_the_next_job_has_a_new_one(board, device, tiny_program):
    device.run(predict(tiny_program))
    (visit,) = _open.values()
    visit._guard.stdin.close()
    visit._guard.wait()
    assert board.left() == []
    assert device.run(predict(tiny_program)).outputs["p"][0].shape == (4, 1, 4)
    assert _open["ssh:board"] is not visit


def test_a_board_that_stalls_is_not_waited_for(board, device, monkeypatch):
    monkeypatch.setattr("kdbench.devices.visit._ASKING_S", 0.5)
    board.command("cat", 'case "$1" in /proc/cpuinfo) sleep 5;; *) exec /bin/cat "$@";; esac')
    with pytest.raises(StageError, match=r"^ssh:board cannot read /proc/cpuinfo: it is not done after 0.5 s$"):
        device.facts()


def test_a_board_that_says_nothing_is_not_waited_for(board, device, monkeypatch):
    monkeypatch.setattr("kdbench.devices.visit._OPENING_S", 0.5)
    board.command("uname", "sleep 3")
    with pytest.raises(StageError, match=r"^cannot use ssh:board: it says nothing within 0.5 s; try: ssh board uname$"):
        _ = device.runtime


def test_without_ssh_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    module._board.cache_clear()
    with pytest.raises(
        MeasureError, match=r"^cannot use ssh:board: ssh is not installed; on Debian: apt-get install openssh-client$"
    ):
        _ = ssh("ssh:board").runtime


def test_a_machine_without_a_runner_is_told_which_there_are(board, device, tiny_program):
    board.command("uname", "echo Linux 6.1.0 riscv64")
    known = "Linux x86_64 and Linux aarch64" if os.uname().machine == "x86_64" else "Linux aarch64"
    with pytest.raises(
        MeasureError, match=rf"^there is no runner for Linux riscv64; from here there are some for {known}$"
    ):
        device.run(predict(tiny_program))


def test_a_parcel_is_the_runner_and_the_libraries_it_links():
    import subprocess

    found = parcels.parcel(os.uname().sysname, os.uname().machine)
    assert set(found) > {"runner", "lib/libexecutorch.so", "lib/libexecutorch_backend_xnnpack.so"}
    told = subprocess.run(["readelf", "-d", found["runner"]], capture_output=True, text=True, check=True).stdout
    assert "[$ORIGIN/lib]" in told
    assert {f"lib/{word[1:-1]}" for word in told.split() if word.startswith("[libexecutorch")} == set(found) - {
        "runner"
    }


def test_a_64_bit_arm_board_gets_the_arm_runner_and_wheel(monkeypatch, tmp_path):
    monkeypatch.setattr(parcels, "arm_runner", lambda version: tmp_path / f"runner-{version}")
    monkeypatch.setattr(parcels, "arm_package", lambda version: tmp_path / version)
    monkeypatch.setattr(parcels.platform, "machine", lambda: "x86_64")
    found = parcels.parcel("Linux", "aarch64")
    assert found["runner"] == tmp_path / "runner-1.5.1"
    assert found["lib/libexecutorch_threadpool.so"] == tmp_path / "1.5.1/lib/libexecutorch_threadpool.so"
    monkeypatch.setattr(parcels.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(parcels, "portable_runner", lambda: tmp_path / "native")
    assert parcels.parcel("Linux", "aarch64")["runner"] == tmp_path / "native"


def test_a_job_that_contradicts_itself_is_a_usage_error(device, tiny_program):
    job = Job((Program("p", tiny_program.path),), (), (Load("q"),))
    with pytest.raises(UsageError, match=r"^the job has no program 'q'$"):
        device.run(job)
