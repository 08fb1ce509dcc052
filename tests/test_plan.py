import re
from dataclasses import replace
from pathlib import Path

import pytest

from kdbench import catalog
from kdbench.catalog import entries
from kdbench.errors import UsageError
from kdbench.plan import Ground, cases_of, select, stages_of
from kdbench.suite_file import read_suite, suite_path
from kdbench.variant import with_devices, with_methods, with_seeds, with_train_device

GROUND = Ground(
    data={"digits": "d" * 64},
    processors=dict.fromkeys(("teacher", "student", "lowering"), "cpu"),
    runtimes={"host": "native"},
)


@pytest.fixture(scope="module")
def digits():
    return read_suite(suite_path("digits"))


def test_cases_are_the_product_with_the_teacher_first(digits):
    cases = cases_of(digits)
    assert len(cases) == (1 + len(digits.methods) * 3) * 2
    assert cases[0].id == "digits:resnet8-dscnn/teacher/xnnpack-fp32/s0/host"
    assert cases[0].is_teacher
    assert len({case.id for case in cases}) == len(cases)


@pytest.mark.parametrize("path", sorted((Path(__file__).parent.parent / "suites").glob("*.toml")), ids=lambda p: p.stem)
def test_every_suite_that_ships_can_be_planned(path):
    """Without its data, and where some of its targets cannot be lowered: networks, programs and who teaches whom."""
    suite = read_suite(path)
    data = {pair.data: "d" * 64 for pair in suite.pairs}
    ground = replace(GROUND, data=data, runtimes=dict.fromkeys(suite.devices, "native"))
    cases = cases_of(suite)
    planned = {case.id: stages_of(case, suite, ground) for case in cases}
    assert len(planned) == len(cases)
    taught = {case.id for case in cases if "teacher" in planned[case.id].network.needs}
    assert taught
    assert not any(case.is_teacher for case in cases if case.id in taught)


def test_a_selection_is_exact(digits):
    cases = cases_of(digits)
    kd = select(cases, "method=kd,target=xnnpack-int8")
    assert {(case.method.label, case.target) for case in kd} == {("kd", "xnnpack-int8")}
    assert len(kd) == 3
    assert len(select(cases, "method=kd, method=dkd ,seed=0,target=xnnpack-fp32")) == 2


@pytest.mark.parametrize(
    ("only", "line"),
    [
        ("kd", "--only 'kd': expected AXIS=VALUE such as method=kd"),
        ("method=", "--only 'method=': expected AXIS=VALUE such as method=kd"),
        ("methods=kd", "--only 'methods=kd': unknown axis 'methods'; did you mean 'method'?"),
        ("method=kdd", "--only 'method=kdd': this suite has no method 'kdd'; did you mean 'kd' or 'dkd'?"),
        ("seed=9", "--only 'seed=9': this suite has no seed '9'; known: 0, 1, 2"),
        ("method=teacher,seed=1", "--only 'method=teacher,seed=1' leaves no case of this suite"),
    ],
)
def test_a_bad_selection_is_one_line(digits, only, line):
    with pytest.raises(UsageError, match="^" + re.escape(line)):
        select(cases_of(digits), only)


def stages(suite, **axes):
    case = next(c for c in cases_of(suite) if all(c.axes[axis] == value for axis, value in axes.items()))
    return stages_of(case, suite, GROUND)


def test_stages_are_shared_where_they_are_equal(digits):
    fp32 = stages(digits, method="kd", target="xnnpack-fp32")
    int8 = stages(digits, method="kd", target="xnnpack-int8")
    assert fp32.network.id == int8.network.id
    assert fp32.eager.id == int8.eager.id
    assert fp32.program.id != int8.program.id
    assert fp32.teacher.id == stages(digits, method="teacher").eager.id


def test_a_control_does_not_depend_on_the_teacher(digits):
    other = digits.model_copy(
        update={"recipes": {**digits.recipes, "teacher": digits.recipes["teacher"].model_copy(update={"epochs": 1})}}
    )
    assert stages(digits, method="scratch").network.id == stages(other, method="scratch").network.id
    assert stages(digits, method="kd").network.id != stages(other, method="kd").network.id


def test_a_control_of_compute_depends_on_the_teachers_architecture_alone(digits):
    suite = with_methods(digits, ["longer-scratch"], [])

    def network(**changes):
        return stages(suite.model_copy(update=changes), method="longer-scratch").network

    recipe = suite.recipes["teacher"].model_copy(update={"epochs": 1})
    pair = suite.pairs[0].model_copy(update={"teacher": "resnet14"})
    assert network().id == network(recipes={**suite.recipes, "teacher": recipe}).id != network(pairs=(pair,)).id
    assert network().spec["teacher"] == {"name": "resnet8", "options": {}}
    assert not network().needs
    assert stages(suite, method="scratch").network.spec["teacher"] is None


