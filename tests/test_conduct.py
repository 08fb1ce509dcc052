import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kdbench import stage as stages
from kdbench.conduct import _party, conduct
from kdbench.errors import MeasureError
from kdbench.stage import Stage
from kdbench.store import Artefact, Store
from kdbench.worker import Failed, Order
from kdbench.workers import Workers

SUPPORT = Path(__file__).parent / "support"


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """Stages of kind "toy"; workers import this test's module through PYTHONPATH and a .pth-free sitecustomize."""
    monkeypatch.setitem(stages.MODULES, "toy", "toy_stage")
    monkeypatch.setitem(stages.MODULES, "toyparty", "toy_party")
    monkeypatch.syspath_prepend(str(SUPPORT))
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def toy_stage(text, needs=None, **spec):
    return Stage("toy", f"make {text}", {"text": text, **spec}, needs or {})


def run(store, *stages, jobs=2):
    events = []
    outcomes = conduct(stages, store, jobs, events.append)
    return outcomes, [(event.kind, event.title) for event in events if event.kind != "told"], events


def test_needs_come_first_and_are_handed_over(store):
    a, b = toy_stage("a"), toy_stage("b")
    c = toy_stage("c", {"left": a, "right": b})
    outcomes, told, events = run(store, c)
    assert outcomes[c.id].path("text").read_text() == "abc"
    assert told[-2:] == [("started", "make c"), ("made", "make c")]
    assert sorted(told[:4]) == [("made", "make a"), ("made", "make b"), ("started", "make a"), ("started", "make b")]
    assert {(event.title, event.share, event.text) for event in events if event.kind == "told"} >= {
        ("make c", 0.5, "half way")
    }


def test_a_second_run_finds_everything(store):
    c = toy_stage("c", {"a": toy_stage("a")})
    run(store, c)
    _, told, _ = run(store, c)
    assert told == [("found", "make a"), ("found", "make c")]


def test_a_stage_needed_twice_runs_once(store):
    a = toy_stage("a")
    _, told, _ = run(store, toy_stage("b", {"a": a}), toy_stage("c", {"a": a}))
    assert told.count(("made", "make a")) == 1


def test_times_beside_the_content_change_no_key(store):
    """Two inputs whose CONTENT is equal give one key, whatever else they hold."""
    one, two = toy_stage("a", do="time"), toy_stage("a", do="time", other=1)
    outcomes, _, _ = run(store, one, two)
    first, second = outcomes[one.id], outcomes[two.id]
    assert first.files["seconds"] != second.files["seconds"]
    last = toy_stage("z")
    assert last.key({"a": first}) == last.key({"a": second})


def test_the_key_knows_version_spec_inputs_and_plug_in(store, monkeypatch):
    outcomes, _, _ = run(store, a := toy_stage("a"), b := toy_stage("b"))
    key = toy_stage("z").key({"in": outcomes[a.id]})
    assert toy_stage("z").key({"in": outcomes[b.id]}) != key
    assert toy_stage("y").key({"in": outcomes[a.id]}) != key
    monkeypatch.setattr("toy_stage.VERSION", 2)
    assert toy_stage("z").key({"in": outcomes[a.id]}) != key
    here = toy_stage("z", method={"use": "a/m.py:M", "digest": "1"}).key({})
    assert toy_stage("z", method={"use": "b/m.py:M", "digest": "1"}).key({}) == here
    assert toy_stage("z", method={"use": "a/m.py:M", "digest": "2"}).key({}) != here


@pytest.mark.parametrize(
    ("do", "status", "reason"),
    [
        ("fail", "parity-failed", "it would not"),
        ("usage", "failed", "no such stage"),
        ("bug", "failed", "ValueError: a bug of two lines (toy_stage.py:"),
        ("die", "crashed", "the worker died of signal 11 (SIGSEGV)"),
        ("memory", "out-of-memory", "out of memory"),
    ],
)
def test_what_fails_is_told_and_stops_only_what_it_fed(store, do, status, reason):
    bad = toy_stage("bad", do=do)
    fed, other = toy_stage("fed", {"bad": bad}), toy_stage("other")
    outcomes, told, _ = run(store, fed, other)
    for stage in (bad, fed):
        failed = outcomes[stage.id]
        assert isinstance(failed, Failed)
        assert (failed.status, failed.reason[: len(reason)]) == (status, reason)
    assert isinstance(outcomes[other.id], Artefact)
    assert [title for kind, title in told if kind == "failed"] == ["make bad"]
    assert ("skipped", "make fed") in told
    assert store.get("toy", bad.key({})) is None
    assert leftovers(store) == []


def test_a_crash_is_not_blamed_on_what_another_stage_said(store):
    bug, dead = toy_stage("bug", do="bug"), toy_stage("dead", do="die")
    outcomes, _, _ = run(store, bug, dead, jobs=1)
    assert outcomes[dead.id].reason == "the worker died of signal 11 (SIGSEGV)"


