import hashlib

import made_up
import pytest
import torch
from torch import nn

from kdbench.devices.host import host
from kdbench.gate import compare
from kdbench.lowering.xnnpack import FP32
from kdbench.rematch import fought, rematches
from kdbench.side import Side
from kdbench.spec import Protocol
from kdbench.store import Store

KD8 = "digits:resnet8-dscnn/kd/xnnpack-fp32/s0/host"
SCRATCH8 = "digits:resnet8-dscnn/scratch/xnnpack-fp32/s0/host"
OLD, NEW, WIDER = "1" * 64, "2" * 64, "3" * 64


@pytest.fixture(scope="module")
def programs():
    """A small network's program, one with a layer more, and one that takes other inputs."""
    torch.manual_seed(0)
    made = {}
    for name, layers, width in (("old", 1, 8), ("new", 2, 8), ("wider", 1, 9)):
        network = nn.Sequential(*(nn.Linear(width, width) for _ in range(layers))).eval()
        made[name] = FP32.lower(network, (torch.ones(1, width),)).buffer
    return made


@pytest.fixture
def store(tmp_path, programs):
    store = Store(tmp_path / "store")
    for data in programs.values():
        digest = hashlib.sha256(data).hexdigest()
        with store.making("program", digest, {}, {}) as out:
            (out / "program.pte").write_bytes(data)
    return store


def of(run, case, structure, program):
    digest = hashlib.sha256(program).hexdigest()
    return made_up.with_record(run, case, structure=structure, program_sha256=digest)


def sides(tmp_path, base, new):
    return Side(tmp_path, base), Side(tmp_path, new)


def test_only_structures_that_changed_are_run_and_the_gate_tells_what_was_seen(tmp_path, store, programs):
    base = of(made_up.run(broken=False), KD8, OLD, programs["old"])
    new = of(base, KD8, NEW, programs["new"])
    told = []
    found = rematches(*sides(tmp_path, base, new), store, tell=lambda _done, text: told.append(text))
    assert list(found) == [KD8]
    (rematch,) = found.values()
    judged, memory = rematch.speed, rematch.memory
    assert judged.slowdown is not None
    assert judged.slowdown.bouts >= 3
    assert all(KD8 in text for text in told)
    assert told[-1] == f"memory: {KD8}"
    comparison = compare(base, new, rematched=found)
    (verdict,) = [verdict for verdict in comparison.verdicts if verdict.metric == "latency_ms"]
    assert (verdict.case, verdict.verdict, verdict.reason) == (KD8, judged.verdict, judged.reason)
    assert verdict.base == judged.slowdown.base_ns / 1e6
    (verdict,) = [verdict for verdict in comparison.verdicts if verdict.metric == "peak_rss_bytes"]
    assert (verdict.case, verdict.verdict, verdict.reason) == (KD8, memory.verdict, memory.reason)
    assert (verdict.base, verdict.new) == (memory.base_bytes, memory.new_bytes)
    assert verdict.new > 0
    assert comparison.notes[0].startswith("1 structures were run beside the base's, both on the executorch that is ")


def test_no_two_comparisons_draw_the_same_orders(monkeypatch):
    drawn = []
    monkeypatch.setattr("kdbench.rematch.judge", lambda *_, seed, **__: drawn.append(seed) or {})
    for _ in range(3):
        fought(host(), {}, protocol=Protocol())
    assert len(set(drawn)) == 3


def test_programs_run_as_the_new_runs_suite_says(tmp_path, store, programs, monkeypatch):
    asked = []
    monkeypatch.setattr("kdbench.rematch.fought", lambda *_, protocol, **__: asked.append(protocol) or {})
    base = of(made_up.run(broken=False), KD8, OLD, programs["old"])
    new = of(base, KD8, NEW, programs["new"])
    suite = {
        **new.suite,
        "protocol": {**new.suite["protocol"], "threads": 2, "timeout_seconds": 90.0, "of_tomorrow": 1},
    }
    rematches(*sides(tmp_path, base, new.model_copy(update={"suite": suite})), store)
    assert [(protocol.threads, protocol.timeout_seconds) for protocol in asked] == [(2, 90.0)]


def test_nothing_runs_where_nothing_changed(tmp_path, store):
    run = made_up.run()
    assert rematches(*sides(tmp_path, run, run), store) == {}


def test_lost_programs_and_other_inputs_are_incomparable(tmp_path, store, programs):
    base = of(of(made_up.run(broken=False), KD8, OLD, programs["old"]), SCRATCH8, "4" * 64, b"lost")
    new = of(of(base, KD8, WIDER, programs["wider"]), SCRATCH8, "5" * 64, programs["new"])
    found = rematches(*sides(tmp_path, base, new), store)
    told = {case: rematch.speed for case, rematch in found.items()}
    assert {verdict.verdict for each in found.values() for verdict in each.verdicts("case")} == {"incomparable"}
    assert told[KD8].reason == "speed not judged: it takes other inputs than the base's program"
    assert "lacks the program of" in told[SCRATCH8].reason
    assert compare(base, new, rematched=found).exit_code == 4


def test_a_program_that_does_not_run_is_incomparable(tmp_path, store, programs, monkeypatch):
    monkeypatch.setattr("kdbench.rematch.device_named", lambda _name: Failing())
    base = of(made_up.run(broken=False), KD8, OLD, programs["old"])
    (found,) = rematches(*sides(tmp_path, base, of(base, KD8, NEW, programs["new"])), store).values()
    assert (found.speed.verdict, found.speed.reason) == ("incomparable", "speed not judged: signal 11")
    assert (found.memory.verdict, found.memory.reason) == ("incomparable", "memory not judged: signal 11")


def test_where_another_runtime_runs_the_base_every_structure_is_run(tmp_path, store, programs):
    class Elsewhere:
        name, runtime = "host", "native executorch-1.4.0"

        def run(self, job):
            return host().run(job)

    base = of(made_up.run(broken=False), KD8, OLD, programs["old"])
    found = rematches(*sides(tmp_path, base, base), store, runtime=Elsewhere())
    assert len(found) == 7
    assert "in turns, base on native executorch-1.4.0, new on" in found[KD8].speed.reason
    assert {each.speed.verdict for case, each in found.items() if case != KD8} == {"incomparable"}  # programs are lost
    note = compare(base, base, rematched=found, by="base's by another").notes[0]
    assert note == "7 structures were run beside the base's, base's by another"


def test_nothing_is_run_on_a_device_that_counts(tmp_path, store, programs, monkeypatch):
    monkeypatch.setattr("kdbench.rematch.device_named", lambda _name: Counting())
    base = of(made_up.run(broken=False), KD8, OLD, programs["old"])
    new = of(base, KD8, NEW, programs["new"])
    assert rematches(*sides(tmp_path, base, new), store) == {}
    assert compare(base, new).notes[0].startswith("speed and memory of 1 changed structures are not judged")


class Failing:
    def run(self, _job):
        from kdbench.errors import StageError

        raise StageError("signal 11", status="crashed")


class Counting(Failing):
    name = runtime = untimed = ""

    def count(self, _job):
        raise AssertionError("exact counts are in the records")
