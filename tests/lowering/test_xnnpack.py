import gc

import pytest
import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer
from lowering.conftest import Tiny, TwoByTwo, items
from torch import nn

from kdbench.errors import StageError, UsageError
from kdbench.lowering import xnnpack, xnnpack_precisions
from kdbench.lowering.parity import prove
from kdbench.lowering.program import facts_of


def test_programs_of_all_precisions_are_the_network(fp32, fp16, int8):
    for made, target in ((fp32, xnnpack.FP32), (fp16, xnnpack.FP16), (int8, xnnpack.INT8)):
        prove(made.lowered, made.network, items(16, seed=9), target)
    assert (fp32.lowered.delegated, int8.lowered.delegated) == (1.0, 1.0)


def test_in_half_precision_only_the_casts_stay_outside_and_all_weights_are_halves(fp16):
    facts = facts_of(fp16.lowered.buffer)
    assert facts.operators == {"dim_order_ops::_to_dim_order_copy.out": 2}
    assert {each.dtype for each in (*facts.inputs, *facts.outputs)} == {"float32"}
    parameters = sum(parameter.numel() for parameter in fp16.network.parameters())
    floats = {dtype: size for dtype, size in facts.constants.items() if "float" in dtype}
    assert list(floats) == ["float16"]
    assert floats["float16"] < 2.5 * parameters


def test_after_half_precision_convolutions_are_stored_as_ever(fp32, fp16):
    assert xnnpack.FP32.lower(Tiny(seed=0), items(1)[0]).buffer == fp32.lowered.buffer
    assert fp16.network.stem.weight.dtype == torch.float32


def test_what_is_no_float_is_not_halved():
    class Chosen(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(5, 4)

        def forward(self, index, scale):
            rows = self.table(index) * scale
            return rows, rows.argmax(dim=1)

    network, example = Chosen().eval(), (torch.tensor([3]), torch.ones(1, 4))
    lowered = xnnpack.FP16.lower(network, example)
    assert [each.dtype for each in facts_of(lowered.buffer).outputs] == ["float32", "int64"]
    prove(lowered, network, [example], xnnpack.FP16)


def test_a_network_that_half_precision_overflows_is_refused():
    network = nn.Sequential(nn.Linear(4, 4)).eval()
    with torch.no_grad():
        network[0].weight.fill_(30000.0)
    example = (torch.full((1, 4), 3.0),)
    with pytest.raises(StageError, match="says NaN or infinity of 1 of 1 items"):
        prove(xnnpack.FP16.lower(network, example), network, [example], xnnpack.FP16)


def test_bytes_depend_on_neither_threads_nor_the_memory_of_the_example(fp32):
    strided = torch.randn(8, 8, 1, 1).permute(2, 3, 1, 0)
    assert not strided.is_contiguous()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = xnnpack.FP32.lower(Tiny(seed=0), (strided,))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert again.buffer == fp32.lowered.buffer
    assert again.structure == fp32.lowered.structure


def test_the_shortened_quantiser_gives_the_bytes_of_the_whole_one(int8, monkeypatch):
    monkeypatch.setattr(xnnpack_precisions, "_StaticQuantizer", XNNPACKQuantizer)
    again = xnnpack.INT8.lower(Tiny(seed=0), int8.calibration[0], int8.calibration)
    assert again.buffer == int8.lowered.buffer


def test_calibration_decides_the_program(int8):
    wider = [(4 * inputs[0],) for inputs in int8.calibration]
    again = xnnpack.INT8.lower(int8.network, wider[0], wider)
    assert again.buffer != int8.lowered.buffer
    assert again.structure == int8.lowered.structure


def test_lowering_leaves_the_network_and_the_process_as_they_were():
    network = Tiny(seed=3)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    xnnpack.INT8.lower(network, items(1)[0], items(32))
    assert torch.equal(torch.rand(3), expected)
    assert gc.isenabled()
    assert torch.is_grad_enabled()
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_several_inputs_and_outputs():
    network = TwoByTwo()
    example = (torch.randn(1, 6), torch.randn(1, 3))
    lowered = xnnpack.FP32.lower(network, example)
    strided = (torch.randn(1, 12)[:, ::2], torch.randn(3, 1).T)
    parity = prove(lowered, network, [example, strided, (torch.ones(1, 6), torch.ones(1, 3))], xnnpack.FP32)
    assert parity.items == 3
    assert parity.flips is None


def test_a_network_in_training_mode_is_refused():
    for target in (xnnpack.FP32, xnnpack.FP16):
        with pytest.raises(UsageError, match=r"^Tiny is in training mode; call .eval\(\) before lowering it$"):
            target.lower(Tiny(seed=0).train(), items(1)[0])


def test_too_little_calibration_is_refused(int8):
    with pytest.raises(UsageError, match="^xnnpack-int8: found 31 calibration inputs, expected at least 32$"):
        xnnpack.INT8.lower(int8.network, int8.calibration[0], int8.calibration[:31])


class Undecided(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_what_cannot_be_exported_is_a_failed_case_with_target_and_step():
    with pytest.raises(StageError, match=r"^xnnpack-fp32: export failed: \w+: ") as caught:
        xnnpack.FP32.lower(Undecided().eval(), items(1)[0])
    assert caught.value.status == "failed"
    assert "\n" not in caught.value.reason