def test_a_student_of_a_fixed_length_is_trained_once_for_all_teachers(digits):
    suite = with_methods(digits, ["longer-scratch"], ["factor=2.0"])
    other = varied(suite, teacher="resnet14")
    twice = stages(suite, method="longer-scratch").network
    assert twice.id == stages(other, method="longer-scratch").network.id
    assert twice.spec["teacher"] is None


def varied(suite, **changes):
    return suite.model_copy(update={"pairs": (suite.pairs[0].model_copy(update=changes),)})


def test_a_pair_may_change_keys_of_the_students_recipe(digits):
    found = stages(varied(digits, student_recipe={"lr": 0.01}), method="kd").network
    assert found.spec["recipe"] == {**stages(digits, method="kd").network.spec["recipe"], "lr": 0.01}
    assert found.needs["teacher"].id == stages(digits, method="kd").network.needs["teacher"].id


def test_few_labels_are_for_methods_that_look_at_them(digits):
    suite = with_methods(digits, ["function-matching"], [])
    few = varied(suite, labelled=5)
    assert stages(few, method="kd").network.spec["labelled"] == 5
    assert "labelled" not in stages(suite, method="kd").network.spec
    same, other = (stages(each, method="function-matching").network.id for each in (suite, few))
    assert same == other


def test_a_student_may_start_from_scratch_of_its_seed(digits):
    found = stages(varied(digits, start="scratch"), method="kd", seed="1").network
    assert found.needs["start"].id == stages(digits, method="scratch", seed="1").network.id
    again = stages(varied(digits, start="scratch"), method="scratch").network
    assert again.needs["start"].id == stages(digits, method="scratch").network.id != again.id


def test_awareness_of_quantisation_is_another_network_and_no_other_key_changes(digits):
    suite = with_methods(digits, ["kd"], ["qat_epochs=3"])
    aware, plain = (stages(suite, method=method).network for method in ("kd-qat_epochs3", "kd"))
    assert aware.spec == {**plain.spec, "qat_epochs": 3}
    assert aware.party == plain.party
    assert plain.id == stages(digits, method="kd").network.id


def test_what_else_decides_a_targets_programs_is_in_their_keys(digits):
    suite = digits.model_copy(update={"targets": ("openvino-fp32", "coreml-fp16", "xnnpack-fp32")})
    openvino, coreml, xnnpack = (stages(suite, method="kd", target=target).program.spec for target in suite.targets)
    assert set(openvino["libraries"]) == {"openvino", "nncf"}
    assert openvino["processor"] == "cpu"
    assert set(coreml["libraries"]) == {"coremltools"}
    assert {"libraries", "processor"} & set(xnnpack) == set()


ELSEWHERE = """
from kdbench.lowering.portable import Portable

class Elsewhere(Portable):
    def missing_on(self, device):
        return f"{device} has no such chip"

ALONE = Elsewhere("alone", "fp32")
JUDGED = Elsewhere("judged", "fp32", stand_in="a model of the chip")
"""


def test_what_a_device_cannot_run_is_judged_by_its_stand_in_or_not_at_all(digits, tmp_path):
    (tmp_path / "chip.py").write_text(ELSEWHERE)
    targets = tuple(f"{tmp_path}/chip.py:{name}" for name in ("ALONE", "JUDGED"))
    suite = digits.model_copy(update={"targets": targets})
    alone, judged = (stages(suite, method="kd", target=target) for target in targets)
    assert (alone.outputs, alone.unrun, alone.stand_in) == (None, "host has no such chip", "")
    assert None not in list(alone)
    assert (judged.outputs.kind, judged.unrun, judged.stand_in) == (
        "stand-in", "host has no such chip", "a model of the chip",
    )  # fmt: skip
    assert judged.outputs.spec == judged.program.spec
    assert judged.outputs.needs == {"network": judged.network, "program": judged.program}
    here = stages(digits, method="kd")
    assert (here.outputs.kind, here.unrun) == ("outputs", "")


