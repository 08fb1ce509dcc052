import made_bundle
import pytest
from made_bundle import in_logcat, line, on_terminal, ran, ran_before_1_3

from kdbench.errors import UsageError
from kdbench.lab.ingest import read_results

STEM = "kd-xnnpack-int8-s0-0123456789ab"
FILE = f"programs/{STEM}.pte"
TIMES = [0.3125, 0.125, 0.126001]
RUN = ran(FILE, TIMES)
NOISE = [("E", "Output 0 is memory planned, or is a constant. Cannot override the existing data pointer.")]
ABORTED = "In function main(), assert failed (status == Error::Ok): Execution of method forward failed with status 0x12"


def read(tmp_path, text):
    return read_results(made_bundle.written(tmp_path / "runner.log", text))


def refused(tmp_path, text):
    with pytest.raises(UsageError) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(str(tmp_path / "runner.log"))


def told(readings):
    return [(each.stem, each.process, each.threads, each.samples.tolist(), each.load_ms) for each in readings]


def test_every_iteration_is_a_sample_and_the_first_is_the_first_inference(tmp_path):
    outputs = "OutputX 0: tensor(sizes=[1, 2], [\n  -0.5, 0.3])\n"
    log = read(tmp_path, on_terminal([*RUN[:4], *NOISE, *RUN[4:]]) + outputs)
    [reading] = log.readings
    assert (reading.stem, reading.program, reading.threads, reading.process) == (STEM, "", 1, 0)
    assert reading.samples.tolist() == [312_500, 125_000, 126_001]
    assert (reading.first_ms, reading.load_ms, reading.mean_ms, reading.cold) == (0.3125, 1.5, None, True)
    assert (reading.outputs, reading.peak_rss_bytes, reading.failed, reading.flags) == (None, None, "", ())
    assert (log.reader, log.runtime, log.device) == ("executor_runner's log", "ExecuTorch's executor_runner", {})


@pytest.mark.parametrize("form", ["threadtime", "threadtime,uid", "time", "brief"])
def test_logcat_says_what_a_terminal_says(tmp_path, form):
    other = in_logcat([("I", "Iteration 7 of 9: 0.5 ms")], form).replace("ExecuTorch", "Other")
    log = other + in_logcat(RUN, form).replace("\n", "\r\n")
    assert told(read(tmp_path, log).readings) == told(read(tmp_path, on_terminal(RUN)).readings)


@pytest.mark.parametrize("file", [FILE, f"{STEM}.pte", f"/data/local/tmp/my programs/{STEM}.pte", rf"C:\x\{STEM}.pte"])
def test_a_program_is_known_by_its_files_name(tmp_path, file):
    assert [each.stem for each in read(tmp_path, on_terminal(ran(file, TIMES))).readings] == [STEM]


def test_each_run_of_a_log_is_a_process_of_its_own(tmp_path):
    runs = ran(FILE, [0.1, 0.2]), ran("other.pte", [0.3], threads=4), ran(FILE, [0.4])
    wanted = [
        (STEM, 0, 1, [100_000, 200_000], 1.5),
        ("other", 1, 4, [300_000], 1.5),
        (STEM, 2, 1, [400_000], 1.5),
    ]
    assert told(read(tmp_path, "".join(map(on_terminal, runs))).readings) == wanted
    pids = "".join(in_logcat(run, pid=pid) for pid, run in enumerate(runs, 7))
    assert told(read(tmp_path, pids).readings) == wanted


def test_runs_at_the_same_time_are_told_apart_by_their_processes(tmp_path):
    pairs = zip(ran(FILE, [0.1, 0.2], threads=2), ran("other.pte", [0.3, 0.4], load=2.5), strict=True)
    log = "".join(in_logcat([one], pid=7) + in_logcat([two], pid=8) for one, two in pairs)
    assert told(read(tmp_path, log).readings) == [
        (STEM, 0, 2, [100_000, 200_000], 1.5),
        ("other", 1, 1, [300_000, 400_000], 2.5),
    ]


def test_a_runner_without_a_thread_pool_tells_no_threads(tmp_path):
    readings = read(tmp_path, on_terminal([*RUN, *RUN[1:]])).readings
    assert [each.threads for each in readings] == [1, 0]


def test_a_total_is_a_mean_and_no_samples(tmp_path):
    [reading] = read(tmp_path, on_terminal(ran_before_1_3(FILE, 60, 7.5))).readings
    assert (reading.mean_ms, reading.samples, reading.first_ms, reading.load_ms) == (0.125, None, None, None)
    assert reading.flags == ("no-samples", "with-warm-up")
    assert (reading.stem, reading.threads) == (STEM, 1)


