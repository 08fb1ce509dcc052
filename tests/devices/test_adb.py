"""What needs no phone: a stand-in for adb does in a folder what it is told to do on one (phones.py)."""

import os
import shutil
import stat
import sys
import threading
import time

import numpy as np
import phones
import psutil
import pytest
from jobs import interleave, predict, timing

from kdbench.devices import adb as module
from kdbench.devices import phone as phone_module
from kdbench.devices.adb import adb
from kdbench.devices.host import Host
from kdbench.devices.job import Job, Load, Memory, Pace, Program
from kdbench.devices.runner.android import VARIABLE
from kdbench.devices.visit import leave
from kdbench.errors import MeasureError, StageError, UsageError

ANSWERS = '[ "$1" = --version ] && { echo kdbench-runner 1 executorch-1.5.1; exit; }\n'


@pytest.fixture
def phone(tmp_path, monkeypatch):
    """A phone that the stand-in leads to: what it is left with is nothing, and its performance mode as it was."""
    folder = tmp_path / "phone"
    folder.mkdir()
    phone = phones.laid(folder)
    client = phones.client(tmp_path / "client", phone)
    monkeypatch.setenv("PATH", f"{client}:{os.environ['PATH']}")
    monkeypatch.setenv(VARIABLE, str(phones.runner()))
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    module._handset.cache_clear()
    yield phone
    leave()
    module._handset.cache_clear()
    assert phone.empties()
    assert not phone.fixed()
    assert phone.unknown() == ""


@pytest.fixture
def device(phone):
    return adb("adb:Pixel_8")


@pytest.fixture
def runs(monkeypatch, tmp_path):
    """A function: let the phone run a shell script instead of the runner."""

    def replace(text):
        path = tmp_path / "other-runner"
        path.write_text(f"#!/bin/sh\n{ANSWERS}{text}\n")
        path.chmod(0o755)
        monkeypatch.setenv(VARIABLE, str(path))

    return replace


@pytest.mark.parametrize(
    "name", ["adb:Pixel_8", "adb:phone", "adb:38021FDJH00FAKE", "adb:10.1.2.3:5555", "adb:emulator-5554"]
)
def test_a_name_is_a_model_or_what_adb_calls_a_phone(name):
    assert (adb(name).name, adb(name).wanted) == (name, name.removeprefix("adb:"))


@pytest.mark.parametrize("name", ["adb", "adb:", "adb:-s", "adb:a b", "adb:a;b", "adb:a/b", "adb:a\nb"])
def test_other_names_are_refused(name):
    with pytest.raises(UsageError, match=r"^device .*: expected adb:MODEL as adb devices -l shows it, or adb:phone$"):
        adb(name)


def test_a_serial_and_an_address_are_for_no_record(phone):
    phone.attach(
        (phones.SERIAL, "device", "Pixel_8"), ("10.1.2.3:5555", "device", "Pixel_9"), ("XYZ", "unauthorized", "")
    )
    for name, use in (
        (f"adb:{phones.SERIAL}", "adb:Pixel_8"),
        ("adb:10.1.2.3:5555", "adb:Pixel_9"),
        ("adb:10.1.2.4:5555", "adb:phone"),
        ("adb:XYZ", "adb:phone"),
    ):
        why = f"device '{name}': records hold no serial and no address of a phone; use {use}"
        assert adb(name).revealed() == why
    assert adb("adb:Pixel_8").revealed() == adb("adb:phone").revealed() == ""


def test_a_job_gives_what_it_gives_on_the_host(device, tiny_program):
    there, here = device.run(predict(tiny_program)), Host("host", "native").run(predict(tiny_program))
    np.testing.assert_array_equal(
        there.outputs["p"][0].view(np.uint8), here.outputs["p"][0].view(np.uint8), strict=True
    )
    assert (there.threads, there.pinned, there.blocks) == (here.threads, here.pinned, here.blocks)
    assert there.runner == device.runtime == f"native executorch-1.5.1 {phones.MACHINE} android google-tensor-g3"


