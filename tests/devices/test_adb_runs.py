"""Phones behind the stand-in for adb, as a user runs them: whole suites, kills, and the Arm runner that CMake builds."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import phones
import psutil
import pytest
from jobs import interleave, predict, timing
from twins import TIMED, paired, suite_on

from kdbench.devices import adb as module
from kdbench.devices import runner as sources
from kdbench.devices.adb import adb
from kdbench.devices.host import Host
from kdbench.devices.qemu import qemu
from kdbench.devices.runner.android import VARIABLE
from kdbench.devices.runner.wheel import VARIABLE as WHEEL
from kdbench.devices.tools import CROSS_COMPILER, EMULATOR, lacking
from kdbench.devices.visit import leave

pytestmark = pytest.mark.slow

PATIENCE_S = 240
"""How long a test waits for a process to come; a busy machine is slow to start one."""

LACKS = lacking(EMULATOR, CROSS_COMPILER) or ("" if shutil.which("cmake") else "no cmake") or (
    "" if os.environ.get(WHEEL) else f"{WHEEL} is not set"
)  # fmt: skip


@pytest.fixture
def attached(tmp_path, monkeypatch):
    """A function: a phone that the stand-in leads to. What it is left with is nothing."""
    made = []

    def attach(**options):
        folder = tmp_path / "phone"
        folder.mkdir()
        phone = phones.laid(folder, **options)
        monkeypatch.setenv("PATH", f"{phones.client(tmp_path / 'client', phone)}:{os.environ['PATH']}")
        monkeypatch.delenv("ANDROID_SERIAL", raising=False)
        made.append(phone)
        return phone

    module._handset.cache_clear()
    yield attach
    leave()
    module._handset.cache_clear()
    for phone in made:
        assert phone.empties()
        assert not phone.fixed()
        assert phone.unknown() == ""


@pytest.fixture
def phone(attached, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(phones.runner()))
    return attached()


def runners(phone):
    """The runners that run on the phone, which is a folder of this machine."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or [""]
        if words[0].startswith("../goods/") and process.info["status"] != psutil.STATUS_ZOMBIE:
            with contextlib.suppress(psutil.Error):
                if process.cwd().startswith(str(phone.folder)):
                    found.append(process)
    return found


def until(condition, seconds=PATIENCE_S):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_nothing_stays_when_kdbench_is_killed(phone, tiny_program, tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent.parent)!r}); from jobs import *; from pathlib import Path;"
        "from conftest import Tiny, tiny_items; from kdbench.devices.adb import adb;"
        f"tiny = Tiny(Path({str(tiny_program.path)!r}), tiny_items());"
        "adb('adb:Pixel_8').run(timing({'p': tiny}, interleave('p', min_ns=10**11)))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(tmp_path)})
    assert until(lambda: runners(phone))
    assert phone.fixed()
    process.kill()
    process.wait()
    assert phone.empties()
    assert until(lambda: not phone.fixed(), 10)
    assert until(lambda: not runners(phone), 10)


def test_ctrl_c_leaves_nothing(phone, tiny_program, tmp_path):
    words = ["measure", str(tiny_program.path), "--device", "adb:Pixel_8"]
    place = tmp_path / "temporary"
    place.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "kdbench", *words],
        env={**os.environ, "TMPDIR": str(place)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert until(lambda: runners(phone))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors.splitlines()[-1].startswith("kdbench: interrupted")) == (130, True)
    assert phone.left() == []
    assert not phone.fixed()
    assert until(lambda: not runners(phone), 10)
    assert list(place.iterdir()) == []