def test_a_crashed_worker_is_replaced(store):
    bad = [toy_stage(f"bad{i}", do="die") for i in range(2)]
    outcomes, _, _ = run(store, *bad, good := toy_stage("good"), jobs=1)
    assert isinstance(outcomes[good.id], Artefact)


def test_an_unwritable_store_ends_the_session(store):
    (store.root).mkdir()
    (store.root / "tmp").write_text("a file where a folder must be")
    with pytest.raises(MeasureError, match="cannot write the store"):
        run(store, toy_stage("a"))


def test_interrupting_leaves_nothing_behind(tmp_path):
    """Ctrl-C while a stage runs: the process ends, its workers too, and the store holds no half-made artefact."""
    code = (
        "import sys, pathlib; from kdbench import stage; stage.MODULES['toy'] = 'toy_stage'\n"
        "from kdbench.conduct import conduct; from kdbench.store import Store\n"
        "if __name__ == '__main__':\n"
        "    hang = stage.Stage('toy', 'hang', {'text': 'x', 'do': 'hang'})\n"
        "    conduct([hang], Store(pathlib.Path(sys.argv[1])), 1, lambda event: None)\n"
    )
    script = tmp_path / "hang.py"
    script.write_text(code)
    root = tmp_path / "store"
    process = subprocess.Popen([sys.executable, script, root], stderr=subprocess.PIPE, text=True)
    while not (root / "hanging").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(2)
    _, errors = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in errors
    assert leftovers(Store(root)) == []
    assert not _children_named(str(script))


def test_a_worker_that_has_to_be_killed_leaves_nothing_behind(store, monkeypatch):
    monkeypatch.setattr("kdbench.workers._PATIENCE_S", 0.2)
    stage = toy_stage("deaf", do="deaf")
    order = Order(stage.id, stage.kind, "toy_stage", "key", stage.spec, {})
    with Workers(store, 1) as workers:
        workers.start([order])
        while not (store.root / "hanging").exists():
            time.sleep(0.01)
        assert len(leftovers(store)) == 1
    assert leftovers(store) == []


def party_stage(text, party="p", **spec):
    return Stage("toyparty", f"make {text}", {"text": text, **spec}, {}, party)


def test_stages_of_a_party_are_made_together_and_split_over_the_workers(store):
    stages = [party_stage(text) for text in "abcd"] + [party_stage("e", "q")]
    alone, _, _ = run(store, *stages, jobs=1)
    assert [alone[stage.id].path("text").read_text() for stage in stages] == [*["4: a b c d"] * 4, "1: e"]
    stages = [party_stage(text) for text in "fghi"]
    outcomes, told, _ = run(store, *stages, jobs=2)
    assert [outcomes[stage.id].path("text").read_text() for stage in stages] == [*["2: f g"] * 2, *["2: h i"] * 2]
    assert sorted(kind for kind, _ in told) == [*["made"] * 4, *["started"] * 4]
    again, told, _ = run(store, *stages, party_stage("new"), jobs=1)
    assert sorted(kind for kind, _ in told) == [*["found"] * 4, "made", "started"]
    assert len(again) == 5


def test_the_last_party_is_split_where_another_worker_is_about_to_end():
    stages = [(party_stage(text, party), None) for text, party in ("ap", "bp", "cp", "dq")]

    def texts(under_way, jobs=2):
        return "".join(stage.spec["text"] for stage, _ in _party(stages, under_way, jobs))

    assert (texts(0.0), texts(2.5), texts(0.0, jobs=1), texts(0.0, jobs=9)) == ("ab", "abc", "abc", "a")
    plain = [(toy_stage("x"), None), (toy_stage("y"), None)]
    assert _party(plain, 3.0, 2) == plain[:1]
    assert _party([*plain, *stages], 0.0, 1) == stages[:3]


def test_one_of_a_party_that_fails_stops_no_other(store):
    bad, good = party_stage("bad", do="fail"), party_stage("good")
    outcomes, _, _ = run(store, bad, good, jobs=1)
    assert (outcomes[bad.id].status, outcomes[bad.id].reason) == ("failed", "it would not")
    assert outcomes[good.id].path("text").read_text() == "2: bad good"
    assert leftovers(store) == []


def test_a_dead_worker_takes_down_its_party(store):
    bad, good, other = party_stage("bad", do="die"), party_stage("good"), party_stage("other", "q")
    outcomes, _, _ = run(store, bad, good, other, jobs=1)
    assert [outcomes[stage.id].status for stage in (bad, good)] == ["crashed", "crashed"]
    assert isinstance(outcomes[other.id], Artefact)
    assert leftovers(store) == []


def leftovers(store):
    return list((store.root / "tmp").iterdir())


def _children_named(text):
    if not os.path.isdir("/proc"):
        return []
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if text in words:
            found.append(words)
    return found