def test_times_threads_and_peaks_are_the_runners(device, tiny_program):
    job = timing({"a": tiny_program, "b": tiny_program}, interleave("ab", seed=3))
    job = Job(job.programs, job.inputs, (*job.steps, Memory("peak")), pin=True)
    there, here = device.run(job), Host("host", "native").run(job)
    assert there.blocks == here.blocks
    assert {name: len(samples) for name, samples in there.samples.items()} == {"a": 20, "b": 20}
    assert 1 << 20 < there.peak_rss_bytes["peak"] < 4 << 30


def test_one_thread_keeps_to_the_fastest_core_and_more_to_the_fast_ones(phone, device, tiny_program):
    fastest = max(os.sched_getaffinity(0))
    assert device.run(predict(tiny_program, pin=True)).pinned == fastest
    assert device.run(predict(tiny_program)).pinned is None
    assert not (phone.folder / "masks").exists()
    assert device.run(predict(tiny_program, pin=True, threads=2)).threads == 2
    usable = sum(1 << core for core in os.sched_getaffinity(0))
    assert (phone.folder / "masks").read_text().split() == [f"{usable:x}"]


def test_a_core_that_is_not_given_is_a_failure(phone, device, tiny_program):
    cpu = phone.folder / "root/sys/devices/system/cpu"
    (cpu / "online").write_text("0-900\n")
    (cpu / "cpufreq/policy0/cpuinfo_max_freq").write_text("3000000\n")
    (cpu / "cpufreq/policy0/related_cpus").write_text("899 900\n")
    with pytest.raises(
        StageError, match=r"^adb:Pixel_8 does not let the runner keep to core 900; wake it and keep its "
    ):
        device.run(predict(tiny_program, pin=True))


def test_the_phone_is_told_without_its_serial(device):
    facts = device.facts()
    fast = max(os.sched_getaffinity(0))
    assert facts.pop("clusters").endswith(f", {fast} at 2914 MHz")
    assert len(facts.pop("fingerprint")) == len(facts.pop("runner_sha256")) == 64
    assert facts == {
        "slug": f"google-tensor-g3-android-{phones.MACHINE.replace('_', '-')}",
        "system": "Android",
        "architecture": phones.MACHINE,
        "cpu": "Google Tensor G3",
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": 7846000 * 1024,
        "kernel": "5.15.137-android14-11",
        "governor": "sched_pixel",
        "model": "Pixel 8",
        "android": "14 (UD1A.231105.004)",
    }


def test_an_older_phone_is_called_after_its_board_or_its_core(phone, device):
    phone.command(
        "getprop", "case $1 in ro.board.platform) echo msm8998;; ro.product.model) echo Pixel 2;; *) echo;; esac"
    )
    facts = device.facts()
    assert (facts["cpu"], facts["model"], facts["android"]) == ("msm8998", "Pixel 2", "")
    phone.command("getprop", "echo")
    module._handset.cache_clear()
    assert device.facts()["cpu"] == "0xd05"


def test_its_condition_is_told(phone, device, tiny_program):
    before = device.condition()
    assert before == {
        "battery_percent": 85,
        "battery_celsius": 27.4,
        "charging": "usb",
        "thermal_status": 0,
        "fixed_performance": "off",
        "cooled_s": 0.0,
    }
    device.run(timing({"p": tiny_program}, interleave("p")))
    phone.heat(1)
    assert device.condition() == {**before, "thermal_status": 1, "fixed_performance": "on"}


def test_clocks_are_fixed_for_times_alone_and_once(phone, device, tiny_program):
    device.run(predict(tiny_program))
    assert phone.modes() == []
    for _ in range(2):
        device.run(timing({"p": tiny_program}, interleave("p", runs=2)))
    assert (phone.modes(), phone.fixed()) == (["true"], True)
    leave()
    assert (phone.modes(), phone.fixed()) == (["true", "false"], False)


