"""Any module as the program that would ship, in three lines."""

import pytest
import torch
from lowering.conftest import Tiny, TwoByTwo, items
from torch import nn

import kdbench as package
from kdbench.errors import MeasureError, StageError, UsageError
from kdbench.lowering.program import read_program


def linear():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).eval()


def test_three_lines(tmp_path):
    model, example = Tiny(seed=0), items(1)[0][0]
    program = package.lower(model, example, "xnnpack-fp16")
    program.save(tmp_path / "tiny.pte")
    facts = read_program(tmp_path / "tiny.pte")
    assert program.facts["sha256"] == facts.sha256
    assert program.facts["parity"]["of"] == "program"
    assert program.facts["surprises"] == []
    assert program.facts["estimates"] == {}


def test_calibration_proves_too_and_several_inputs_are_a_tuple():
    calibration = [inputs[0] for inputs in items(40)]
    assert (
        package.lower(Tiny(seed=0), calibration[0], "xnnpack-int8", calibration=calibration).facts["parity"]["items"]
        == 33
    )
    both = package.lower(TwoByTwo(), (torch.ones(1, 6), torch.ones(1, 3)))
    assert [each["shape"] for each in both.facts["inputs"]] == [(1, 6), (1, 3)]


@pytest.mark.parametrize("target", ["xnnpack-int8-dynamic", "xnnpack-int8da8w", "xnnpack-bf16"])
def test_a_precision_that_leaves_most_weights_alone_is_not_for_the_network(target):
    with pytest.raises(
        StageError, match=rf"^{target} is not for this network: \d+% of its weights are stored"
    ) as caught:
        package.lower(Tiny(seed=0), items(1)[0][0], target)
    assert caught.value.status == "not-applicable"


def test_scales_and_biases_are_no_weights():
    thin = nn.Sequential(nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, 1)).eval()
    calibration = list(torch.linspace(-1, 1, 32).reshape(32, 1, 1))
    shipped = package.lower(thin, calibration[0], "xnnpack-int8", calibration=calibration)
    assert shipped.facts["quantized_share"] < 0.5
    with pytest.raises(UsageError, match="^calibration is a list of inputs like the example"):
        package.lower(thin, calibration[0], "xnnpack-int8", calibration=torch.ones(32, 1))


def test_four_bits_need_whole_groups():
    whole = package.lower(linear(), torch.randn(1, 64, generator=torch.Generator().manual_seed(0)), "xnnpack-int8da4w")
    assert set(whole.facts["constants"]) == {"int4", "bfloat16", "float32"}
    ragged = nn.Sequential(nn.Linear(50, 64), nn.ReLU(), nn.Linear(64, 10)).eval()
    with pytest.raises(StageError, match=r"^xnnpack-int8da4w is not for this network: \d+% .* in 4 bits, at least 50%"):
        package.lower(ragged, torch.ones(1, 50), "xnnpack-int8da4w")


def test_bad_input_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="^unknown target 'xnnpack-int4'; did you mean"):
        package.lower(linear(), torch.ones(1, 64), "xnnpack-int4")
    with pytest.raises(UsageError, match=r"^xnnpack-int8 needs calibration=\[...\]"):
        package.lower(linear(), torch.ones(1, 64), "xnnpack-int8")
    with pytest.raises(UsageError, match=r"is in training mode; call .eval\(\)"):
        package.lower(linear().train(), torch.ones(1, 64), "xnnpack-int8da8w")
    program = package.lower(linear(), torch.ones(1, 64))
    with pytest.raises(MeasureError, match="^cannot write .*: No such file or directory$"):
        program.save(tmp_path / "nowhere" / "x.pte")
