import json
import re
import subprocess
import sys

import made_up
import pytest
from click.testing import CliRunner

from kdbench.cli import measure
from kdbench.cli.measure import command
from kdbench.devices.host import Host
from kdbench.devices.runner.build import find_compiler, runner
from kdbench.errors import MeasureError, UsageError
from kdbench.figures import Figures
from kdbench.measures.metric import METRICS
from kdbench.spec import Protocol
from kdbench.store import named


def invoke(path, *words, store=None):
    quick = ["--processes", "1", *(["--store", str(store)] if store else [])]
    return CliRunner().invoke(command, [str(path), *quick, *words], standalone_mode=False)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with a runner beside it and no reference program."""
    folder = tmp_path_factory.mktemp("store")
    take_back = named(folder)
    runner()
    take_back()
    return folder


@pytest.fixture
def shown(tiny_program, store):
    return invoke(tiny_program.path, store=store)


def test_what_several_processes_said_has_an_interval():
    speed = made_up.speed("dscnn", "xnnpack-fp32", 0.00913)
    found = Figures(None, "", speed, speed.metrics, {"latency_p99_ms": "too few"}, 3, None, {})
    assert (
        measure._what(found, "latency_ms") == f"±0.18, 95 % over processes and sessions; {METRICS['latency_ms'].what}"
    )
    assert (
        measure._what(found, "latency_ref")
        == f"±0.001, 95 % over processes and sessions; {METRICS['latency_ref'].what}"
    )
    assert measure._what(found, "latency_p90_ms") == METRICS["latency_p90_ms"].what


def test_as_many_processes_as_a_suites_protocol_has():
    [default] = [each.default for each in command.params if each.name == "processes"]
    assert default == Protocol().processes


def test_each_figure_is_a_line_with_its_unit(shown, tiny_program):
    assert shown.exception is None
    assert shown.return_value == 0
    lines = shown.stdout.splitlines()
    assert lines[0] == f"{tiny_program.path}: method forward, float32 [1, 3, 8, 8] -> float32 [1, 4]"
    size = len(tiny_program.path.read_bytes()) / 1000
    assert [line.split() for line in lines if line.startswith("  size ")] == [
        ["size", f"{size:.1f}", "kB", "the", ".pte", "file"]
    ]
    for title, unit in {
        "download": "kB",
        "arena": "kB",
        "latency": "us",
        "p90": "us",
        "pack": "ms",
        "peak RSS": "MB",
    }.items():
        [line] = [line for line in lines if line.startswith(f"  {title} ")]
        number, found = line.removeprefix(f"  {title} ").split()[:2]
        assert float(number.replace(",", "")) >= 0
        assert found == unit
    assert any(line.startswith("  x ref ") and "the reference program is not in the store" in line for line in lines)
    assert "delegates: XnnpackBackend (1)" in lines
    assert "operators outside them: none" in lines
    assert "inputs: 8 made up: floats from a standard normal (seed 0), whole numbers and booleans 0" in lines
    assert any(
        line.startswith("measured: ") and " runs in 1 process, 1 thread, native executorch-" in line for line in lines
    )
    assert f"sha256: {tiny_program.sha256}" in lines


def test_what_else_went_on_is_a_line(shown):
    [line] = [line for line in shown.stdout.splitlines() if line.startswith("meanwhile: ")]
    assert re.fullmatch(
        r"meanwhile: load \d+\.\d\d, \d+\.\d\d cores busy with other work, \d+\.\d% of the time stolen.*", line
    )


def test_energy_that_nothing_tells_is_a_reason(tiny_program, store, monkeypatch):
    monkeypatch.delenv("KDBENCH_METER", raising=False)
    lines = invoke(tiny_program.path, "--energy", "meter", store=store).stdout.splitlines()
    [line] = [line for line in lines if line.startswith("  energy ")]
    assert line.split(maxsplit=2)[1:] == [
        "-",
        "no meter is named: KDBENCH_METER is the CSV file (seconds,watts) that it writes to",
    ]


def test_a_pace_and_a_long_run_are_lines_of_their_own(tiny_program, store, shown):
    lines = invoke(tiny_program.path, "--every", "2ms", "--sustained", "1s", store=store).stdout.splitlines()
    titles = ["paced", "paced p90", "paced ref", "x steady", "late", "sustained", "last/first"]
    for title in titles:
        [line] = [line for line in lines if line.startswith(f"  {title:<10} ")]
        assert (line.split()[-1] == "timed") == (title == "paced ref")
        assert not any(line.startswith(f"  {title:<10} ") for line in shown.stdout.splitlines())
    assert "paced: 125 runs, one every 2 ms" in lines
    [told] = [line for line in lines if line.startswith("sustained: ")]
    assert re.fullmatch(
        r"sustained: [▁▂▃▄▅▆▇█]{1,60}  [\d.,]+ to [\d.,]+ us, medians of \d+ x [\d.]+ s; [\d,]+ runs", told
    )
    assert not any(line.startswith(("paced: ", "sustained: ")) for line in shown.stdout.splitlines())


def test_json_holds_the_windows_of_a_long_run(tiny_program, store):
    words = ["--sustained", "1s", "--threads", "1,2", "--format", "json"]
    one, two = json.loads(invoke(tiny_program.path, *words, store=store).stdout)["measurements"]
    for each in (one, two):
        assert each["speed"]["sustained_s"] == 1
        assert 1 <= len(each["speed"]["sustained_ms"]) <= 60
        assert each["metrics"]["sustained_slowdown"] > 0
        assert each["speed"]["every_ms"] is None
        assert "latency_paced_ms" not in each["metrics"]


def test_json_holds_every_figure_and_unit(tiny_program, store):
    shown = invoke(tiny_program.path, "--format", "json", store=store)
    table = json.loads(shown.stdout)
    assert table["file"] == "tiny fp32.pte"
    assert table["program"]["sha256"] == tiny_program.sha256
    assert table["metrics"]["size_bytes"] == len(tiny_program.path.read_bytes())
    assert table["metrics"]["latency_ref"] is None
    assert table["units"] == {name: METRICS[name].unit for name in table["metrics"]}
    assert "latency_ref" in table["reasons"]
    assert len(table["sitting"]["around"]) == 2
    assert table["sitting"]["others"] >= 0
    assert str(tiny_program.path.parent) not in shown.stdout


@pytest.fixture
def no_ssh(monkeypatch, tmp_path):
    """This machine as it is, without OpenSSH."""
    monkeypatch.setenv("CXX", find_compiler())
    monkeypatch.setenv("PATH", str(tmp_path))


def test_several_threads_are_columns_of_one_table(tiny_program, store):
    shown = invoke(tiny_program.path, "--threads", "1,2", store=store)
    assert (shown.exception, shown.return_value) == (None, 0)
    lines = shown.stdout.splitlines()
    assert next(line for line in lines if line.startswith("  size ")).endswith(" kB  the .pte file")
    assert [line.split() for line in lines if line.split()[:1] in (["host"], ["threads"])] == [
        ["host", "host"],
        ["threads", "1", "2"],
    ]
    [latency] = [line.split() for line in lines if line.startswith("  latency ")]
    assert (latency[2], latency[4]) == ("us", "us")
    assert float(latency[1]) > 0
    assert float(latency[3]) > 0
    assert any(line.startswith("host, 2 threads: ") and " 2 threads, native executorch-" in line for line in lines)
    assert "  no x ref: the reference program is not in the store; kdbench doctor puts it there" in lines
    assert not any(line.split()[:1] == ["status"] for line in lines)


@pytest.mark.usefixtures("no_ssh")
def test_a_device_that_fails_is_a_column_and_the_others_are_measured(tiny_program, store):
    words = ["--device", "ssh:board", "--device", "host", "--device", "host"]
    shown = invoke(tiny_program.path, *words, "--format", "json", store=store)
    assert shown.return_value == 3
    table = json.loads(shown.stdout)
    board, here = table["measurements"]
    assert (board["speed"]["device"], here["speed"]["device"]) == ("ssh:board", "host")
    assert (board["speed"]["status"], here["speed"]["status"]) == ("failed", "ok")
    assert board["speed"]["reason"] == board["reasons"]["latency_ms"]
    assert "ssh" in board["speed"]["reason"]
    assert board["metrics"]["latency_ms"] is None
    assert here["metrics"]["latency_ms"] > 0
    assert board["metrics"]["size_bytes"] == here["metrics"]["size_bytes"]
    assert "speed" not in table


@pytest.mark.usefixtures("no_ssh")
def test_the_reason_of_a_device_that_fails_is_in_the_table(tiny_program, store):
    shown = invoke(tiny_program.path, "--device", "host", "--device", "ssh:board", store=store)
    lines = shown.stdout.splitlines()
    assert shown.return_value == 3
    assert ["status", "ok", "failed"] in [line.split() for line in lines]
    [reason] = [line for line in lines if line.startswith("ssh:board: ")]
    assert reason.startswith("ssh:board: failed: ")
    assert [line.split()[1] for line in lines if line.startswith("  latency ")] != ["-"]


def test_an_unknown_device_ends_all_before_anything_is_measured(tiny_program, store):
    error = invoke(tiny_program.path, "--device", "host", "--device", "hots", store=store).exception
    assert isinstance(error, UsageError)
    assert str(error) == "unknown device 'hots'; did you mean 'host'?"


def test_what_a_device_cannot_do_ends_all_before_anything_is_measured(tiny_program, store, monkeypatch):
    monkeypatch.setattr(Host, "run", lambda _self, _job: pytest.fail("it was measured"))
    shown = invoke(tiny_program.path, "--cold-cache", "--device", "host", "--device", "ssh:board", store=store)
    assert isinstance(shown.exception, UsageError)
    assert (
        str(shown.exception) == "cold_cache: ssh:board runs fresh copies of the programs; only the host has them cold"
    )
    assert shown.output == ""


def damaged(path, tmp_path, kind):
    data = path.read_bytes()
    made = {"cut": data[: len(data) // 2], "empty": b"", "text": b"hello, this is text", "head": data[:20]}
    (tmp_path / "bad.pte").write_bytes(made[kind])
    return tmp_path / "bad.pte"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("cut", "is cut off: found "),
        ("empty", "is empty; expected an ExecuTorch program (.pte)"),
        ("text", "is not an ExecuTorch program (.pte): it does not start like one"),
        ("head", "is cut off: found 20 bytes"),
    ],
)
def test_a_damaged_program_is_one_line(tiny_program, tmp_path, kind, said):
    path = damaged(tiny_program.path, tmp_path, kind)
    error = invoke(path).exception
    assert isinstance(error, UsageError)
    assert str(error).startswith(f"{path} {said}")
    assert "\n" not in str(error)


def test_a_program_for_a_missing_backend_is_not_measured(broken_program):
    error = invoke(broken_program.path).exception
    assert isinstance(error, MeasureError)
    assert str(error).endswith("; it needs MissingBackend")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["none.pte"], 2, "kdbench: cannot read none.pte: No such file or directory\n"),
        (["."], 2, "kdbench: cannot read .: Is a directory\n"),
        ([], 2, "kdbench: Missing argument 'FILE.pte'"),
        (
            ["x.pte", "--threads", "0"],
            2,
            "kdbench: Invalid value for '--threads': '0' is not a whole number from 1 to 1024",
        ),
        (
            ["x.pte", "--threads", "1,two"],
            2,
            "kdbench: Invalid value for '--threads': 'two' is not a whole number from 1 to 1024",
        ),
        (["x.pte", "--every", "0ms"], 2, "kdbench: Invalid value for '--every': '0ms' is not from 0.1ms to 1m"),
        (
            ["x.pte", "--every", "5"],
            2,
            "kdbench: Invalid value for '--every': '5' is not a duration such as 33ms, 2.5s, 3m or 1h",
        ),
        (["x.pte", "--sustained", "25h"], 2, "kdbench: Invalid value for '--sustained': '25h' is not from 1s to 24h"),
        (["x.pte", "--threads", "2,2"], 2, "kdbench: Invalid value for '--threads': '2,2' has a number twice"),
    ],
)
def test_bad_words_end_with_one_line_and_a_code(words, code, said, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "from kdbench.cli.main import main; main()", "measure", *words],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1