def test_what_is_paced_runs_at_the_clocks_of_an_app(phone, device, tiny_program):
    timed = timing({"p": tiny_program}, interleave("p", runs=2))
    paced = timing({"p": tiny_program}, Pace("p", "x", 0, 2, 10**9))
    assert device.run(paced).series["p"].runs == 2
    assert phone.modes() == []
    device.run(timed)
    device.run(paced)
    assert (phone.modes(), phone.fixed()) == (["true", "false"], False)
    assert device.condition()["fixed_performance"] == "on"
    device.run(timed)
    assert (phone.modes(), phone.fixed()) == (["true", "false", "true"], True)


def test_a_phone_without_fixed_clocks_is_measured_as_it_is(phone, device, tiny_program):
    phone.says("unfixable")
    device.run(timing({"p": tiny_program}, interleave("p")))
    assert device.condition()["fixed_performance"] == "off"
    leave()
    assert phone.modes() == []


def test_between_jobs_only_the_runner_lies_there(phone, device, tiny_program):
    device.run(predict(tiny_program))
    (visit,) = phone.tmp.iterdir()
    assert stat.S_IMODE(visit.stat().st_mode) == 0o700
    assert phone.lies() == ["goods"]
    device.run(predict(tiny_program))
    pushes = [line.split()[-1] for line in phone.lines() if " push " in line]
    assert [target.rpartition("/")[2] for target in pushes] == ["runner", "", ""]  # the runner once, two jobs
    assert all(line.startswith(("devices -l", f"-s {phones.SERIAL} ")) for line in phone.lines())
    assert (phone.folder / "pulled").read_text().split() == [
        "job.txt",
        "output-0-0.bin",
        "result.json",
        "samples-0.bin",
    ]
    leave()
    assert phone.left() == []


def test_files_that_arrive_otherwise_are_no_files(phone, device, tiny_program):
    _ = device.runtime
    phone.says("spoils")
    with pytest.raises(StageError, match=r"^adb:Pixel_8: the file [\w.-]+ did not arrive whole$"):
        device.run(predict(tiny_program))
    assert phone.lies() == ["goods"]


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("echo out of memory >&2; exit 13", "out-of-memory", r"^out of memory$"),
        ("kill -SEGV $$", "crashed", r"^crashed: signal 11 \(SIGSEGV\)$"),
        ("exit 0", "failed", r"^the runner ended with exit status 0: it said nothing$"),
        (
            "exit 126",
            "failed",
            r"^the runner cannot be started on adb:Pixel_8: .*; it needs 64-bit Android, and KDBENCH_",
        ),
    ],
)
def test_how_a_runner_ends_is_told_as_on_the_host(phone, device, tiny_program, runs, text, status, words):
    runs(text)
    with pytest.raises(StageError, match=words) as caught:
        device.run(predict(tiny_program))
    assert caught.value.status == status
    assert phone.lies() == ["goods"]


def test_what_does_not_end_is_ended_with_all_that_it_started(phone, device, tiny_program, runs):
    runs(f"{sys.executable} -c 'import time; time.sleep(60)' & echo $! >{phone.folder}/child; wait")
    with pytest.raises(StageError, match=r"^no result after 6 s$") as caught:
        device.run(predict(tiny_program, timeout_s=6))
    assert caught.value.status == "timed-out"
    assert _ended(int((phone.folder / "child").read_text()))
    assert phone.lies() == ["goods"]


def _ended(pid, seconds=20):
    """Whether a process is gone, at the latest after so many seconds."""
    deadline = time.monotonic() + seconds
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_hot_phone_is_waited_for_and_that_is_told(phone, device, tiny_program, monkeypatch, capfd):
    monkeypatch.setattr(phone_module, "_GLANCE_S", 0.05)
    _ = device.runtime
    phone.heat(3, 2, 2, 1)
    assert device.run(predict(tiny_program)).outputs["p"][0].shape == (4, 1, 4)
    first, last = capfd.readouterr().err.splitlines()
    assert first == "adb:Pixel_8 is hot, thermal status 3 (severe): waiting up to 900 s"
    assert last.startswith("adb:Pixel_8 has cooled after ")
    assert device.condition()["cooled_s"] > 0.1