@pytest.mark.parametrize(("times", "total"), [(1, 0.5), (0, 0.5)])
def test_a_total_of_one_run_is_no_mean(tmp_path, times, total):
    why = f" line 6: {STEM!r} ran {times} time(s), which is no mean; --num_executions asks for more"
    assert refused(tmp_path, on_terminal(ran_before_1_3(FILE, times, total))) == why


def test_a_check_that_fails_is_a_failed_program_and_other_runs_go_on(tmp_path):
    log = in_logcat([*RUN[:7], ("F", ABORTED)], pid=7) + in_logcat(RUN, pid=8)
    failed, well = read(tmp_path, log).readings
    assert (failed.stem, failed.failed) == (STEM, "Execution of method forward failed with status 0x12")
    assert (failed.samples, failed.first_ms, failed.load_ms) == (None, None, None)
    assert (well.failed, well.process) == ("", 1)
    bare = [*RUN[:7], ("F", "In function execute(), assert failed: x != nullptr")]
    assert read(tmp_path, on_terminal(bare)).readings[0].failed == bare[-1][1]


def test_a_file_that_is_no_program_failed(tmp_path):
    [reading] = read(tmp_path, on_terminal([RUN[0], ("E", f"Failed to parse model file {FILE}")])).readings
    assert (reading.stem, reading.threads, reading.failed) == (STEM, 1, f"Failed to parse model file {FILE}")


def test_a_log_that_is_cut_off_is_refused_wherever_it_ends(tmp_path):
    for printed in (on_terminal, in_logcat):
        text = printed(RUN)
        end = text.index(" time(s)") + len(f" time(s) in {sum(TIMES):f} ms.")
        for cut in range(end):
            assert refused(tmp_path, text[:cut]), text[:cut]
        assert read(tmp_path, text[:end]).readings[0].samples.size == 3


def without(*places):
    return on_terminal([message for place, message in enumerate(RUN) if place not in places])


def saying(place, text, level="I"):
    return on_terminal([*RUN[:place], (level, text), *RUN[place + 1 :]])


GONE = "lines are missing (adb logcat -G 16M makes room for more)"
STRANGE = "is cut off or is no line of executor_runner's"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (without(2), " line 5 is of no run: no line before it names a program"),
        (without(*range(6)), " line 1 is of no run: no line before it names a program"),
        (without(6), f" line 7: {GONE}: {STEM!r} has 0 iterations before this one"),
        (without(7), f" line 8: {GONE}: {STEM!r} has 1 iterations before this one"),
        (without(8), f" line 9: {GONE}: {STEM!r} has 2 iterations of 3"),
        (without(9), f" line 3: the run of {STEM!r} that begins here has no end; take a whole log, or tell it as failed in measured.json"),
        (without(9) + on_terminal(RUN), f" line 3: the run of {STEM!r} that begins here has no end; take a whole log, or tell it as failed in measured.json"),
        (saying(6, "Iteration 1 of 3: 0.000000 ms"), " line 7: 0 ms is no time"),
        (saying(6, "Iteration 1 of 3: 1000000000.000000 ms"), " line 7: 1e+09 ms is no time"),
        (saying(6, "Iteration 1 of 3: nan ms"), f" line 7 {STRANGE}: 'Iteration 1 of 3: nan ms'"),
        (saying(6, "Iteration 1 of 3: -0.100000 ms"), f" line 7 {STRANGE}: 'Iteration 1 of 3: -0.100000 ms'"),
        (saying(5, "Model loaded in 0.000000 ms."), " line 6: 0 ms is no time"),
        (saying(9, "Model executed successfully."), f" line 10 {STRANGE}: 'Model executed successfully.'"),
        (saying(2, "Model file " + "x" * 40 + "$"), f" line 3 {STRANGE}: 'Model file {'x' * 40}$'"),
        (
            on_terminal([("F", "In function main(), assert failed (file_loader.ok()): FileDataLoader::from() failed: 0x22")]),
            " line 1 is of no run: no line before it names a program",
        ),
        (
            on_terminal([("I", "Running in server mode; waiting for stdin triggers.")]),
            " holds no run of executor_runner: none of its lines says that a model file is loaded",
        ),
    ],
)  # fmt: skip
def test_what_is_missing_or_strange_is_one_line_that_says_where(tmp_path, text, why):
    assert refused(tmp_path, text) == why


def test_a_log_of_another_program_is_no_result(tmp_path):
    assert "is neither kdbench's measured.json nor" in refused(tmp_path, "OutputX 0: tensor(sizes=[1, 2])\n")
    xctest = line(f"forward_{STEM.replace('-', '_')}_pte", [0.002])
    assert read(tmp_path, on_terminal(NOISE) + xctest).reader == "XCTest's log"
