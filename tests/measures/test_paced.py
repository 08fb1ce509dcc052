import numpy as np
import pytest

from kdbench.devices.host import Host
from kdbench.devices.job import Load, Pace, Series
from kdbench.measures.latency import PACED, SUSTAINED, latencies
from kdbench.measures.paced import measure_paced, paced, paced_job
from kdbench.measures.speed import measure_speeds
from kdbench.measures.timing_job import SpeedProgram
from kdbench.spec import Protocol

MS = 1_000_000
QUICK = Protocol(
    processes=2,
    warmup_runs=1,
    warmup_seconds=0,
    min_runs=6,
    min_seconds=0,
    block_ms=0.001,
    memory_processes=1,
    every_ms=5,
)


def series(began_ms, taken_ms, runs=0):
    began, taken = (np.array(np.array(each) * MS, dtype=np.int64) for each in (began_ms, taken_ms))
    return Series(runs or len(began), began, taken)


def subject(tiny):
    return SpeedProgram(tiny.path, tiny.inputs)


def test_a_paced_latency_is_of_all_processes_and_its_ratios_are_to_the_steady_one_and_the_reference():
    processes = [series([0, 10, 20], [2, 3, 4]), series([0, 10, 20], [6, 6, 6])]
    ruler = [series([0, 10, 20], [1, 1, 1]), series([0, 10], [1.5, 1.5])]
    found = paced(processes, ruler, 10, steady_ms=2.0)
    assert found == {
        "latency_paced_ms": 5.0,
        "latency_paced_p90_ms": 6.0,
        "latency_paced_ref": 3.5,
        "paced_slowdown": 2.5,
        "paced_late": 0.0,
    }
    assert paced(processes, [], 10, 2.0)["latency_paced_ref"] == "no reference was timed"


def test_late_is_what_begins_over_a_tenth_of_the_period_after_it_was_due():
    on_time, late = series([0, 10.9, 20, 30], [1] * 4), series([0, 11.1, 20, 35], [1] * 4)
    assert paced([on_time], [], 10, 1)["paced_late"] == 0
    assert paced([late], [], 10, 1)["paced_late"] == pytest.approx(2 / 3)
    assert paced([on_time, late], [], 10, 1)["paced_late"] == pytest.approx(1 / 3)
    assert paced([series([0], [1])], [], 10, 1)["paced_late"] == "each process made one inference, which cannot be late"


def test_of_a_long_series_those_that_are_kept_were_due_when_they_were_due():
    every_fourth = series([0, 40, 80], [1] * 3, runs=10)
    assert paced([every_fourth], [], 10, 1)["paced_late"] == 0
    assert paced([every_fourth], [], 9, 1)["paced_late"] == 1


def test_a_program_that_is_longer_than_the_period_is_late_each_time(tiny_program):
    protocol = QUICK.model_copy(update={"every_ms": 0.0001})
    processes, ruler = measure_paced(Host("host", "native"), subject(tiny_program), None, protocol)
    assert paced(processes, ruler, 0.0001, 1.0)["paced_late"] == 1.0


def test_a_process_makes_as_many_inferences_as_the_protocol_wants_at_least(tiny_program):
    def step(**changes):
        job = paced_job(subject(tiny_program), subject(tiny_program), QUICK.model_copy(update=changes))
        first, own, second, ruler = job.steps
        assert (first, second) == (Load("program"), Load("reference"))
        assert (own.program, ruler.program) == ("program", "reference")
        assert (own.period_ns, own.runs, own.max_ns) == (ruler.period_ns, ruler.runs, ruler.max_ns)
        assert job.timeout_s > 2 * own.max_ns / 1e9
        return own

    assert step() == Pace("program", "program", 5 * MS, 6, 6 * 5 * MS + 10_000 * MS)
    assert step(min_seconds=0.052).runs == 11
    assert step(every_ms=33.4, min_runs=100).max_ns == 3340 * MS + 10_000 * MS


def test_a_speed_has_what_was_asked_for_and_nothing_else(tiny_program, other_program):
    def measured(protocol):
        programs, ruler = {"a": subject(tiny_program)}, subject(other_program)
        return measure_speeds(Host("host", "native"), programs, ruler, protocol)["a"].speed

    speed = measured(QUICK)
    assert speed.metrics["latency_paced_ms"] > 0
    assert speed.metrics["latency_paced_p90_ms"] >= speed.metrics["latency_paced_ms"]
    assert speed.metrics["latency_paced_ref"] > 0
    assert speed.metrics["paced_slowdown"] == pytest.approx(
        speed.metrics["latency_paced_ms"] / speed.metrics["latency_ms"]
    )
    assert 0 <= speed.metrics["paced_late"] <= 1
    assert (speed.every_ms, speed.paced_samples) == (5, 12)
    assert (speed.sustained_s, speed.sustained_ms) == (None, ())
    assert "latency_sustained_ms" not in speed.metrics
    plain = measured(QUICK.model_copy(update={"every_ms": None}))
    assert (plain.every_ms, plain.paced_samples) == (None, 0)
    assert not set(plain.metrics) & {*PACED, *SUSTAINED}
    assert not set(latencies(plain)) & {*PACED, *SUSTAINED}
    assert set(latencies(speed)) - set(latencies(plain)) == set(PACED)


class Counting:
    """A device that counts: each inference takes one instruction of each kind."""

    name, runtime, untimed = "counter", "none", "it has no clock"

    def run(self, _job):
        raise AssertionError

    def count(self, _job):
        return None, np.ones((10, 4), dtype=np.int64)


def test_a_device_that_counts_says_why_it_has_no_pace(tiny_program):
    protocol = QUICK.model_copy(update={"sustained_s": 60})
    speed = measure_speeds(Counting(), {"a": subject(tiny_program)}, None, protocol)["a"].speed
    asked = (*PACED, *SUSTAINED)
    assert {name: speed.metrics[name] for name in asked} == dict.fromkeys(asked)
    assert {name: speed.reasons[name] for name in asked} == dict.fromkeys(asked, "it has no clock")
    assert speed.metrics["instructions"] == 1
