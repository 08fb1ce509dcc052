import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch

from kdbench.errors import StageError
from kdbench.lowering import stage
from kdbench.lowering.program import read_program


def test_what_it_writes(staged, program_json):
    out, told = staged
    assert sorted(path.name for path in out.iterdir()) == ["program.json", "program.pte"]
    assert set(stage.CONTENT) == {"program.pte"}
    facts = read_program(out / "program.pte")
    assert program_json["sha256"] == facts.sha256 == hashlib.sha256((out / "program.pte").read_bytes()).hexdigest()
    assert program_json["inputs"] == [{"dtype": "float32", "shape": [1, 1, 8, 8]}]
    assert (program_json["target"], program_json["backend"], program_json["precision"]) == (
        "xnnpack-int8", "xnnpack", "int8",
    )  # fmt: skip
    assert len(program_json["structure"]) == 64
    assert program_json["delegated"] == 1.0
    assert 0.2 < program_json["quantized_share"] < 1
    assert program_json["parity"]["items"] == stage.PARITY_ITEMS
    assert 0 <= program_json["parity"]["flips"] < 0.2
    assert set(program_json["seconds"]) == {"export", "quantize", "delegate", "write", "prove"}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == 1.0


def test_the_same_bytes_again(staged, trained, spec, tmp_path):
    torch.manual_seed(99)
    stage.run(spec, {"network": trained}, tmp_path, lambda _done, _words: None)
    assert (tmp_path / "program.pte").read_bytes() == (staged[0] / "program.pte").read_bytes()


def test_training_items_calibrate_and_validation_items_prove(data, task):
    def rows(split):
        return {row.tobytes() for row in task.collate(data, torch.from_numpy(split.inputs)).numpy()}

    calibration = {item.numpy()[0].tobytes() for (item,) in stage.calibration_items(data, task, 64, 0)}
    proof = {item.numpy()[0].tobytes() for (item,) in stage.parity_items(data, task)}
    assert calibration <= rows(data.train)
    assert proof <= rows(data.validation)
    assert len(calibration) == 64
    assert len(proof) == stage.PARITY_ITEMS


def test_calibration_follows_its_seed_and_takes_what_there_is(data, task):
    def first(seed):
        return np.stack([item.numpy() for (item,) in stage.calibration_items(data, task, 40, seed)])

    assert np.array_equal(first(0), first(0))
    assert not np.array_equal(first(0), first(1))
    assert len(stage.calibration_items(data, task, 10**6, 0)) == len(data.train)


def test_another_data_set_than_planned_is_refused(trained, spec, tmp_path):
    other = {**spec, "data": {"name": "digits", "sha256": "0" * 64}}
    with pytest.raises(StageError, match="^data set 'digits' is not the one that the run was planned with"):
        stage.run(other, {"network": trained}, tmp_path, lambda _done, _words: None)
    assert not list(tmp_path.iterdir())


def test_a_target_that_this_machine_lacks_is_not_applicable(trained, spec, tmp_path):
    file = tmp_path / "away.py"
    file.write_text(
        "from kdbench.lowering.portable import Portable\n"
        "class Away(Portable):\n"
        "    def missing(self):\n"
        "        return 'needs the extra away'\n"
        "AWAY = Away('away-fp32', 'fp32')\n",
    )
    with pytest.raises(StageError, match="^cannot lower to away-fp32: needs the extra away$") as caught:
        stage.run({**spec, "target": f"{file}:AWAY"}, {"network": trained}, tmp_path, lambda _done, _words: None)
    assert caught.value.status == "not-applicable"


def test_keys_need_no_torch():
    code = (
        "import sys; import kdbench.lowering.stage, kdbench.lowering.reference; "
        "print([name for name in ('torch', 'executorch') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"