def test_a_program_is_measured_from_the_command_line(phone, tiny_program):
    from click.testing import CliRunner

    from kdbench.cli.measure import command

    def measured(*words):
        words = [str(tiny_program.path), "--device", "adb:phone", "--processes", "1", *words]
        shown = CliRunner().invoke(command, words, standalone_mode=False)
        assert shown.exception is None
        return shown.output

    told = json.loads(measured("--format", "json"))
    assert told["metrics"]["latency_ms"] > 0
    assert (told["speed"]["device"], told["speed"]["threads"]) == ("adb:phone", 1)
    before, after = told["condition"]["before"], told["condition"]["after"]
    assert (before["fixed_performance"], after["fixed_performance"]) == ("off", "on")
    assert before["battery_celsius"] == 27.4
    assert (
        "after: battery_percent 85, battery_celsius 27.4, charging usb, thermal_status 0, fixed_performance on, cooled_s 0.0"
    ) in measured().splitlines()


def suite(text, place, *, while_running=lambda: None):
    """Run a suite as a user does: the finished process, and its run.json."""
    (place / "small.toml").write_text(text)
    environment = {**os.environ, "KDBENCH_STORE": str(place / "store")}
    command = [sys.executable, "-m", "kdbench", "run", "small.toml", "--results", "results"]
    watcher = threading.Thread(target=while_running)
    watcher.start()
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    watcher.join()
    (path,) = (place / "results").rglob("run.json")
    return done, path


def test_records_differ_from_the_hosts_only_where_they_must(phone, tmp_path):
    done, path = suite(suite_on("adb:Pixel_8"), tmp_path)
    assert done.returncode == 0, done.stderr
    run = json.loads(path.read_text())
    for here, there in paired(run["records"], "adb:Pixel_8"):
        assert there["case"] == here["case"].removesuffix("host") + "adb:Pixel_8"
        details = there["details"]
        machine, condition = details.pop("machine"), details.pop("condition")
        assert details.pop("beside_host") == {"items_differing": 0, "largest_difference": 0.0}
        assert (machine["model"], machine["system"], machine["cpu"]) == ("Pixel 8", "Android", "Google Tensor G3")
        assert (condition["before"]["fixed_performance"], condition["after"]["fixed_performance"]) == ("off", "on")
        assert condition["before"]["battery_percent"] == condition["after"]["battery_percent"] == 85
        assert None not in (there["metrics"]["latency_ms"], there["metrics"]["peak_rss_bytes"])
        assert there["reasons"].pop("runtime_bytes") == "which libraries run programs there is not known"
        for record in (here, there):
            for key in ("case", "device", "flags"):
                del record[key]
            record["metrics"] = {key: value for key, value in record["metrics"].items() if key not in TIMED}
        assert there == here
    with np.load(path.parent / "items.npz") as items:
        names = [name for name in items.files if "host" in name]
        assert names
        for name in names:
            np.testing.assert_array_equal(items[name], items[name.replace("/host", "/adb:Pixel_8")])
    text = path.read_text()
    assert phones.SERIAL not in text
    assert str(phone.folder) not in text
    assert phone.modes() == ["true", "false"]
    # what it was measured with, kdbench pick, compare and table read as any other
    table = [sys.executable, "-m", "kdbench", "table", str(path.parent), "--format", "csv"]
    assert "adb:Pixel_8" in subprocess.run(table, capture_output=True, text=True, check=True).stdout


def test_a_serial_is_refused_before_anything_is_trained(phone, tmp_path):
    (tmp_path / "small.toml").write_text(suite_on(f"adb:{phones.SERIAL}"))
    command = [sys.executable, "-m", "kdbench", "run", "small.toml", "--store", "store", "--results", "results"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    why = f"kdbench: device 'adb:{phones.SERIAL}': records hold no serial and no address of a phone; use adb:Pixel_8"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, why)
    assert not (tmp_path / "store").exists()


def test_a_phone_that_goes_while_it_is_timed_gives_failed_rows(phone, tmp_path):
    def unplug():
        assert until(phone.fixed)  # it is being timed
        phone.says("gone")

    done, path = suite(suite_on("adb:Pixel_8").replace('"xnnpack-fp32", ', ""), tmp_path, while_running=unplug)
    assert done.returncode == 3, done.stderr
    records = json.loads(path.read_text())["records"]
    assert {record["status"] for record in records if record["device"] == "host"} == {"ok"}
    for record in (record for record in records if record["device"] != "host"):
        assert record["status"] == "failed"
        assert record["metrics"]["latency_ms"] is None
        assert record["metrics"]["accuracy"] is not None
        assert record["reason"].startswith(
            ("the connection to adb:Pixel_8 was lost while", "cannot reach adb:Pixel_8: ")
        )
        assert record["details"]["condition"]["after"]["unknown"].startswith(
            "cannot reach adb:Pixel_8: no such phone is "
        )
        assert phones.SERIAL not in json.dumps(record)