def questions(phone):
    """How often the phone was asked how hot it is."""
    return sum("; dumpsys thermalservice" in line for line in phone.lines())


def test_a_phone_that_stays_hot_fails_its_jobs_and_is_waited_for_once(phone, device, tiny_program, monkeypatch):
    monkeypatch.setattr(phone_module, "_GLANCE_S", 0.05)
    monkeypatch.setattr(phone_module, "_COOLING_S", 1)
    phone.heat(4)
    why = (
        r"^adb:Pixel_8 is too hot to measure: thermal status 4 \(critical\) after waiting 1 s; let it cool, out of its "
    )
    with pytest.raises(StageError, match=why) as caught:
        device.run(timing({"p": tiny_program}, interleave("p")))
    assert caught.value.status == "failed"
    asked = questions(phone)
    with pytest.raises(StageError, match=r"thermal status 4 \(critical\) and stayed so before; let it cool"):
        device.run(predict(tiny_program))
    assert questions(phone) == asked + 1
    assert device.condition()["cooled_s"] == 1.0
    assert phone.lies() == ["fixed", "goods"]
    phone.heat(0)
    assert device.run(predict(tiny_program)).outputs["p"][0].shape == (4, 1, 4)


def test_a_phone_that_tells_no_heat_is_not_waited_for(phone, device, tiny_program):
    phone.says("thermal")
    assert device.run(predict(tiny_program)).outputs["p"][0].shape == (4, 1, 4)
    assert device.condition()["thermal_status"] is None


@pytest.mark.parametrize(
    ("attached", "wanted", "why"),
    [
        ([], "Pixel_8", "cannot reach adb:Pixel_8: no such phone is attached; try adb devices -l, which shows: none"),
        ([], "phone", "cannot reach adb:phone: no such phone is attached; try adb devices -l, which shows: none"),
        ([("A", "device", "Pixel_9"), ("B", "offline", "")], "Pixel_8", "cannot reach adb:Pixel_8: no such phone is attached; try adb devices -l, which shows: Pixel_9, offline"),
        ([("A", "unauthorized", "")], "phone", "cannot reach adb:phone: it does not trust this computer yet: unlock it and allow USB debugging"),
        ([("A", "offline", "Pixel_8")], "Pixel_8", "cannot reach adb:Pixel_8: adb calls it offline: plug it in again, or try adb reconnect"),
        ([("A", "no permissions (user in plugdev group; are your udev rules wrong?); see [http://developer.android.com/tools/device.html]", "")], "phone", "cannot reach adb:phone: this user may not open its USB port: it needs a udev rule"),
        ([("A", "recovery", "Pixel_8")], "phone", "cannot reach adb:phone: adb calls it 'recovery'"),
        ([("A", "device", "Pixel_8"), ("B", "device", "Pixel_9")], "phone", "cannot tell which is adb:phone: Pixel_8, Pixel_9 are attached; name its model, or set ANDROID_SERIAL to one"),
        ([("A", "device", "Pixel_8"), ("B", "device", "Pixel_8")], "Pixel_8", "cannot tell which is adb:Pixel_8: Pixel_8, Pixel_8 are attached; set ANDROID_SERIAL to one"),
    ],
)  # fmt: skip
def test_a_phone_that_cannot_be_used_is_one_line(phone, tiny_program, attached, wanted, why):
    phone.attach(*attached)
    device = adb(f"adb:{wanted}")
    for ask in (lambda: device.runtime, device.facts, device.condition, lambda: device.run(predict(tiny_program))):
        with pytest.raises(StageError) as caught:
            ask()
        assert caught.value.reason == why
    assert caught.value.exit_code == 3


