"""Cases that no device here can run, from suite to row: judged by a stand-in, or lowered and sized alone."""

from datetime import UTC, datetime

import pytest

from kdbench.frame import frame, summary
from kdbench.plan import cases_of, select
from kdbench.rows import run_of
from kdbench.session import conducted, timed
from kdbench.store import Store
from kdbench.suite_file import read_suite
from kdbench.tables import table_of

SUITE = """
version = 1
data = "digits"
seeds = [0]
targets = ["portable-fp32"]
[[pairs]]
teacher = "resnet8"
student = "dscnn"
student_options = { width = 4 }
[methods]
scratch = {}
[recipes.teacher]
kind = "fast"
epochs = 1
batch_size = 128
lr = 0.05
[recipes.student]
kind = "fast"
epochs = 2
batch_size = 128
lr = 0.05
[protocol]
processes = 1
min_runs = 20
min_seconds = 0.01
memory_processes = 1
"""

CHIP = """
import dataclasses

from kdbench.lowering.portable import Portable

class Elsewhere(Portable):
    def missing_on(self, device):
        return f"{device} has no such chip"

    def lower(self, network, example, calibration=()):
        lowered = super().lower(network, example, calibration)
        if not self.stand_in:
            return lowered
        off = 1000.0 if self.name == "wrong" else 0.0
        return dataclasses.replace(lowered, reference=lambda *inputs: lowered.exported(*inputs) + off)

ALONE = Elsewhere("alone", "fp32")
JUDGED = Elsewhere("judged", "fp32", stand_in="a model of the chip")
WRONG = Elsewhere("wrong", "fp32", stand_in="a model of another chip")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("chip")
    (place / "chip.py").write_text(CHIP)
    (place / "small.toml").write_text(SUITE)
    targets = [f"{place}/chip.py:{name}" for name in ("ALONE", "JUDGED", "WRONG")]
    suite = read_suite(place / "small.toml").model_copy(update={"targets": ("portable-fp32", *targets)})
    cases = select(cases_of(suite), "method=scratch")
    waiting = conducted(suite, cases, Store(place / "store"), 2, lambda _event: None)
    finished = timed(waiting, lambda _event: None)
    return run_of(finished, suite, ("kdbench", "run", "small"), datetime.now(UTC))[0]


def of(run, target):
    return next(record for record in run.records if record.target.endswith(target))


def test_what_nothing_judges_has_its_size_and_says_why_it_has_no_more(run):
    alone, here = of(run, "ALONE"), of(run, "portable-fp32")
    assert (alone.status, alone.reason) == ("ok", "")
    assert alone.metrics["size_bytes"] == here.metrics["size_bytes"]
    assert alone.details["parity"]["of"] == "graph"
    for metric in ("accuracy", "agreement", "latency_ms", "peak_rss_bytes"):
        assert alone.metrics[metric] is None
        assert alone.reasons[metric] == "host has no such chip"


def test_a_stand_in_judges_the_whole_test_set_and_is_named(run):
    judged, here = of(run, "JUDGED"), of(run, "portable-fp32")
    assert judged.metrics["accuracy"] == here.metrics["accuracy"]
    assert judged.details["parity"]["of"] == "reference"
    assert judged.metrics["latency_ms"] is None
    assert judged.reasons["latency_ms"] == "host has no such chip"
    assert judged.notes[0].endswith("chip.py:JUDGED: judged by a model of the chip, not run")
    table = table_of(summary(frame([run])))
    assert any("judged by a model of the chip" in note for note in table.notes)
    assert "host has no such chip" in table.notes


def test_a_stand_in_that_says_something_else_is_refused_as_a_program_would_be(run):
    wrong = of(run, "WRONG")
    assert wrong.status == "parity-failed"
    assert wrong.reason.startswith("the program is not its graph")
