import made_bundle
import pytest
from made_bundle import line

from kdbench.errors import UsageError
from kdbench.lab.ingest import read_results

STEM = "kd_coreml_fp16_s0_0123456789ab"
FORWARD, LOAD = f"forward_{STEM}_pte", f"load_{STEM}_pte"


def read(tmp_path, text):
    return read_results(made_bundle.written(tmp_path / "xctest.log", text))


def test_every_value_of_the_clock_is_a_sample_and_the_average_is_not_read(tmp_path):
    log = (
        "Test Suite 'All tests' started at 2026-11-27 10:00:00.000.\n"
        f"Test Case '-[GenericTests {LOAD}]' started.\n"
        + line(LOAD, [0.0105, 0.0095, 0.01])
        + line(LOAD, [204800.0], "Memory Peak Physical, kB")
        + line(FORWARD, [0.0021, 0.0025, 0.0031])
        + f"Test Case '-[GenericTests {FORWARD}]' passed (0.232 seconds).\n"
    )
    told = read(tmp_path, log)
    load, memory, forward = told.readings
    assert {each.stem for each in told.readings} == {STEM}
    assert load.load_ms == pytest.approx(10.0)
    assert load.samples is None
    assert memory.details == {"load: Memory Peak Physical, kB": 204800.0}
    assert memory.peak_rss_bytes is None
    assert forward.samples.tolist() == [2_100_000, 2_500_000, 3_100_000]
    assert (forward.process, forward.threads, forward.flags) == (0, 0, ())
    assert (told.reader, told.device, told.left) == ("XCTest's log", {}, ())


def test_a_test_that_ran_twice_is_two_processes_and_a_line_printed_twice_is_one(tmp_path):
    once, again = line(FORWARD, [0.002]), line(FORWARD, [0.003])
    readings = read(tmp_path, once + once + again).readings
    assert [(each.process, each.samples.tolist()) for each in readings] == [(0, [2_000_000]), (1, [3_000_000])]


@pytest.mark.parametrize("test", [f"test_forward_{STEM}", f"testforward_{STEM}", f"forward_{STEM}"])
@pytest.mark.parametrize("form", ["-[Mine.PerfTests {}]", "PerfTests.{}"])
def test_tests_of_ones_own_are_known_by_their_names(tmp_path, test, form):
    text = line(FORWARD, [0.002]).replace(f"-[GenericTests {FORWARD}]", form.format(test))
    assert [each.stem for each in read(tmp_path, text).readings] == [STEM]


def test_a_program_near_the_printed_microsecond_is_flagged(tmp_path):
    assert read(tmp_path, line(FORWARD, [0.000099])).readings[0].flags == ("coarse-clock",)
    assert read(tmp_path, line(FORWARD, [0.0001])).readings[0].flags == ()


def test_a_failed_test_is_a_failed_program(tmp_path):
    [reading] = read(tmp_path, f"Test Case '-[GenericTests {FORWARD}]' failed (1.2 seconds).\n").readings
    assert reading.failed == f"its test {FORWARD} failed"


def test_what_has_no_use_is_told(tmp_path):
    told = read(
        tmp_path, line(FORWARD, [0.002]) + line(FORWARD, [5.0], "CPU Cycles, kC") + line("testStart", [0.5]) * 2
    )
    assert told.left == (
        "[CPU Cycles, kC]: kdbench has no such figure",
        "test testStart: it is not called forward_PROGRAM or load_PROGRAM",
    )
    assert len(told.readings) == 1


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([], "has no values"),
        (["nan"], "one of its values is no time"),
        ([0.002, "inf"], "one of its values is no time"),
        ([-0.002], "-0.002 s is no time, or one below the microsecond that is printed"),
        ([0.002, 0.0], "0 s is no time, or one below the microsecond that is printed"),
        (["fast"], "its values are no numbers"),
    ],
)
def test_bad_values_are_one_line_that_says_where(tmp_path, values, why):
    with pytest.raises(UsageError) as error:
        read(tmp_path, "first\n" + line(FORWARD, values))
    assert str(error.value) == f"{tmp_path / 'xctest.log'} line 2{':' if 'has' not in why else ''} {why}"


def test_a_line_that_is_cut_off_is_refused_wherever_it_ends(tmp_path):
    text = line(FORWARD, [0.0021, 0.0025])
    for end in (text.index("values"), text.index("0.002500"), text.index("], performance")):
        with pytest.raises(UsageError, match=r"xctest.log line 1 is cut off or is no measurement of XCTest's"):
            read(tmp_path, text[:end])


def test_a_log_without_a_program_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"holds no measurement of a program; test testStart: it is not called"):
        read(tmp_path, line("testStart", [1.0]))
    with pytest.raises(UsageError, match=r"is neither kdbench's measured.json nor"):
        read(tmp_path, "Test Suite 'All tests' started\n")
