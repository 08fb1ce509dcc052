import json
import shutil
from datetime import UTC, datetime

import pytest

from kdbench.data.named import dataset_named
from kdbench.elsewhere import LACKING, trained_elsewhere
from kdbench.errors import UsageError
from kdbench.frame import frame, summary
from kdbench.plan import Ground, cases_of, select, stages_of
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
def there(gpus, tmp_path):
    """A copy of it here."""
    return shutil.copytree(gpus, tmp_path / "there")


@pytest.fixture(scope="module")
def stages(suite, cases):
    roles = ("teacher", "student", "lowering")
    ground = Ground({"digits": dataset_named("digits").sha256}, dict.fromkeys(roles, "here"), {"host": "native"})
    return {case.method.label: stages_of(case, suite, ground).network for case in cases}


def edit(path, **changes):
    table = json.loads(path.read_text())
    path.write_text(json.dumps(table | {key: change(table.get(key)) for key, change in changes.items()}))


def retold(folder, name="network.json", **facts):
    """Another file beside the weights, with the hash that the manifest holds of it."""
    edit(folder / name, **{key: lambda _old, new=new: new for key, new in facts.items()})
    digest = file_sha256(folder / name)
    edit(folder / "artefact.json", files=lambda files: files | {name: digest})


def of(there, label):
    """The folder of a network."""
    specs = {path.parent: json.loads(path.read_text())["spec"] for path in there.glob("network/*/*/artefact.json")}
    role, use = ("teacher", "scratch") if label == "teacher" else ("student", label)
    return next(path for path, spec in specs.items() if (spec["role"], spec["method"]["use"]) == (role, use))


def taken(there, stages):
    """What is said of each network: where it lies here, or why it is not there."""
    outcomes = trained_elsewhere(Store(there), Store(there.parent / "here"), stages.values())
    found = {label: outcomes[stage.id] for label, stage in stages.items()}
    return {
        label: getattr(one, "reason", "") or one.folder.relative_to(there.parent).parts[0]
        for label, one in found.items()
    }


HERE = {"teacher": "here", "scratch": "here", "kd": "here"}


def test_a_run_takes_every_network_from_there_and_says_what_trained_it(suite, cases, there, tmp_path):
    events, here = [], Store(tmp_path / "here")
    finished = conducted(suite, cases, here, 1, events.append, there)
    assert not [event for event in events if event.kind == "made" and event.stage == "network"]
    run, _ = run_of(finished, suite, ("kdbench",), datetime.now(UTC))
    assert {record.status for record in run.records} == {"ok"}
    assert {(network.processor, network.torch) for network in run.networks} == {(GPU, "2.99.0+cu130")}
    assert set(frame([run])["trained_on"]) == {GPU}
    assert f"trained on {GPU}" in table_of(summary(frame([run]))).sections[0].source
    shutil.rmtree(there)
    for network in run.networks:
        assert here.find("network", "weights.safetensors", network.checkpoint_sha256).spec["processor"] == GPU


def test_what_lies_there_is_brought_here_and_stays_there(there, stages):
    before = {path: path.read_bytes() for path in there.rglob("*") if path.is_file()}
    assert taken(there, stages) == HERE
    assert {path: path.read_bytes() for path in there.rglob("*") if path.is_file()} == before
    assert taken(there, stages) == HERE


def test_a_network_that_is_not_there_has_failed_and_the_others_have_not(there, stages):
    edit(of(there, "kd") / "artefact.json", spec=lambda spec: spec | {"seed": 7})
    assert taken(there, stages) == HERE | {"kd": LACKING}


def test_a_student_of_another_teacher_is_another_network(there, stages):
    edit(of(there, "kd") / "artefact.json", inputs=lambda inputs: inputs | {"teacher": "0" * 64})
    assert taken(there, stages) == HERE | {"kd": LACKING}


def test_without_its_teacher_a_student_is_of_no_use(there, stages):
    shutil.rmtree(of(there, "teacher"))
    assert taken(there, stages) == {"teacher": LACKING, "scratch": "here", "kd": LACKING}


def test_networks_of_another_version_of_the_training_are_not_taken(there, stages):
    for label in HERE:
        retold(of(there, label), version=VERSION - 1)
    with pytest.raises(UsageError, match=r"^--trained: .*there holds none of these networks; kdbench train makes them"):
        taken(there, stages)


def test_those_that_do_not_say_their_version_are_of_the_third(there, stages, monkeypatch):
    folder = of(there, "kd")
    table = json.loads((folder / "network.json").read_text())
    (folder / "network.json").write_text(json.dumps({key: value for key, value in table.items() if key != "version"}))
    retold(folder)
    both = {"scratch": stages["scratch"], "kd": stages["kd"]}
    assert taken(there, both) == {"scratch": "here", "kd": LACKING}
    monkeypatch.setattr("kdbench.training.network.VERSION", 3)
    for label in ("teacher", "scratch"):
        retold(of(there, label), version=3)
    assert taken(there, both) == {"scratch": "here", "kd": "here"}


def test_two_of_one_network_are_a_question(there, stages):
    first = of(there, "scratch")
    second = shutil.copytree(first, there / "network/ff" / ("f" * 64))
    retold(second, torch="2.98.0")
    with pytest.raises(
        UsageError, match=r"--trained: there are 2 networks to train scratch s0: .*; move one away$"
    ) as caught:
        taken(there, stages)
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)


def cut_off(folder):
    (folder / "artefact.json").write_text((folder / "artefact.json").read_text()[:50])


def without_a_spec(folder):
    (folder / "artefact.json").write_text("[1]")


def damaged(folder):
    (folder / "weights.safetensors").write_bytes(b"half")


def half_copied(folder):
    (folder / "weights.safetensors").unlink()


def untold(folder):
    edit(folder / "artefact.json", files=lambda files: {name: files[name] for name in files if name != "network.json"})


def of_another_architecture(folder):
    retold(folder, "architecture.json", architecture={"name": "/there/evil.py:Net", "options": {}})


@pytest.mark.parametrize("harm", [cut_off, without_a_spec, damaged, half_copied, untold, of_another_architecture])
def test_what_is_not_whole_is_lacking_and_left_as_it_is(there, stages, harm):
    folder = of(there, "scratch")
    harm(folder)
    left = sorted(path.name for path in folder.iterdir())
    assert taken(there, stages) == HERE | {"scratch": LACKING}
    assert sorted(path.name for path in folder.iterdir()) == left


def test_a_plug_in_is_known_by_its_file_and_found_where_it_lies_here(there, stages):
    digest = "d" * 64
    edit(
        of(there, "scratch") / "artefact.json",
        spec=lambda spec: spec | {"method": {"use": "/there/m.py:M", "options": {}, "digest": digest}},
    )
    spec = stages["scratch"].spec
    mine = Stage("network", "train M", spec | {"method": {"use": "m.py:M", "options": {}, "digest": digest}})
    found = trained_elsewhere(Store(there), Store(there.parent / "here"), [mine])[mine.id]
    assert (found.spec["method"]["use"], found.spec["processor"]) == ("m.py:M", GPU)
