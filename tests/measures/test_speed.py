import re
from dataclasses import replace

import numpy as np
import pytest

from kdbench.devices.host import Host
from kdbench.errors import UsageError
from kdbench.measures.speed import measure_speeds
from kdbench.measures.steady import steady
from kdbench.measures.timing_job import SpeedProgram
from kdbench.spec import Protocol


def ns(*values):
    return np.array(values, dtype=np.int64)


def test_the_steady_state_is_of_all_samples_and_the_ratio_of_medians_process_by_process():
    found = steady([ns(1_000_000, 3_000_000), ns(2_000_000, 4_000_000)], [ns(1_000_000), ns(2_000_000)], 2)
    assert found.samples == 4
    assert found.medians_ms == (2.0, 3.0)
    assert found.metrics["latency_ms"] == found.metrics["latency_mean_ms"] == 2.5
    assert found.metrics["latency_p90_ms"] == pytest.approx(3.7)
    assert found.metrics["latency_p99_ms"] is None
    assert found.ratios == (2.0, 1.5)
    assert found.metrics["latency_ref"] == 1.75
    assert found.flags == ("noisy",)


def test_a_mean_is_no_median_and_a_99th_percentile_wants_a_thousand_samples():
    found = steady([ns(*[1_000_000] * 999, 1_001_000_000)], [], 100)
    assert (found.metrics["latency_ms"], found.metrics["latency_mean_ms"]) == (1.0, 2.0)
    assert found.metrics["latency_p99_ms"] == 1.0
    assert found.metrics["latency_ref"] is None
    assert found.flags == ()


def test_a_process_with_too_few_samples_is_flagged():
    assert steady([ns(1, 1, 1), ns(1, 1)], [], 3).flags == ("few-samples",)
    assert steady([ns(1, 1, 1), ns(1, 1, 1)], [], 3).flags == ()


QUICK = Protocol(
    processes=2, warmup_runs=1, warmup_seconds=0, min_runs=20, min_seconds=0, block_ms=0.001, memory_processes=1
)


def test_a_sitting_has_the_reference_twice_and_this_machine_around_each_process(tiny_program, other_program):
    reference = SpeedProgram(other_program.path, other_program.inputs)
    programs = {name: SpeedProgram(tiny_program.path, tiny_program.inputs) for name in "ab"}
    timings = measure_speeds(Host("host", "native"), programs, reference, QUICK)
    sitting = timings["a"].sitting
    assert sitting is timings["b"].sitting
    assert (sitting.device, sitting.threads) == ("host", 1)
    assert len(sitting.reference_ms) == len(sitting.again_ms) == 2
    assert all(0.2 < again / first < 5 for first, again in zip(sitting.reference_ms, sitting.again_ms, strict=True))
    assert sitting.reference_ms != sitting.again_ms
    assert len(sitting.around) == 3
    assert all(each.load is not None for each in sitting.around)
    assert sitting.others >= 0
    assert 0 <= sitting.stolen <= 1


def test_what_is_doubtful_of_a_sitting_is_a_flag_of_each_of_its_speeds(tiny_program, monkeypatch):
    monkeypatch.setattr("kdbench.sitting.STOLEN_LIMIT", -1.0)
    programs = {name: SpeedProgram(tiny_program.path, tiny_program.inputs) for name in "ab"}
    timings = measure_speeds(Host("host", "native"), programs, None, QUICK)
    assert all("stolen" in timing.speed.flags for timing in timings.values())
    assert timings["a"].sitting.aa is None


def test_two_copies_are_told_apart_from_the_first_process_on(tiny_program, other_program, monkeypatch):
    program = {"a": SpeedProgram(tiny_program.path, tiny_program.inputs)}
    reference = SpeedProgram(other_program.path, other_program.inputs)

    def told(reference):
        texts = []
        measure_speeds(Host("host", "native"), program, reference, QUICK, lambda _share, text: texts.append(text))
        return texts[:2]

    assert told(None) == ["process 1 of 2", "process 2 of 2"]
    monkeypatch.setattr("kdbench.sitting.AA_LIMIT", 99.0)
    first, second = told(reference)
    assert first == "process 1 of 2"
    assert re.fullmatch(r"process 2 of 2, A/A \d+\.\d %", second)
    monkeypatch.setattr("kdbench.sitting.AA_LIMIT", -1.0)
    assert told(reference)[1].endswith(" % (noisy)")


def test_only_timing_processes_are_cold_and_only_where_they_are_to_be(tiny_program, monkeypatch):
    jobs = []
    run = Host.run

    def watched(self, job):
        jobs.append(job)
        return run(self, replace(job, cold=False))

    monkeypatch.setattr(Host, "run", watched)
    program = {"a": SpeedProgram(tiny_program.path, tiny_program.inputs)}
    for cold in (False, True):
        jobs.clear()
        measure_speeds(Host("host", "native"), program, None, QUICK.model_copy(update={"cold_cache": cold}))
        assert [job.cold for job in jobs] == [cold, cold, False, False]


def test_a_board_has_no_cold_cache(tiny_program):
    class Board(Host):
        def facts(self):
            return {}

        def revealed(self):
            return ""

    program = {"a": SpeedProgram(tiny_program.path, tiny_program.inputs)}
    with pytest.raises(
        UsageError, match=r"^cold_cache: host runs fresh copies of the programs; only the host has them"
    ):
        measure_speeds(Board("host", "native"), program, None, QUICK.model_copy(update={"cold_cache": True}))


def test_a_board_is_not_told_of_by_this_machine(tiny_program):
    class Board(Host):
        def facts(self):
            return {}

        def revealed(self):
            return ""

    timings = measure_speeds(
        Board("host", "native"), {"a": SpeedProgram(tiny_program.path, tiny_program.inputs)}, None, QUICK
    )
    sitting = timings["a"].sitting
    assert (sitting.around, sitting.stolen, sitting.others, sitting.governor) == ((), None, None, "")