def test_of_two_phones_the_model_or_androids_own_variable_names_one(phone, monkeypatch):
    phone.attach((phones.SERIAL, "device", "Pixel_8"), ("B", "device", "Pixel_9"))
    assert adb("adb:Pixel_8").facts()["model"] == "Pixel 8"
    monkeypatch.setenv("ANDROID_SERIAL", phones.SERIAL)
    assert adb("adb:phone").facts()["model"] == "Pixel 8"
    monkeypatch.setenv("ANDROID_SERIAL", "B")
    with pytest.raises(StageError, match=r"^cannot reach adb:Pixel_8: no such phone .* shows: Pixel_9$"):
        phone_module.phone_called("Pixel_8")


def test_a_phone_of_before_android_7_is_refused(phone, device):
    phone.says("features", "cmd\n")
    with pytest.raises(
        StageError, match=r"^cannot use adb:Pixel_8: its adb tells no exit codes; it needs Android 7 or "
    ):
        _ = device.runtime


@pytest.mark.parametrize("name", ["sha256sum", "dumpsys"])
def test_a_command_that_lacks_is_named(phone, device, name):
    (phone.folder / "bin" / name).unlink()
    with pytest.raises(StageError, match=rf"^cannot use adb:Pixel_8: it has no command {name}$"):
        _ = device.runtime


def test_a_full_phone_is_said_to_be_full(phone, device, tiny_program):
    phone.says("full")
    with pytest.raises(StageError, match=r"^adb:Pixel_8 cannot put files there: no room is left there$"):
        _ = device.runtime
    (phone.folder / "full").unlink()
    _ = device.runtime
    phone.says("full")
    with pytest.raises(StageError, match=r"^adb:Pixel_8 cannot put files there: no room is left there$"):
        device.run(predict(tiny_program))
    assert phone.lies() == ["goods"]


def test_without_room_for_a_folder_there_is_no_visit(phone, device):
    phone.command(
        "mktemp", "echo mktemp: Failed to create /data/local/tmp/kdbench: No space left on device >&2; exit 1"
    )
    with pytest.raises(
        StageError, match=r"^cannot use adb:Pixel_8: mktemp: Failed to create .*: No space left on device$"
    ):
        _ = device.runtime


def test_a_phone_that_is_unplugged_during_a_job_is_said_to_be_lost(phone, device, tiny_program):
    _ = device.runtime
    groups = []

    def unplug():
        groups.append(int((_runs(phone) / "job/group").read_text()))
        phone.says("gone")

    threading.Thread(target=unplug).start()
    with pytest.raises(StageError, match=r"^the connection to adb:Pixel_8 was lost while it was to run a job there$"):
        device.run(timing({"p": tiny_program}, interleave("p", min_ns=10**11)))
    assert phone.empties()
    assert not phone.fixed()
    assert [pid for pid in psutil.pids() if _group(pid) == groups[0] and not _ended(pid, 1)] == []
    with pytest.raises(StageError, match=r"^cannot reach adb:Pixel_8: no such phone is attached; "):
        device.run(predict(tiny_program))
    (phone.folder / "gone").unlink()
    assert device.run(predict(tiny_program)).outputs["p"][0].shape == (4, 1, 4)


def test_a_phone_that_adb_loses_sight_of_is_lost(phone, device, tiny_program):
    _ = device.runtime
    phone.attach((phones.SERIAL, "offline", "Pixel_8"))
    with pytest.raises(StageError, match=r"^the connection to adb:Pixel_8 was lost while it was to say how it is$"):
        device.run(predict(tiny_program))
    phone.attach((phones.SERIAL, "device", "Pixel_8"))
    assert phone.lies() == ["goods"]


