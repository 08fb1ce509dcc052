"""Programs that are not what their precision promises, made so on purpose."""

import dataclasses
from contextlib import nullcontext

import pytest
import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from lowering.conftest import Tiny, items
from torch import nn

from kdbench.lowering import xnnpack, xnnpack_precisions
from kdbench.lowering.program import facts, opened
from kdbench.lowering.surprise import surprises, untouched


def told(lowered, precision, network):
    program = opened(lowered.buffer, "program", "")
    return surprises(precision, program, facts(program), sum(each.numel() for each in network.parameters()))


@pytest.fixture(scope="module")
def wide():
    """Wide enough that weights outweigh scales and biases."""
    return Tiny(seed=0, width=512)


def test_healthy_programs_are_no_surprise(fp32, fp16, int8):
    for made, precision in ((fp32, "fp32"), (fp16, "fp16"), (int8, "int8")):
        assert told(made.lowered, precision, made.network) == []


def test_halves_that_did_not_shrink(wide, monkeypatch):
    healthy = xnnpack.FP16.lower(wide, items(1)[0])
    assert told(healthy, "fp16", wide) == []
    monkeypatch.setattr(xnnpack_precisions, "half_convolutions", nullcontext)
    [line] = told(xnnpack.FP16.lower(wide, items(1)[0]), "fp16", wide)
    count = sum(each.numel() for each in wide.parameters())
    assert line.endswith(f" bytes of constants, expected about {2 * count:,} ({count:,} weights of 16 bits)")


def test_floats_that_an_integer_program_keeps(wide, monkeypatch):
    class Linear(XNNPACKQuantizer):
        """Leaves convolutions alone."""

    config = get_symmetric_quantization_config(is_per_channel=True)
    quantizer = lambda: Linear().set_module_type(nn.Linear, config)  # noqa: E731
    monkeypatch.setitem(xnnpack_precisions.QUANTIZERS, "int8", quantizer)
    kept = xnnpack.INT8.lower(wide, items(1)[0], items(32))
    lines = told(kept, "int8", wide)
    assert lines[0].startswith(f"{sum(facts(opened(kept.buffer, '', '')).constants.values()):,} bytes of constants")
    assert lines[1:] == [
        "the weights of 1 Conv2d are left in float32",
        "the weights of 2 DepthwiseConv2d are left in float32",
    ]


def test_weights_that_are_stored_twice(fp32):
    program = opened(fp32.lowered.buffer, "program", "")
    twice = dataclasses.replace(facts(program), constants={"float32": 2 * 400_000})
    [line] = surprises("fp32", program, twice, 100_000)
    assert line == "800,000 bytes of constants, expected about 400,000 (100,000 weights of 32 bits)"


def test_what_is_untouched_is_counted_in_weights_not_bytes(fp32):
    base = facts(opened(fp32.lowered.buffer, "program", ""))
    half_and_half = dataclasses.replace(base, constants={"int8": 100, "float32": 400})
    assert untouched("int8", half_and_half, 200) == ""
    most = dataclasses.replace(base, constants={"int8": 98, "float32": 404})
    assert untouched("int8", most, 200) == "49% of its weights are stored in 8 bits, at least 50% is needed"
    assert untouched("int8", dataclasses.replace(base, constants={"unknown": 5}), 200) == ""
    assert untouched("fp32", most, 200) == ""
    assert "in 4 bits" in untouched("int8da4w", half_and_half, 200)


def test_a_networks_weights_in_bfloat16_are_no_surprise():
    network = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10)).eval()
    assert told(xnnpack.BF16.lower(network, (torch.ones(1, 64),)), "bf16", network) == []
