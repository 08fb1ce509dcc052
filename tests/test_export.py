import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import made_up
import numpy as np
import pytest

from kdbench.catalog import load
from kdbench.data.digits import digits
from kdbench.devices.runner.build import executorch_folder, find_compiler
from kdbench.errors import MeasureError, UsageError
from kdbench.export import export
from kdbench.plan import Ground, cases_of, select, stages_of
from kdbench.records import read_run
from kdbench.spec import MethodSpec, Pair, Recipe
from kdbench.stage import MODULES, imported
from kdbench.store import Store
from kdbench.tasks.classification import Classification
from kdbench.training.processor import processor

FILES = {
    "README.md", "contract.json", "expected_output.bin", "labels.txt", "loader.cpp", "program.pte", "record.json",
    "sample_input.bin", "sample_item.bin",
}  # fmt: skip
CASE = "scratch/xnnpack-int8/s0"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The store and the results folder of a case that was really trained, lowered and run, in this process."""
    folder = tmp_path_factory.mktemp("made")
    recipe = Recipe(kind="fast", epochs=4, batch_size=64, lr=0.05)
    suite = made_up.suite(
        name="one",
        pairs=(Pair(teacher="resnet8", student="dscnn", data="digits"),),
        methods=(MethodSpec(label="scratch", use="scratch"),),
        targets=("xnnpack-int8",),
        recipes={"teacher": recipe, "student": recipe},
        budgets={},
    )
    [case] = select(cases_of(suite), "method=scratch,seed=0")
    runtime = load("devices", "host")("host").runtime
    processors = dict.fromkeys(("teacher", "student", "lowering"), processor())
    stages = stages_of(case, suite, Ground({"digits": digits().sha256}, processors, {"host": runtime}))
    store = Store(folder / "store")
    network = stored(store, stages.network, {})
    program = stored(store, stages.program, {"network": network})
    stored(store, stages.outputs, {"program": program})
    facts = {
        "case": case.id,
        "checkpoint_sha256": network.files["weights.safetensors"],
        "program_sha256": program.files["program.pte"],
        "structure": program.json("program.json")["structure"],
    }
    record = made_up.record("digits:resnet8-dscnn", "scratch", "xnnpack-int8", 0).model_copy(update=facts)
    speed = made_up.speed("dscnn", "xnnpack-int8", 0.01).model_copy(
        update={"runtime": runtime, "structure": facts["structure"]}
    )
    table = suite.model_dump(mode="json")
    other = made_up.record("digits:resnet8-dscnn", "kd", "xnnpack-int8", 0)
    speeds = (speed, *made_up.run().speeds)
    made_up.on_disk(folder / "results", made_up.run(suite=table, records=(other, record), speeds=speeds))
    return store, folder / "results"


def stored(store, stage, inputs):
    """The artefact of a stage that is run here and now."""
    key = stage.key(inputs)
    with store.making(stage.kind, key, stage.spec, {name: need.key for name, need in inputs.items()}) as out:
        imported(MODULES[stage.kind]).run(stage.spec, inputs, out, lambda _done, _words: None)
    return store.get(stage.kind, key)


@pytest.fixture
def to(tmp_path, made):
    """A fresh export."""
    export(CASE, tmp_path / "out", *made)
    return tmp_path / "out"


def contract(to):
    return json.loads((to / "contract.json").read_text(encoding="utf-8"))


def compiled(to, scratch):
    """The exported loader, built as its README says."""
    readme = (to / "README.md").read_text(encoding="utf-8")
    line = next(line for line in readme.splitlines() if line.startswith("c++ loader.cpp"))
    words = line.replace("c++ loader.cpp", f"{find_compiler()} '{to / 'loader.cpp'}'").replace(
        "-o loader", "-Wall -Werror -o loader"
    )
    environment = {**os.environ, "EXECUTORCH": str(executorch_folder())}
    subprocess.run(["bash", "-c", words], cwd=scratch, check=True, env=environment)
    return scratch / "loader"


def test_the_loader_is_built_as_the_readme_says_and_tells_right_from_wrong(to, tmp_path):
    loader = compiled(to, tmp_path)

    def run(folder):
        done = subprocess.run([str(loader), str(folder)], capture_output=True, text=True, check=False)
        return done.returncode, (done.stdout or done.stderr).splitlines()[-1]

    assert run(to) == (0, "OK")
    expected = np.fromfile(to / "expected_output.bin", dtype="<f4")
    tolerance = contract(to)["sample"]["tolerance"]
    assert 0 < tolerance <= 0.05 * np.abs(expected).max() * 1.01
    for wrong in (expected[3] + 1.1 * tolerance, np.nan):
        values = expected.copy()
        values[3] = wrong
        values.tofile(to / "expected_output.bin")
        assert run(to) == (1, f"DIFFERS from expected_output.bin by more than {tolerance}")
    (to / "expected_output.bin").write_bytes(b"1234")
    assert run(to) == (2, f"no samples in {to}")
    expected.tofile(to / "expected_output.bin")
    (to / "program.pte").write_bytes(b"1234")
    code, said = run(to)
    assert code == 3
    assert said.startswith("the program does not run: error ")


def test_the_sample_follows_from_the_contract_alone(to):
    told = contract(to)
    normalisation = told["normalisation"]
    item = np.fromfile(to / "sample_item.bin", dtype=normalisation["item"]["dtype"]).reshape(
        normalisation["item"]["shape"]
    )
    assert np.array_equal(item, digits().test.inputs[0])
    mean, std = (np.array(normalisation[name], dtype=np.float32).reshape(-1, 1, 1) for name in ("mean", "std"))
    normalised = (item.astype(np.float32) / np.float32(normalisation["scale"]) - mean) / std
    [fed] = told["inputs"]
    given = np.fromfile(to / "sample_input.bin", dtype="<f4").reshape(fed["shape"])
    assert np.allclose(given[0], normalised, rtol=1e-6, atol=0)
    assert not normalisation["inside_program"]
    assert (fed["dtype"], fed["layout"]) == ("float32", "NCHW")
    labels = (to / "labels.txt").read_text(encoding="utf-8").splitlines()
    assert labels == [str(digit) for digit in range(10)]
    assert told["sample"]["label"] == labels[digits().test.targets[0]]


def test_program_contract_and_record_agree(to, made):
    store, results = made
    told = contract(to)
    alone = read_run(to / "record.json")
    [record], [speed] = alone.records, alone.speeds
    assert alone.partial
    assert speed.structure == record.structure
    assert {path.name for path in to.iterdir()} == FILES
    assert record.case == told["case"] == "digits:resnet8-dscnn/scratch/xnnpack-int8/s0/host"
    assert record.program_sha256 == told["program"]["sha256"]
    artefact = store.find("program", "program.pte", record.program_sha256)
    assert (to / "program.pte").read_bytes() == artefact.path("program.pte").read_bytes()
    assert len((to / "program.pte").read_bytes()) == told["program"]["size_bytes"]
    assert told["needs"]["backends"] == ["XnnpackBackend"]
    assert told["outputs"] == [
        {"dtype": "float32", "shape": [1, 10], "meaning": Classification.meaning, "labels": "labels.txt"}
    ]
    texts = "".join(
        (to / name).read_text(encoding="utf-8") for name in FILES if Path(name).suffix not in {".pte", ".bin"}
    )
    assert str(results.parent) not in texts
    assert str(executorch_folder()) not in texts


def test_the_readmes_python_gets_what_was_expected_to_the_bit(to):
    readme = (to / "README.md").read_text(encoding="utf-8")
    lines = readme.partition("```python\n")[2].partition("```")[0]
    done = subprocess.run([sys.executable, "-c", lines], cwd=to, capture_output=True, text=True, check=True)
    assert done.stdout == "off by at most 0.0\n"


def test_the_readme_says_how_good_the_file_is(to):
    judged = contract(to)["quality"]
    assert (judged["metric"], judged["test_items"], judged["device"]) == ("accuracy", 360, "host")
    shown = f"{100 * judged['value']:.2f}"
    assert f"this very file: accuracy {shown} percent of 360 test items on host." in (to / "README.md").read_text()


def test_an_existing_folder_is_kept(to, made):
    (to / "labels.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match=r"out exists already; --force replaces an earlier export$"):
        export(CASE, to, *made)
    assert (to / "labels.txt").read_text(encoding="utf-8") == "mine"
    export(CASE, to, *made, force=True)
    assert (to / "labels.txt").read_text(encoding="utf-8") != "mine"
    assert [path.name for path in to.parent.iterdir()] == ["out"]


def test_force_replaces_exports_only(tmp_path, made):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(UsageError, match=r"photos is no earlier export \(it has no contract.json\); --force"):
        export(CASE, tmp_path / "photos", *made, force=True)
    assert (tmp_path / "photos" / "cat.jpg").read_bytes() == b"cat"


def test_a_full_disk_leaves_what_was_there(to, made, monkeypatch):
    before = {path.name: path.read_bytes() for path in to.iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(MeasureError, match=r"^cannot write the export to .*out: No space left on device$"):
        export(CASE, to, *made, force=True)
    assert {path.name: path.read_bytes() for path in to.iterdir()} == before
    assert [path.name for path in to.parent.iterdir()] == ["out"]


def test_an_export_that_cannot_take_its_place_leaves_the_old_one(to, made, monkeypatch):
    rename = Path.rename

    def refusing(self, target):
        if self.name == "new":
            raise OSError(1, "Operation not permitted")
        return rename(self, target)

    (to / "labels.txt").write_text("old", encoding="utf-8")
    monkeypatch.setattr(Path, "rename", refusing)
    with pytest.raises(MeasureError, match=r"out: Operation not permitted$"):
        export(CASE, to, *made, force=True)
    assert (to / "labels.txt").read_text(encoding="utf-8") == "old"
    assert [path.name for path in to.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("kind", ["program", "outputs"])
def test_what_left_the_store_is_named_with_the_command_that_makes_it_again(kind, made, tmp_path):
    store, results = made
    shutil.copytree(store.root, tmp_path / "store")
    shutil.rmtree(tmp_path / "store" / kind)
    with pytest.raises(MeasureError) as error:
        export(CASE, tmp_path / "out", Store(tmp_path / "store"), results)
    what = "program of" if kind == "program" else "outputs of"
    assert f"the {what} digits:resnet8-dscnn/scratch/xnnpack-int8/s0/host" in str(error.value)
    assert "make it again with: kdbench run one --only pair=digits:resnet8-dscnn,method=scratch," in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_program_that_its_device_could_not_run_has_no_sample(made, tmp_path, monkeypatch):
    monkeypatch.setattr("kdbench.lowering.xnnpack.Xnnpack.missing_on", lambda _target, device: f"{device} has no chip")
    with pytest.raises(MeasureError, match=r" was lowered and not run, .*: host has no chip; see .*program\.pte$"):
        export(CASE, tmp_path / "out", *made)
    assert not (tmp_path / "out").exists()


def test_another_data_set_of_that_name_is_refused(made, tmp_path, monkeypatch):
    changed = replace(digits(), scale=255.0)
    monkeypatch.setattr("kdbench.data.digits.digits", lambda: changed)
    with pytest.raises(MeasureError, match=r"^data set 'digits' is not the one that .* was made with; make it again"):
        export(CASE, tmp_path / "out", *made)


def test_a_failed_case_has_nothing_to_ship(tmp_path):
    made_up.on_disk(tmp_path, made_up.run())
    with pytest.raises(MeasureError) as error:
        export("resnet8-dscnn/fitnet/xnnpack-int8/s1", tmp_path / "out", Store(tmp_path / "store"), tmp_path)
    assert str(error.value) == (
        "case digits:resnet8-dscnn/fitnet/xnnpack-int8/s1/host of run 20261124T040506Z-00ab has no program to ship: "
        "crashed: signal 11 (SIGSEGV)"
    )