def _group(pid):
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _runs(phone, seconds=60):
    """Wait until a job runs on the phone, and where: its folder."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for visit in phone.tmp.iterdir():
            if (visit / "job/group").exists():
                time.sleep(0.1)
                return visit
        time.sleep(0.01)
    raise AssertionError("no job runs")


def test_a_phone_that_is_unplugged_between_jobs_is_visited_anew(phone, device, tiny_program, tmp_path, monkeypatch):
    device.run(timing({"p": tiny_program}, interleave("p")))
    phone.says("gone")
    assert phone.empties()
    assert not phone.fixed()
    (phone.folder / "gone").unlink()
    bare = tmp_path / "runner"  # as a file that came here without its rights
    shutil.copyfile(os.environ[VARIABLE], bare)
    monkeypatch.setenv(VARIABLE, str(bare))
    device.run(timing({"p": tiny_program}, interleave("p")))
    assert phone.fixed()


def test_a_slow_link_changes_no_time(phone, device, tiny_program):
    phone.says("delay", "0.15")
    job = timing({"p": tiny_program}, interleave("p"))
    assert device.run(job).samples["p"].max() < 0.1 * 10**9


def test_a_link_that_is_too_slow_is_given_up(phone, device, tiny_program, monkeypatch):
    _ = device.runtime
    monkeypatch.setattr(phone_module, "MOVING_S", 0.3)
    phone.says("delay", "1")
    with pytest.raises(StageError, match=r"^adb:Pixel_8 cannot put files there: it is not done after 0.3 s$"):
        device.run(predict(tiny_program))
    (phone.folder / "delay").unlink()
    assert phone.lies() == ["goods"]


def test_what_a_dead_visit_left_is_removed_by_the_next(phone, device):
    """A phone that restarts has no time to clean up."""
    for name in ("kdbench.99999999.AbCdEf", "other"):
        (phone.tmp / name / "goods").mkdir(parents=True)
    (phone.tmp / "kdbench.99999999.AbCdEf/fixed").touch()
    phone.says("mode", "true\n")
    _ = device.runtime
    assert not phone.fixed()
    live, other = phone.left()
    assert (live.startswith("kdbench."), other) == (True, "other")
    second = phone_module.Phone("adb:Pixel_8", phones.SERIAL)
    assert len(phone.left()) == 3
    second.close()
    assert phone.left() == [live, other]
    (phone.tmp / "other/goods").rmdir()
    (phone.tmp / "other").rmdir()


def test_without_adb_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(VARIABLE, sys.executable)
    why = r"^cannot reach phones: adb is not installed; on Debian: apt-get install adb$"
    for ask in (lambda: adb("adb:Pixel_8").runtime, adb("adb:Pixel_8").revealed):
        with pytest.raises(MeasureError, match=why):
            ask()


def test_an_adb_that_fails_is_told(phone, device, tmp_path):
    (tmp_path / "client/adb").write_text(
        "#!/bin/sh\necho '* cannot start server' >&2\necho 'error: cannot connect to daemon' >&2\nexit 1\n"
    )
    with pytest.raises(
        StageError, match=r"^adb cannot list phones: error: cannot connect to daemon; try: adb devices$"
    ):
        _ = device.runtime


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("echo runner of another kind", r"^KDBENCH_ANDROID_RUNNER is no runner of kdbench's: it says 'runner of another kind'; "),
        ("echo kdbench-runner 7 executorch-1.5.1", r"^KDBENCH_ANDROID_RUNNER reads jobs of version 7, not 1: build it anew; "),
    ],
)  # fmt: skip
def test_another_program_is_no_runner(phone, device, monkeypatch, tmp_path, said, why):
    (tmp_path / "other").write_text(f"#!/bin/sh\n{said}\n")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "other"))
    with pytest.raises(MeasureError, match=why):
        _ = device.runtime


def test_a_runner_that_does_not_start_there_says_why(phone, device, monkeypatch, tmp_path):
    (tmp_path / "other").write_text("#!/bin/sh\necho 'CANNOT LINK EXECUTABLE: library missing' >&2\nexit 1\n")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "other"))
    with pytest.raises(
        StageError, match=r"^adb:Pixel_8 cannot start the runner: CANNOT LINK EXECUTABLE: library missing$"
    ):
        _ = device.runtime


def test_a_job_that_contradicts_itself_is_a_usage_error(device, tiny_program):
    job = Job((Program("p", tiny_program.path),), (), (Load("q"),))
    with pytest.raises(UsageError, match=r"^the job has no program 'q'$"):
        device.run(job)
