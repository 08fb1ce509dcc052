"""One real session through everything, and what it leaves."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest

from kdbench.conduct import Event
from kdbench.errors import UsageError
from kdbench.plan import cases_of, select
from kdbench.records import read_items, read_run, read_samples
from kdbench.results import save
from kdbench.rows import run_of
from kdbench.session import conducted, timed
from kdbench.store import Store
from kdbench.suite_file import read_suite, suite_path

SUITE = """
version = 1
data = "digits"
seeds = [0]
targets = ["xnnpack-fp32", "portable-fp32"]
[[pairs]]
teacher = "resnet8"
student = "dscnn"
[methods]
kd = { tuned = { suite = "digits v1", trials = 20, seconds = 61.4 } }
broken = { use = "BROKEN" }
[recipes.teacher]
kind = "fast"
epochs = 1
batch_size = 128
lr = 0.05
[recipes.student]
kind = "fast"
epochs = 1
batch_size = 128
lr = 0.05
[protocol]
processes = 2
min_runs = 20
min_seconds = 0.01
memory_processes = 1
"""

BROKEN = '''
from kdbench.methods.method import Method

class Broken(Method):
    """A method with a bug."""

    def losses(self, step):
        return {"label": step.label_loss(), "nothing": step.student.features["no such stage"].mean()}
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("session")
    (place / "broken.py").write_text(BROKEN)
    (place / "small.toml").write_text(SUITE.replace("BROKEN", f"{place}/broken.py:Broken"))
    return place


@pytest.fixture(scope="module")
def suite(place):
    return read_suite(place / "small.toml")


def session(place, suite, cases):
    events = []
    return timed(conducted(suite, cases, Store(place / "store"), 2, events.append), events.append), events


@pytest.fixture(scope="module")
def first(place, suite):
    finished, events = session(place, suite, cases_of(suite))
    return finished, events


@pytest.fixture(scope="module")
def run(first, suite):
    return run_of(first[0], suite, ("kdbench", "run", "small"), datetime.now(UTC))


def test_a_protocol_that_a_device_cannot_keep_is_refused_before_anything_is_trained(suite, tmp_path):
    protocol = suite.protocol.model_copy(update={"cold_cache": True})
    cold = suite.model_copy(update={"devices": ("host", "ssh:board"), "protocol": protocol})
    with pytest.raises(UsageError, match=r"^cold_cache: ssh:board runs fresh copies of the programs; only the host "):
        conducted(cold, cases_of(cold), Store(tmp_path), 1, lambda event: pytest.fail(f"it began: {event}"))


def record(run, case):
    return next(record for record in run[0].records if case in record.case)


def test_every_case_is_a_row_and_the_broken_method_alone_failed(run, suite):
    records = run[0].records
    assert [r.case for r in records] == [case.id for case in cases_of(suite)]
    assert {r.method for r in records if r.status != "ok"} == {"broken"}
    failed = record(run, "/broken/xnnpack-fp32")
    assert failed.reason.startswith("KeyError: 'no such stage' (broken.py:")
    assert set(failed.metrics.values()) == {None}
    assert set(failed.reasons) == set(failed.metrics)


def test_a_row_of_searched_options_says_so(run):
    told = "options as declared, chosen among 20 trials by validation on digits v1, 61 s of training"
    assert told in record(run, "/kd/xnnpack-fp32").notes
    assert all("trials" not in note for note in record(run, "/teacher/xnnpack-fp32").notes)


def test_figures_belong_together(run):
    student, teacher = record(run, "/kd/xnnpack-fp32"), record(run, "/teacher/xnnpack-fp32")
    for row in (student, teacher):
        metrics = row.metrics
        assert metrics["accuracy_drop"] == pytest.approx(metrics["accuracy_eager"] - metrics["accuracy"])
        assert 0 <= metrics["accuracy"] <= 1
        assert metrics["download_bytes"] < metrics["size_bytes"]
        assert metrics["latency_ms"] <= metrics["latency_p90_ms"]
        assert metrics["latency_ref"] > 0
    assert student.metrics["params"] < teacher.metrics["params"] / 50
    assert student.metrics["train_cost"] == 1.0
    assert teacher.metrics["agreement"] is None
    assert "no teacher" in teacher.reasons["agreement"]
    assert student.details["test_items"] == 540
    portable = record(run, "/kd/portable-fp32")
    assert portable.metrics["delegated"] == 0
    assert student.metrics["delegated"] == 1
    assert portable.metrics["accuracy"] == student.metrics["accuracy"]
    assert portable.structure != student.structure
    assert portable.metrics["runtime_bytes"] > student.metrics["runtime_bytes"] > 1e6


def test_the_run_says_what_else_went_on_on_its_device(run):
    (sitting,) = run[0].sittings
    assert sitting.device == "host"
    assert sitting.aa >= 0
    assert len(sitting.around) == len(sitting.reference_ms) + 1
    assert set(sitting.flags) <= set(record(run, "/kd/xnnpack-fp32").flags)


def test_what_the_machine_trained_itself_names_no_other_processor(run):
    assert {(network.processor, network.torch) for network in run[0].networks} == {("", "")}


def test_accuracy_is_that_of_the_kept_items(run):
    for case, items in run[1].items():
        assert record(run, case).metrics["accuracy"] == items.correct.mean()


def test_the_run_survives_the_disk(place, run, first):
    folder = save(run[0], first[0].samples(), run[1], place / "results")
    assert read_run(folder) == run[0]
    assert set(read_items(folder)) == set(run[1])
    samples = read_samples(folder)
    for speed in run[0].speeds:
        kept = [samples[f"{speed.structure}/{speed.device}/{process}"] for process in range(2)]
        assert all(len(process) <= 2000 for process in kept)
        assert sum(map(len, kept)) <= speed.samples
        medians = sorted(np.median(process) / 1e6 for process in kept)  # a busy machine may slow one of the two
        assert 0.8 * medians[0] < speed.metrics["latency_ms"] < 1.2 * medians[-1]
    assert str(place) not in (folder / "run.json").read_text()
    assert json.loads((folder / "run.json").read_text())["partial"] is False


def test_a_second_session_makes_nothing_but_measures_anew(place, suite, first, run):
    cases = select(cases_of(suite), "method=kd,method=teacher")
    again, events = session(place, suite, cases)
    assert again.made == {}
    assert {event.kind for event in events} == {"found", "measuring"}
    assert {speed.speed.structure for speed in again.speeds.values()} == {speed.structure for speed in run[0].speeds}
    medians = [
        [timing.speed.process_medians_ms for timing in finished.speeds.values()] for finished in (first[0], again)
    ]
    assert medians[0] != medians[1]


def test_events_count_up_to_all(first):
    finished, events = first
    settled = [event for event in events if event.kind in {"found", "made", "failed", "skipped"}]
    assert [event.done for event in settled] == list(range(1, len(settled) + 1))
    assert {event.total for event in events} == {len(finished.outcomes)}
    assert all(isinstance(event, Event) and 0 <= event.share <= 1 for event in events)
    failures = [event.title for event in settled if event.kind == "failed"]
    assert failures == ["train broken s0"]


def test_a_selection_is_a_partial_run(place, suite):
    finished, _ = session(place, suite, select(cases_of(suite), "method=kd,target=xnnpack-fp32"))
    run, _ = run_of(finished, suite, (), datetime.now(UTC))
    assert run.partial
    assert [record.method for record in run.records] == ["kd"]


def test_shipped_suites_can_be_planned():
    assert cases_of(read_suite(suite_path("digits"), quick=True))


def test_students_that_begin_where_labels_left_them_are_rows_taught_or_not(tmp_path):
    again = SUITE.replace('student = "dscnn"', 'student = "dscnn"\nstart = "scratch"').replace(', "portable-fp32"', "")
    again = again.replace('kd = { tuned = { suite = "digits v1", trials = 20, seconds = 61.4 } }', "kd = {}")
    (tmp_path / "again.toml").write_text(again.replace('broken = { use = "BROKEN" }', "scratch = {}"))
    suite = read_suite(tmp_path / "again.toml")
    finished = conducted(suite, cases_of(suite), Store(tmp_path / "store"), 2, lambda _event: None)
    run = run_of(finished, suite, ("kdbench", "run", "again"), datetime.now(UTC))[0]
    assert [(record.method, record.status) for record in run.records] == [
        ("teacher", "ok"), ("kd", "ok"), ("scratch", "ok"),
    ]  # fmt: skip
    teacher, kd, scratch = run.networks
    assert (kd.teacher_sha256, scratch.teacher_sha256) == (teacher.checkpoint_sha256, "")