def test_students_of_one_seed_and_teacher_are_a_party(digits):
    def party(suite=digits, **axes):
        return stages(suite, **axes).network.party

    assert party(method="kd") == party(method="dkd") == party(method="at") != ""
    assert party(method="kd", seed="1") not in ("", party(method="kd"))
    assert party(method="scratch") == party(method="teacher") == ""
    own_view = with_methods(digits, ["function-matching"], [])
    assert party(own_view, method="function-matching") == ""
    assert party(varied(digits, labelled=5), method="kd") != party(method="kd")
    wider = varied(digits, student_options={"width": 6})
    assert party(wider, method="kd") == party(method="kd")


def test_adding_a_method_or_a_seed_changes_no_other_stage(digits):
    more = with_seeds(with_methods(digits, ["kd"], ["temperature=2.0"]), "0-4")
    for method in ("teacher", "scratch", "kd"):
        assert [s.id for s in stages(more, method=method)] == [s.id for s in stages(digits, method=method)]


def test_another_seed_option_or_training_device_is_another_network(digits):
    kd = stages(digits, method="kd").network.id
    assert stages(digits, method="kd", seed="1").network.id != kd
    assert stages(with_methods(digits, ["kd"], ["temperature=2.0"]), method="kd-temperature2.0").network.id != kd
    assert stages(with_train_device(digits, "cuda"), method="kd").network.id != kd


def test_a_method_of_a_file_is_known_by_its_hash(digits, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from kdbench.methods.kd import KD\nclass Mine(KD):\n    '''Mine.'''\n")
    suite = with_methods(digits, [f"{file}:Mine"], [])
    assert suite.methods[-1].label == "Mine"
    assert len(stages(suite, method="Mine").network.spec["method"]["digest"]) == 64


@pytest.mark.parametrize(
    ("group", "stage"), [("models", "network"), ("methods", "network"), ("tasks", "network"), ("targets", "program")]
)
def test_an_edited_plug_in_of_another_package_is_another_stage(digits, tmp_path, monkeypatch, group, stage):
    file = tmp_path / f"plugged_{group}.py"
    monkeypatch.syspath_prepend(str(tmp_path))
    case = next(c for c in cases_of(digits) if c.method.label == "kd")
    names = {"models": case.pair.student, "methods": "kd", "tasks": digits.task, "targets": case.target}
    own = entries(group)[names[group]]
    file.write_text(f"from {own.module} import {own.attribute}\n")
    before = stages_of(case, digits, GROUND)
    known = entries(group) | {own.name: replace(own, module=file.stem)}
    monkeypatch.setattr(catalog, "entries", lambda wanted: known if wanted == group else entries(wanted))
    plugged = stages_of(case, digits, GROUND)
    file.write_text(file.read_text() + "# edited\n")
    edited = stages_of(case, digits, GROUND)
    assert len({getattr(stages, stage).id for stages in (before, plugged, edited)}) == 3


@pytest.mark.parametrize(
    ("methods", "options", "line"),
    [
        (["kd"], ["use=dkd"], "-o use=dkd: name the method with --method"),
        ([], ["a=1"], "-o a=1: an option needs a --method to belong to"),
        (["kd"], ["a"], "-o 'a': expected KEY=VALUE such as temperature=2"),
        (["kd"], [], "--method kd: the suite has a method of that name; give it other options with -o"),
        (["kdx"], [], "unknown method 'kdx' of --method; did you mean 'kd'"),
        (["nothing.py:X"], [], "no file 'nothing.py' for method 'nothing.py:X' of --method"),
    ],
)
def test_a_bad_variant_is_one_line(digits, methods, options, line):
    with pytest.raises(UsageError, match="^" + re.escape(line)):
        with_methods(digits, methods, options)


@pytest.mark.parametrize("text", ["a", "1,,2", "3-1", "-1", "1e3", ""])
def test_bad_seeds_are_one_line(digits, text):
    with pytest.raises(UsageError, match=re.escape(f"--seeds {text!r}: expected seeds such as 0,1,2 or 0-9")):
        with_seeds(digits, text)


def test_seeds_of_both_forms(digits):
    assert with_seeds(digits, "0-2,7").seeds == (0, 1, 2, 7)


def test_devices_replace_those_of_the_suite_and_are_checked_at_once(digits):
    phone = "qemu:cortex-a76+wheel1.5.1"
    found = with_devices(digits, ["host", phone])
    assert found.devices == ("host", phone)
    assert {case.device for case in cases_of(found)} == {"host", phone}
    with pytest.raises(UsageError, match=r"^--device host: named twice$"):
        with_devices(digits, ["host", "host"])
    with pytest.raises(UsageError, match=r"^unknown device 'phone' of --device; known: adb, host"):
        with_devices(digits, ["phone:1"])
