import json
import re
import shutil
from datetime import UTC, datetime

import pytest

from kdbench.elsewhere import trained_elsewhere
from kdbench.errors import UsageError
from kdbench.frame import frame, summary
from kdbench.plan import cases_of, select
from kdbench.rows import run_of
from kdbench.session import conducted, students
from kdbench.stage import Stage
from kdbench.store import Store, file_sha256
from kdbench.suite_file import read_suite, suite_path
from kdbench.tables import table_of
from kdbench.training.network import VERSION

GPU = "cuda Made-Up 100 sm_90"


@pytest.fixture(scope="module")
def suite():
    return read_suite(suite_path("tiny"))


@pytest.fixture(scope="module")
def cases(suite):
    return select(cases_of(suite), "target=xnnpack-fp32")


@pytest.fixture(scope="module")
def gpus(suite, cases, tmp_path_factory):
    """A store with the suite's networks, as a machine with a GPU would have left them."""
    root = tmp_path_factory.mktemp("gpu") / "store"
    students(suite, cases, Store(root), 1, lambda _event: None)
    for manifest in root.glob("network/*/*/artefact.json"):
        edit(manifest, spec=lambda spec: spec | {"processor": GPU, "recipe": spec["recipe"] | {"device": "cuda"}})
        retold(manifest.parent, processor=GPU, device="cuda", torch="2.99.0+cu130")
    return root


@pytest.fixture
def filled(gpus, tmp_path):
    """A copy of it here."""
    return shutil.copytree(gpus, tmp_path / "elsewhere")


def edit(path, **changes):
    table = json.loads(path.read_text())
    path.write_text(json.dumps(table | {key: change(table[key]) for key, change in changes.items()}))


def retold(folder, **facts):
    """Other facts of a training, with the hash that the manifest holds of them."""
    edit(folder / "network.json", **{key: lambda _old, new=new: new for key, new in facts.items()})
    digest = file_sha256(folder / "network.json")
    edit(folder / "artefact.json", files=lambda files: files | {"network.json": digest})


def test_a_run_takes_every_network_from_there_and_says_what_trained_it(suite, cases, filled, tmp_path):
    events = []
    finished = conducted(suite, cases, Store(tmp_path / "here"), 1, events.append, filled)
    networks = {finished.artefact(finished.stages[case.id].network).folder for case in cases}
    assert len(networks) == 3
    assert all(folder.is_relative_to(filled) for folder in networks)
    assert not [event for event in events if event.kind == "made" and event.stage == "network"]
    run, _ = run_of(finished, suite, ("kdbench",), datetime.now(UTC))
    assert {record.status for record in run.records} == {"ok"}
    assert {(network.processor, network.torch) for network in run.networks} == {(GPU, "2.99.0+cu130")}
    assert set(frame([run])["trained_on"]) == {GPU}
    assert f"trained on {GPU}" in table_of(summary(frame([run]))).sections[0].source


def refused(suite, cases, root):
    with pytest.raises(UsageError) as caught:
        conducted(suite, cases, Store(root.parent / "here"), 2, lambda _event: None, root)
    return str(caught.value)


def test_what_is_not_there_is_told_before_anything_is_made(suite, cases, filled):
    student = next(path for path in filled.glob("network/*/*/artefact.json") if named(path, "kd"))
    edit(student, spec=lambda spec: spec | {"seed": 7})
    what = f"--trained: {filled} lacks 1 of 3 networks, such as that to train kd s0; kdbench train tiny --store ..."
    assert refused(suite, cases, filled).startswith(what)
    assert not (filled.parent / "here").exists()


def named(path, method):
    return json.loads(path.read_text())["spec"]["method"]["use"] == method


def test_a_student_of_another_teacher_is_another_network(suite, cases, filled):
    student = next(path for path in filled.glob("network/*/*/artefact.json") if named(path, "kd"))
    edit(student, inputs=lambda inputs: inputs | {"teacher": "0" * 64})
    assert "lacks 1 of 3 networks, such as that to train kd s0" in refused(suite, cases, filled)


def test_a_lost_teacher_is_told_with_its_students(suite, cases, filled):
    teacher = next(
        path
        for path in filled.glob("network/*/*/artefact.json")
        if json.loads(path.read_text())["spec"]["role"] == "teacher"
    )
    teacher.unlink()
    assert "lacks 2 of 3 networks, such as that to train teacher" in refused(suite, cases, filled)


def test_networks_of_another_version_of_the_training_are_not_taken(suite, cases, filled):
    for manifest in filled.glob("network/*/*/artefact.json"):
        retold(manifest.parent, version=VERSION - 1)
    assert "lacks 3 of 3 networks" in refused(suite, cases, filled)


def test_two_of_one_network_are_a_question(suite, cases, filled):
    first = next(path.parent for path in filled.glob("network/*/*/artefact.json") if named(path, "scratch"))
    second = shutil.copytree(first, filled / "network/ff" / ("f" * 64))
    retold(second, torch="2.98.0")
    message = refused(suite, cases, filled)
    assert re.search(
        r"has 2 networks to train \S+ \S+: one by cuda Made-Up 100 sm_90 with torch 2\.9.* and one", message
    )


def test_a_plug_in_is_known_by_its_file_and_not_by_its_place(filled):
    spec = json.loads(next(filled.glob("network/*/*/artefact.json")).read_text())["spec"]
    assert spec["method"]["digest"] == ""
    there = Stage("network", "train", spec | {"method": {"use": "/there/m.py:M", "options": {}, "digest": "d" * 64}})
    manifest = next(filled.glob("network/*/*/artefact.json"))
    edit(manifest, spec=lambda _spec: dict(there.spec), inputs=lambda _inputs: {})
    here = Stage("network", "train", there.spec | {"method": {"use": "m.py:M", "options": {}, "digest": "d" * 64}})
    assert trained_elsewhere(filled, [here], "tiny")[here.id].folder == manifest.parent
