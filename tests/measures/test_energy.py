import threading
import time

import pytest

from kdbench.devices.host import Host
from kdbench.errors import StageError
from kdbench.measures import energy as module
from kdbench.measures.energy import energy_mj, per_inference
from kdbench.measures.speed import measure_speeds
from kdbench.measures.timing_job import SpeedProgram
from kdbench.meters import LOG_VARIABLE, MeterError, Window
from kdbench.spec import Protocol

IDLE = Window(20.0, 5.0)
START = Window(2.5, 0.5)


def test_idle_power_and_the_start_of_the_process_are_subtracted():
    # 60 J in 5.5 s: of the 57.5 J in 5 s more than the start took, idle power takes 20 J.
    assert per_inference(IDLE, START, Window(60.0, 5.5), IDLE, 1000) == pytest.approx(37.5)


def test_idle_power_is_the_mean_of_before_and_after():
    assert per_inference(Window(10.0, 5.0), START, Window(60.0, 5.5), Window(30.0, 5.0), 1000) == pytest.approx(37.5)


@pytest.mark.parametrize(
    ("busy", "later", "inferences"),
    [
        (Window(22.0, 5.5), IDLE, 1000),  # less than idle
        (Window(60.0, 5.5), Window(60.0, 5.0), 1000),  # idle power moved by 8 W meanwhile
        (Window(60.0, 5.5), IDLE, 0),
    ],
)
def test_what_cannot_be_told_from_the_idle_machine_is_no_joule(busy, later, inferences):
    said = per_inference(IDLE, START, busy, later, inferences)
    assert isinstance(said, str)
    assert "no more than idle power changed by meanwhile" in said


class Steady:
    """A meter of a machine that takes 2 W, and 12 W where something runs."""

    def __init__(self):
        self.windows = []

    def during(self, work):
        start = time.monotonic()
        work()
        seconds = time.monotonic() - start
        idle = len(self.windows) in (0, 3)
        self.windows.append(Window((2 if idle else 12) * seconds, seconds))
        return self.windows[-1]


def test_a_real_program_runs_for_a_window(tiny_program, monkeypatch):
    monkeypatch.setattr(module, "WINDOW_S", 0.3)
    meter = Steady()
    runs = []
    run = Host.run

    def watched(self, job):
        result = run(self, job)
        runs.append(len(result.samples["program"]))
        return result

    monkeypatch.setattr(Host, "run", watched)
    found = energy_mj(Host("host", "native"), SpeedProgram(tiny_program.path, tiny_program.inputs), meter, Protocol())
    idle, start, busy, later = meter.windows
    assert busy.seconds > 0.3
    assert runs[0] == 1
    assert runs[1] > 10
    assert found == per_inference(idle, start, busy, later, runs[1] - 1)
    assert 0 < found < 1000


def test_a_program_that_fails_is_a_failure_and_a_meter_that_fails_a_reason(tiny_program, broken_program, monkeypatch):
    monkeypatch.setattr(module, "WINDOW_S", 0.0)
    with pytest.raises(StageError):
        energy_mj(
            Host("host", "native"), SpeedProgram(broken_program.path, broken_program.inputs), Steady(), Protocol()
        )

    class Silent:
        def during(self, work):
            raise MeterError("it is silent")

    program = SpeedProgram(tiny_program.path, tiny_program.inputs)
    assert energy_mj(Host("host", "native"), program, Silent(), Protocol()) == "it is silent"


QUICK = {"processes": 1, "warmup_runs": 1, "warmup_seconds": 0, "min_runs": 5, "min_seconds": 0, "memory_processes": 1}


def measured(tiny, **protocol):
    program = SpeedProgram(tiny.path, tiny.inputs)
    [timing] = measure_speeds(Host("host", "native"), {"a": program}, None, Protocol(**QUICK, **protocol)).values()
    return timing.speed


def test_without_a_meter_there_is_no_joule_and_a_reason(tiny_program, monkeypatch):
    monkeypatch.delenv(LOG_VARIABLE, raising=False)
    speed = measured(tiny_program, energy="meter")
    assert speed.metrics["energy_mj"] is None
    assert speed.reasons["energy_mj"].startswith("no meter is named: ")
    assert "energy_mj" not in measured(tiny_program).metrics


def test_a_meters_log_gives_millijoules(tiny_program, monkeypatch, tmp_path):
    """A log written meanwhile: 2 W, and 100 W from the second window on until the third is over."""
    monkeypatch.setattr(module, "WINDOW_S", 0.4)
    log = tmp_path / "power.csv"
    log.write_text("seconds,watts\n")
    monkeypatch.setenv(LOG_VARIABLE, str(log))
    running = []
    run = Host.run

    def watched(self, job):
        running.append(job)
        try:
            return run(self, job)
        finally:
            running.pop()

    monkeypatch.setattr(Host, "run", watched)
    over = threading.Event()

    def write():
        while not over.wait(0.01):
            with log.open("a") as file:
                file.write(f"{time.time()},{100.0 if running else 2.0}\n")

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.1)
    try:
        speed = measured(tiny_program, energy="meter")
    finally:
        over.set()
        writer.join()
    assert speed.reasons == {}
    assert speed.metrics["energy_mj"] > 0
