import csv
import json

import pytest
from click.testing import CliRunner

from kdbench import counted_profiles
from kdbench.cli.profile import command
from kdbench.counted_profiles import CountedOperator, CountedProfile
from kdbench.errors import MeasureError, UsageError
from kdbench.lowering.program import bytes_of, facts, opened

CORE = "qemu:cortex-a76+wheel1.5.1"


def invoke(path, *words):
    return CliRunner().invoke(command, [str(path), "--seconds", "0", *words], standalone_mode=False)


@pytest.fixture
def counted(tiny_program, monkeypatch):
    """A function: the command on a core that need not be there."""
    steps = (
        CountedOperator("Transpose #1", "XnnpackBackend", (1200.0, 1.0, 300.0, 200.0)),
        CountedOperator("GEMM #1", "XnnpackBackend", (8000.5, 4000.0, 700.0, 300.0)),
        CountedOperator("rest", "runtime", (799.5, 0.0, 10.0, 11.0)),
    )
    known = facts(opened(bytes_of(tiny_program.path), "", ""))
    found = CountedProfile(known, steps, (10000.0, 4001.0, 1010.0, 511.0), CORE, "native", 2, "x.npy")
    monkeypatch.setattr(counted_profiles, "counted_profile", lambda path, device, **given: found)
    words = [str(tiny_program.path), "--device", CORE]
    return lambda *more: CliRunner().invoke(command, [*words, *more], standalone_mode=False)


def test_every_step_has_a_line_with_time_share_and_place(tiny_program):
    shown = invoke(tiny_program.path)
    assert shown.exception is None
    lines = shown.output.splitlines()
    assert lines[0].startswith(f"{tiny_program.path}: method forward, ")
    assert lines[0].endswith(" us an inference")
    assert all(" us  " in line and "%" in line for line in lines[1:-1])
    assert any("  XnnpackBackend  " in line for line in lines)
    assert lines[-1] == "mean of 100 runs on 1 thread, traced by ExecuTorch, fed 8 made-up items"


def test_csv_and_json_hold_the_same_steps(tiny_program):
    rows = list(csv.DictReader(invoke(tiny_program.path, "--format", "csv").output.splitlines()))
    table = json.loads(invoke(tiny_program.path, "--format", "json").output)
    assert [row["operator"] for row in rows] == [row["operator"] for row in table["operators"]]
    assert sum(row["share"] for row in table["operators"]) == pytest.approx(1)
    assert (table["format"], table["runs"], table["threads"]) == (1, 100, 1)


def test_by_time_the_largest_comes_first(tiny_program):
    rows = json.loads(invoke(tiny_program.path, "--format", "json", "--by", "time").output)["operators"]
    assert [row["mean_us"] for row in rows] == sorted((row["mean_us"] for row in rows), reverse=True)


def test_a_picture_is_a_page_that_needs_no_network(tiny_program, tmp_path):
    shown = invoke(tiny_program.path, "--picture", str(tmp_path / "page.html"))
    assert shown.exception is None
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "XnnpackBackend" in page
    assert '<script src="http' not in page
    error = invoke(tiny_program.path, "--picture", str(tmp_path / "nowhere" / "page.html")).exception
    assert isinstance(error, MeasureError)
    assert str(error).startswith("cannot write ")


def test_on_a_core_every_step_has_its_instructions_and_all_of_them_are_summed(counted):
    lines = counted().output.splitlines()
    assert lines[0].endswith("tiny fp32.pte: method forward, 10,000 instructions an inference")
    assert lines[1].split() == ["Transpose", "#1", "XnnpackBackend", "1,200", "12%", "███"]
    assert lines[4:] == [
        "of them 4,001 vector instructions, 1,010 loads, 511 stores",
        "9,200.5 within the steps and 799.5 outside them make the 10,000 that are counted without a tracer",
        f"on {CORE}, 1 thread, steps by ExecuTorch's tracer, fed x.npy",
    ]


def test_counts_are_sorted_written_and_drawn_as_times_are(counted, tmp_path):
    rows = list(csv.DictReader(counted("--format", "csv", "--by", "instructions").output.splitlines()))
    assert [row["operator"] for row in rows] == ["GEMM #1", "Transpose #1", "rest"]
    table = json.loads(counted("--format", "json").output)
    assert (table["instructions"], table["stores"], table["device"]) == (10000, 511, CORE)
    assert [row["instructions"] for row in table["operators"]] == [1200, 8000.5, 799.5]
    assert counted("--picture", str(tmp_path / "page.html")).exception is None
    assert "10,000 instructions an inference" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--device", "ssh:board"), "--device ssh:board: expected host, which is timed, or qemu:CORE+wheelVERSION, which is counted"),
        (("--device", CORE), f"--seconds: on {CORE} instructions are counted, not timed"),
        (("--device", CORE, "--by", "time"), f"--by time: on {CORE} steps are sorted by order or instructions"),
        (("--by", "instructions"), "--by instructions: on host steps are sorted by order or time"),
    ],
)  # fmt: skip
def test_what_a_device_does_not_do_is_one_line(tiny_program, words, line):
    error = invoke(tiny_program.path, *words).exception
    assert isinstance(error, UsageError)
    assert str(error) == line
