import copy
import json

import pytest
import torch
from safetensors.torch import load_file

from kdbench.catalog import load
from kdbench.data.digits import digits
from kdbench.errors import StageError
from kdbench.measures.compute import count_macs
from kdbench.models.network import build
from kdbench.stage import Stage
from kdbench.store import Store
from kdbench.training import eager, network
from kdbench.training.network import restore
from kdbench.training.processor import processor

RECIPE = {"kind": "fast", "epochs": 1, "batch_size": 128, "lr": 0.05}
TEACHER = {"name": "resnet8", "options": {"widths": [4, 4, 8, 8]}}
STUDENT = {"name": "dscnn", "options": {"width": 4}}

SIMKD = '''
import copy
from torch import nn
from torch.nn import functional
from kdbench.methods.method import Method
from kdbench.models.network import classifier

class SimKD(Method):
    """The student ends in the teacher's classifier."""

    def taps(self, student, teacher):
        return ["stage3"], ["stage3"]

    def prepare(self, setting):
        self.teacher = setting.teacher
        self.projector = nn.Conv2d(setting.student_shapes["stage3"][0], setting.teacher_shapes["stage3"][0], 1)
        return self.projector

    def losses(self, step):
        mine = self.projector(step.student.features["stage3"])
        return {"feature": functional.mse_loss(mine, step.teacher.features["stage3"])}

    def deployed(self, student):
        network = copy.deepcopy(student)
        network.pool = nn.Sequential(copy.deepcopy(self.projector), network.pool)
        last = copy.deepcopy(self.teacher.get_submodule(classifier(self.teacher)))
        setattr(network, classifier(network), last)
        return network
'''


def spec(method="scratch", *, role="student", taught=False, digest="", **changes):
    return {
        "role": role,
        "task": "classification",
        "data": {"name": "digits", "sha256": digits().sha256},
        "architecture": TEACHER if role == "teacher" else STUDENT,
        "teacher": TEACHER if taught else None,
        "recipe": RECIPE,
        "method": {"use": method, "options": {}, "digest": digest},
        "seed": 0,
        "processor": processor(),
    } | changes


def made(store, table, kind="network", **inputs):
    key = Stage(kind, "make", table).key(inputs)
    code = {"network": network, "eager": eager}[kind]
    with store.making(kind, key, table, {name: artefact.key for name, artefact in inputs.items()}) as out:
        code.run(table, inputs, out, lambda _done, _text: None)
    return store.get(kind, key)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def teacher(store):
    return made(store, spec(role="teacher"))


@pytest.fixture(scope="module")
def student(store, teacher):
    return made(store, spec("kd", taught=True), teacher=teacher)


@pytest.fixture(scope="module")
def simkd(store, teacher, tmp_path_factory):
    file = tmp_path_factory.mktemp("plugin") / "simkd.py"
    file.write_text(SIMKD)
    return made(store, spec(f"{file}:SimKD", taught=True, digest="ab" * 32), teacher=teacher)


def weights(artefact):
    return load_file(artefact.path("weights.safetensors"))


def test_a_start_is_where_the_student_begins(store, student):
    """At a learning rate that moves nothing, the weights are those of the start."""
    still = RECIPE | {"lr": 1e-30, "weight_decay": 0.0}
    found = weights(made(store, spec(recipe=still), start=student))
    begun = weights(student)
    assert all(torch.equal(found[name], begun[name]) for name in begun if "running" not in name and "num_" not in name)
    fresh = weights(made(store, spec(recipe=still)))
    assert not torch.equal(fresh["linear.weight"], begun["linear.weight"])


def test_few_labels_take_as_many_steps(store):
    few = made(store, spec(labelled=2)).json("network.json")
    assert (few["steps"], few["student_forwards"]) == (9, 1077)


def test_the_facts_are_those_of_the_network_and_its_training(student):
    facts = student.json("network.json")
    parameters = sum(p.numel() for p in build("dscnn", 10, (1, 8, 8), {"width": 4}).parameters())
    assert facts["params"] == parameters
    assert facts["macs"] > parameters
    assert (facts["epochs"], facts["steps"], facts["threads"], facts["precision"]) == (1, 9, 1, "fp32")
    assert facts["samples_per_s"] == pytest.approx(1077 / facts["seconds"], rel=0.01)
    assert facts["peak_bytes"] >= 50_000_000
    assert facts["teacher_forwards"] == facts["student_forwards"] == facts["backwards"] == 1077
    curves = {curve["name"]: curve for curve in facts["curves"]}
    assert set(curves) == {"label", "kd", "learning_rate", "validation_accuracy"}
    assert all(curve["epochs"] == [1] and len(curve["values"]) == 1 for curve in curves.values())


def test_the_content_is_weights_and_architecture_and_no_time(student, teacher, store):
    again = made(store, spec("kd", taught=True), teacher=teacher)
    assert {name: again.files[name] for name in network.CONTENT} == {
        name: student.files[name] for name in network.CONTENT
    }
    assert set(student.files) == {*network.CONTENT, "network.json"}
    assert again.files["network.json"] != student.files["network.json"]
    assert student.json("architecture.json") == {
        "architecture": STUDENT,
        "method": None,
        "outputs": 10,
        "shape": [1, 8, 8],
    }