@pytest.fixture(scope="module")
def arm(tmp_path_factory):
    """The runner for 64-bit Arm as CMake builds it against the wheel, and what starts it here."""
    if LACKS:
        pytest.skip(f"needs qemu, as tox -e qemu has it, and cmake: {LACKS}")
    from kdbench.devices.cores import CORES, LIBRARIES, root
    from kdbench.devices.runner.cross import arm_libraries
    from kdbench.devices.runner.wheel import arm_package

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDBENCH_STORE", str(tmp_path_factory.mktemp("store")))
        package = arm_package("1.5.1")
        core = CORES["cortex-a72"]
        emulator = [shutil.which(EMULATOR.command), "-cpu", core.cpu, "-L", str(root(core, arm_libraries(), package))]
        launcher = " ".join([*emulator, "-E", f"LD_LIBRARY_PATH={LIBRARIES}:/lib"])
        yield package, cmake(tmp_path_factory.mktemp("build"), package), launcher


def cmake(place, executorch):
    """What CMake makes of the runner's sources for 64-bit Arm Linux."""
    compilers = {"C": "aarch64-linux-gnu-gcc", "CXX": CROSS_COMPILER.command}
    words = ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64", f"-DEXECUTORCH={executorch}"]
    words += [f"-DCMAKE_{language}_COMPILER={name}" for language, name in compilers.items()]
    for command in (["cmake", "-S", sources.__path__[0], "-B", str(place), *words], ["cmake", "--build", str(place)]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return place / "runner"


def test_the_arm_runner_answers_as_qemus_core_to_the_bit_and_nearly_as_the_host(
    arm, attached, tiny_program, portable_program, monkeypatch
):
    _, runner, launcher = arm
    monkeypatch.setenv(VARIABLE, str(runner))
    phone = attached(launcher=launcher, machine="aarch64")
    device = adb("adb:phone")
    assert device.runtime == "native executorch-1.5.1 aarch64 android google-tensor-g3"
    devices = (device, qemu("qemu:cortex-a72+wheel1.5.1"), Host("host", "native"))
    for tiny in (tiny_program, portable_program):
        there, emulated, here = (each.run(predict(tiny)).outputs["p"][0] for each in devices)
        np.testing.assert_array_equal(there.view(np.uint8), emulated.view(np.uint8), strict=True)
        np.testing.assert_allclose(there, here, rtol=0, atol=1e-6)
    timed = device.run(timing({"p": tiny_program}, interleave("p"), pin=True, threads=2))
    assert (len(timed.samples["p"]), timed.threads) == (20, 2)
    assert phone.fixed()


def test_records_of_the_arm_runner_on_a_phone_are_those_of_qemus_core(arm, attached, monkeypatch, tmp_path):
    _, runner, launcher = arm
    monkeypatch.setenv(VARIABLE, str(runner))
    attached(launcher=launcher, machine="aarch64")
    core, phone = "qemu:cortex-a72+wheel1.5.1", "adb:Pixel_8"
    done, path = suite(suite_on(phone).replace('"host"', f'"host", "{core}"'), tmp_path)
    assert done.returncode == 0, done.stderr
    records = json.loads(path.read_text())["records"]
    for (_, emulated), (_, there) in zip(paired(records, core), paired(records, phone), strict=True):
        assert (emulated["status"], there["status"]) == ("ok", "ok")
        assert there["metrics"]["latency_ms"] > 0
        assert emulated["metrics"]["instructions"] > 0
        assert there["details"]["beside_host"] == emulated["details"]["beside_host"]
        same = {name for name, value in emulated["metrics"].items() if value is not None} - TIMED
        same = {name for name in same if there["metrics"].get(name) is not None}
        assert {"accuracy", "accuracy_drop", "ece", "flips", "size_bytes", "arena_bytes"} <= same
        for name in same:
            assert there["metrics"][name] == emulated["metrics"][name], name
    with np.load(path.parent / "items.npz") as items:
        names = [name for name in items.files if core in name]
        assert names
        for name in names:
            np.testing.assert_array_equal(items[name], items[name.replace(core, phone)])


SOURCES = """
cmake_minimum_required(VERSION 3.24)
project(executorch)
foreach(option IN ITEMS BUILD_XNNPACK BUILD_EXTENSION_MODULE BUILD_EXTENSION_TENSOR BUILD_KERNELS_OPTIMIZED BUILD_KERNELS_QUANTIZED)
  if(NOT EXECUTORCH_${{option}})
    message(FATAL_ERROR "${{option}} is off")
  endif()
endforeach()
if(NOT EXECUTORCH_PAL_DEFAULT STREQUAL posix OR EXECUTORCH_XNNPACK_ENABLE_WEIGHT_CACHE)
  message(FATAL_ERROR "not as the wheel is")
endif()
set(package {package})
add_library(executorch INTERFACE)
target_include_directories(executorch INTERFACE ${{package}}/include ${{package}}/include/executorch/runtime/core/portable_type/c10)
target_compile_definitions(executorch INTERFACE C10_USING_CUSTOM_GENERATED_MACROS ET_USE_THREADPOOL)
target_link_libraries(executorch INTERFACE ${{package}}/lib/libexecutorch.so)
foreach(part IN ITEMS backends extensions kernels)
  add_library(executorch_${{part}} INTERFACE)
  add_library(executorch::${{part}} ALIAS executorch_${{part}})
endforeach()
target_link_options(executorch INTERFACE -Wl,--no-as-needed)
target_link_libraries(executorch_backends INTERFACE ${{package}}/lib/libexecutorch_backend_xnnpack.so)
target_link_libraries(executorch_extensions INTERFACE ${{package}}/lib/libexecutorch_threadpool.so)
target_link_libraries(
  executorch_kernels INTERFACE ${{package}}/lib/libexecutorch_kernels_optimized.so ${{package}}/lib/libexecutorch_kernels_quantized.so
)
"""
"""A stand-in for ExecuTorch's sources, with the targets that its documentation names, over the wheel's libraries."""


def test_sources_are_built_along_and_say_their_version(arm, attached, tiny_program, tmp_path, monkeypatch):
    package, _, launcher = arm
    checkout = tmp_path / "executorch"
    checkout.mkdir()
    (checkout / "CMakeLists.txt").write_text(SOURCES.format(package=package))
    (checkout / "version.txt").write_text("1.6.0a0\n")
    monkeypatch.setenv(VARIABLE, str(cmake(tmp_path / "build", checkout)))
    attached(launcher=launcher, machine="aarch64")
    device = adb("adb:phone")
    assert device.runtime == "native executorch-1.6.0a0 aarch64 android google-tensor-g3"
    there, here = (each.run(predict(tiny_program)).outputs["p"][0] for each in (device, Host("host", "native")))
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-6)


def test_the_preset_is_the_ndks():
    table = json.loads((Path(sources.__path__[0]) / "CMakePresets.json").read_text())
    (preset,) = table["configurePresets"]
    assert preset["name"] == "android-arm64"
    assert preset["toolchainFile"] == "$env{ANDROID_NDK}/build/cmake/android.toolchain.cmake"
    assert preset["cacheVariables"]["ANDROID_ABI"] == "arm64-v8a"
    if shutil.which("cmake"):
        shown = subprocess.run(
            ["cmake", "--list-presets"], cwd=sources.__path__[0], capture_output=True, text=True, check=True
        )
        assert '"android-arm64"' in shown.stdout
