from dataclasses import dataclass

import numpy as np
import pytest

from kdbench.devices.job import Result
from kdbench.errors import StageError
from kdbench.measures.instructions import ITEMS, PASSES, WARMUP, counted, per_inference
from kdbench.measures.speed import measure_speeds
from kdbench.measures.timing_job import SpeedProgram
from kdbench.spec import Protocol

EACH = [1000, 300, 200, 100]
EXECUTES = ITEMS * (WARMUP + PASSES)


def executes(*, first=0):
    counts = np.array([EACH] * EXECUTES, dtype=np.int64)
    counts[0] += first
    return counts


@dataclass
class Counting:
    """A counter that says what it is told."""

    counts: np.ndarray
    name: str = "counting"
    runtime: str = "native"
    untimed: str = "it has no clock"

    def run(self, job):
        raise AssertionError

    def count(self, job):
        self.job = job
        return Result("native", 1), self.counts


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.pte"
    path.write_bytes(b"program")
    return SpeedProgram(path, (np.zeros((8, 1, 3), np.float32),))


def test_the_first_inference_is_not_of_the_steady_ones():
    assert per_inference(executes(first=500), ITEMS) == {
        "instructions": 1000, "vector_instructions": 300, "loads": 200, "stores": 100,
    }  # fmt: skip


def test_items_that_take_more_or_less_are_averaged():
    counts = executes()
    counts[1::ITEMS] += 1
    assert per_inference(counts, ITEMS)["instructions"] == 1000.5


@pytest.mark.parametrize("column", range(4))
def test_what_is_not_linear_is_refused(column):
    counts = executes()
    counts[-1, column] += 1
    with pytest.raises(
        StageError,
        match=r"^instructions are not linear in the number of inferences: passes of 2 items took 2000, 2000, 200",
    ):
        per_inference(counts, ITEMS)


def test_a_pass_that_is_missing_is_refused():
    with pytest.raises(StageError, match=r"^9 inferences were counted, expected 10$"):
        per_inference(executes()[1:], ITEMS)


def test_a_device_that_counts_is_counted_and_says_why_it_has_no_time(program):
    device = Counting(executes())
    [timing] = measure_speeds(device, {"structure": program}, None, Protocol()).values()
    assert timing.samples == ()
    assert timing.speed.metrics["instructions"] == 1000
    assert "latency_ms" not in timing.speed.metrics
    assert (timing.speed.status, timing.speed.reason) == ("ok", "it has no clock")
    assert device.job.threads == 1
    assert [len(array) for entry in device.job.inputs for array in entry.arrays] == [ITEMS]


def test_a_second_program_of_the_structure_is_counted_too(program):
    speed = counted(
        "structure", Counting(executes()), SpeedProgram(program.path, program.inputs, check=program.path), Protocol()
    )
    assert speed.checked_ratio == 1.0
    assert speed.checked_sha256 == speed.program_sha256


def test_several_threads_are_not_counted(program):
    speed = counted("structure", Counting(executes()), program, Protocol(threads=2))
    assert speed.metrics["instructions"] is None
    assert speed.reason == "instructions are counted with 1 thread, the protocol asks for 2"


def test_counts_that_are_refused_are_a_failed_row(program):
    counts = executes()
    counts[-1] += 1
    [timing] = measure_speeds(Counting(counts), {"structure": program}, None, Protocol()).values()
    assert timing.speed.status == "failed"
    assert "not linear" in timing.speed.reason