def test_a_restored_network_is_the_trained_one_in_eval_mode(student):
    torch.manual_seed(3)
    restored = restore(student)
    after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), after)
    stored = load_file(student.path("weights.safetensors"))
    assert {name: tensor.dtype for name, tensor in restored.state_dict().items()} == {
        n: t.dtype for n, t in stored.items()
    }
    assert all(torch.equal(tensor, stored[name]) for name, tensor in restored.state_dict().items())
    assert not any(module.training for module in restored.modules())


def test_nothing_of_a_methods_networks_is_stored(store, teacher):
    fitnet = made(store, spec("fitnet", taught=True), teacher=teacher)
    assert set(load_file(fitnet.path("weights.safetensors"))) == set(
        build("dscnn", 10, (1, 8, 8), {"width": 4}).state_dict()
    )
    assert fitnet.json("network.json")["extra_params"] > 0


def test_a_method_that_ships_more_is_restored_without_the_teacher(simkd, teacher):
    restored = restore(simkd)
    assert torch.equal(restored.linear.weight, restore(teacher).linear.weight)
    assert restored.pool[0].weight.shape == (8, 4, 1, 1)
    assert simkd.json("architecture.json")["method"] == {
        "use": "SimKD",
        "options": {},
        "digest": "ab" * 32,
        "teacher": TEACHER,
    }
    assert simkd.json("network.json")["params"] == sum(p.numel() for p in restored.parameters())


def test_the_validation_of_such_a_method_is_that_of_what_ships(simkd):
    dataset = digits()
    task = load("tasks", "classification")()
    inputs = task.collate(dataset, torch.from_numpy(dataset.validation.inputs))
    right = (restore(simkd)(inputs).argmax(1).numpy() == dataset.validation.targets).mean()
    curves = {curve["name"]: curve for curve in simkd.json("network.json")["curves"]}
    assert curves["validation_accuracy"]["values"][-1] == pytest.approx(right, rel=1e-6)


def test_the_eager_outputs_are_the_networks_on_the_test_split(store, student):
    import numpy as np

    table = {"task": "classification", "data": spec()["data"]}
    artefact = made(store, table, "eager", network=student)
    outputs, targets = (np.load(artefact.path(name), allow_pickle=False) for name in eager.CONTENT)
    dataset = digits()
    task = load("tasks", "classification")()
    wanted = restore(student)(task.collate(dataset, torch.from_numpy(dataset.test.inputs))).detach().numpy()
    assert outputs.dtype == np.float32
    assert outputs.shape == (540, 10)
    np.testing.assert_allclose(outputs, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(targets, dataset.test.targets)
    assert made(store, table, "eager", network=student).files == artefact.files


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"processor": "z80"}, "this training is planned for the processor 'z80', and runs on"),
        ({"data": {"name": "digits", "sha256": "0" * 64}}, "data set 'digits' is not the one that was planned with"),
    ],
)
def test_a_plan_that_does_not_hold_here_is_refused(tmp_path, changes, message):
    with pytest.raises(StageError, match=message):
        network.run(spec(**changes), {}, tmp_path, lambda _done, _text: None)
    assert not list(tmp_path.iterdir())


def test_a_method_without_its_teacher_is_refused(tmp_path):
    with pytest.raises(StageError, match="method 'kd' needs a teacher, and is given none"):
        network.run(spec("kd", taught=True), {}, tmp_path, lambda _done, _text: None)


def test_a_control_of_compute_is_trained_without_the_teacher_being_there(store):
    table = spec("longer-scratch", taught=True, recipe=RECIPE | {"epochs": 2})
    teacher, student = (build(a["name"], 10, (1, 8, 8), a["options"]) for a in (TEACHER, STUDENT))
    macs = [count_macs(network, torch.zeros(1, 1, 8, 8)) for network in (student, teacher)]
    facts = made(store, table).json("network.json")
    assert facts["epochs"] == round(2 * (1 + macs[1] / (3 * macs[0])))
    assert facts["steps"] == facts["student_steps"] == 9 * facts["epochs"] > 18
    assert (facts["teacher_forwards"], facts["own_forwards"]) == (0, 0)
    assert facts["student_forwards"] == facts["backwards"] == 1077 * facts["epochs"]


def test_running_out_of_memory_is_a_status_of_its_own(tmp_path, monkeypatch):
    def full(*_args, **_keywords):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore")

    monkeypatch.setattr(network.Training, "run", full)
    with pytest.raises(StageError) as error:
        network.run(spec(), {}, tmp_path, lambda _done, _text: None)
    assert (error.value.status, error.value.reason) == (
        "out-of-memory",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
    )


@pytest.mark.parametrize("damage", ["other architecture", "torn file"])
def test_weights_that_do_not_fit_are_one_line(student, tmp_path, damage):
    for name in student.files:
        (tmp_path / name).write_bytes(student.path(name).read_bytes())
    if damage == "torn file":
        (tmp_path / "weights.safetensors").write_bytes(student.path("weights.safetensors").read_bytes()[:100])
    else:
        content = copy.deepcopy(student.json("architecture.json"))
        content["architecture"]["options"]["width"] = 5
        (tmp_path / "architecture.json").write_text(json.dumps(content))
    torn = type(student)(student.kind, student.key, tmp_path, student.spec, student.inputs, student.files)
    with pytest.raises(StageError, match="the stored weights of 'dscnn' cannot be loaded") as error:
        restore(torn)
    assert "\n" not in error.value.reason
