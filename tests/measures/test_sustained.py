import numpy as np
import pytest

from kdbench.devices.host import Host
from kdbench.devices.job import Series
from kdbench.measures.latency import SUSTAINED
from kdbench.measures.speed import measure_speeds
from kdbench.measures.sustained import WINDOWS, measure_sustained, over_time, sustained
from kdbench.measures.timing_job import SpeedProgram
from kdbench.spec import Protocol

MS = 1_000_000


def series(taken_ms):
    """Inferences back to back."""
    taken = np.array(np.array(taken_ms) * MS, dtype=np.int64)
    return Series(len(taken), np.concatenate([[0], np.cumsum(taken)[:-1]]), taken)


def test_the_last_tenth_of_the_time_over_the_first():
    # 100 ms of inferences that take 1 ms, 90 ms of some that take 3, and 10 ms of some that take 2.
    found = sustained(series([1] * 100 + [3] * 30 + [2] * 10))
    assert found == {"latency_sustained_ms": 2.0, "sustained_slowdown": 2.0}


def test_few_inferences_have_no_tenths():
    assert sustained(series([1] * 19)) == dict.fromkeys(SUSTAINED, "needs 20 inferences, there were 19")
    assert sustained(series([1] * 20))["sustained_slowdown"] == 1


def test_windows_are_of_equal_time():
    assert over_time(series([1] * 600)) == (1.0,) * WINDOWS
    slowed = over_time(series([1] * 300 + [2] * 150))
    assert len(slowed) == WINDOWS
    assert slowed[:29] == (1.0,) * 29
    assert slowed[31:] == (2.0,) * 29


def test_no_window_is_shorter_than_the_longest_wait():
    assert over_time(series([1] * 50 + [10] + [1] * 40)) == pytest.approx((1.0,) * 9)
    assert over_time(series([5])) == (5.0,)
    assert over_time(series([5, 7])) == (6.0,)


QUICK = Protocol(
    processes=1, warmup_runs=1, warmup_seconds=0, min_runs=5, min_seconds=0, block_ms=0.001, memory_processes=1
)


def test_a_program_runs_for_as_long_as_it_is_asked_to(tiny_program):
    protocol = QUICK.model_copy(update={"sustained_s": 0.3})
    made = measure_sustained(Host("host", "native"), SpeedProgram(tiny_program.path, tiny_program.inputs), protocol)
    assert made.runs > 20
    assert made.began[-2] < 0.3e9
    assert made.began[-1] > 0.05e9
    assert len(over_time(made)) <= WINDOWS


def test_a_speed_holds_the_long_run_in_windows(tiny_program):
    told = []
    protocol = QUICK.model_copy(update={"sustained_s": 1.5})
    program = SpeedProgram(tiny_program.path, tiny_program.inputs)
    speeds = measure_speeds(
        Host("host", "native"), {"a": program}, None, protocol, lambda _share, text: told.append(text)
    )
    speed = speeds["a"].speed
    assert told[-1] == "0.025 min back to back"
    assert speed.sustained_s == 1.5
    assert speed.sustained_samples > 20
    assert 1 <= len(speed.sustained_ms) <= WINDOWS
    assert all(each > 0 for each in speed.sustained_ms)
    assert speed.metrics["latency_sustained_ms"] > 0
    assert speed.metrics["sustained_slowdown"] > 0
    assert "latency_paced_ms" not in speed.metrics
