"""Integer kernels computed by hand: bit by bit what XNNPACK says, where no number lies on a tie."""

import numpy as np
import pytest
import torch
from lowering.conftest import Tiny, items
from torch import nn

from kdbench.lowering import xnnpack
from kdbench.lowering.export import leaves
from kdbench.lowering.integer import Integers, settled
from kdbench.lowering.parity import run_program


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.linear = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(256, 5)
        self.eval()

    def forward(self, x):
        maps = self.conv(x)
        return self.linear((maps + maps.relu()).flatten(1))


def said(graph, inputs):
    return leaves(Integers(graph).run(*inputs))[0].numpy()


@pytest.mark.parametrize("seed", range(3))
def test_what_is_settled_is_what_the_kernels_say_to_the_bit(seed):
    network, calibration = Tiny(seed=seed), items(64)
    lowered = xnnpack.INT8.lower(network, calibration[0], calibration)
    fed = items(48, seed=7)
    program = run_program(lowered.buffer, fed)[0]
    float_graph = np.stack([leaves(lowered.exported(*inputs))[0].detach().double().numpy() for inputs in fed])
    places = [place for place, inputs in enumerate(fed) if settled(lowered.exported, inputs)]
    assert len(places) > 24
    integers = np.stack([said(lowered.exported, fed[place]) for place in places])
    np.testing.assert_allclose(program[places], integers, rtol=1e-6, atol=0)
    assert not np.allclose(program, float_graph, rtol=1e-6, atol=0)


def test_a_sum_of_tensors_has_a_rule_of_its_own_and_is_never_settled():
    calibration = items(32)
    lowered = xnnpack.INT8.lower(Residual(), calibration[0], calibration)
    assert not any(settled(lowered.exported, inputs) for inputs in calibration[:4])
    program = run_program(lowered.buffer, calibration)[0]
    integers = np.stack([said(lowered.exported, inputs) for inputs in calibration])
    step = np.unique(np.abs(np.diff(np.unique(integers)))).min()
    assert np.abs(program - integers).max() <= 2.5 * step


class Units(Integers):
    """What each bias is a multiple of."""

    def _unit(self):
        self.unit = super()._unit()
        return self.unit


def torn(unit):
    """A bias [C] that is k + 1/2 times ``unit`` in 32 bits and a little less in 64, each k some 20,000."""
    found = []
    for one in unit.tolist():
        halves = np.float32((np.arange(20_000, 24_000, 2) + 1.5) * one)  # of which 32 bits make the even one, above
        times = halves.astype(np.float64) / one
        in_32_bits = halves / np.float32(one)
        apart = np.flatnonzero(np.round(in_32_bits) > np.round(times))
        found.append(halves[apart[0]])
    return torch.tensor(np.array(found))


def test_a_bias_is_rounded_in_32_bits_as_programs_have_it():
    torch.manual_seed(0)
    network = nn.Linear(8, 4).eval()
    fed = [(torch.randn(1, 8),) for _ in range(1000)]
    probe = Units(xnnpack.INT8.lower(network, fed[0], fed[:64]).exported)
    probe.run(*fed[0])
    network.bias.data = torn(probe.unit)
    lowered = xnnpack.INT8.lower(network, fed[0], fed[:64])
    program = run_program(lowered.buffer, fed)[0]
    integers = np.stack([said(lowered.exported, inputs) for inputs in fed])
    np.testing.assert_allclose(program, integers, rtol=1e-6, atol=0)


class Halves(nn.Module):
    """Half of a whole number, to the next whole number."""

    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.ones(1, 1, dtype=torch.int8))
        self.register_buffer("scales", torch.tensor([0.5]))
        self.register_buffer("zeros", torch.zeros(1, dtype=torch.int64))

    def forward(self, x):
        ops, whole = torch.ops.quantized_decomposed, (1.0, 0, -128, 127, torch.int8)
        values = ops.dequantize_per_tensor.default(ops.quantize_per_tensor.default(x, *whole), *whole)
        weight = ops.dequantize_per_channel.default(self.weight, self.scales, self.zeros, 0, -127, 127, torch.int8)
        halves = torch.ops.aten.linear.default(values, weight)
        return ops.dequantize_per_tensor.default(ops.quantize_per_tensor.default(halves, *whole), *whole)


@pytest.mark.parametrize(
    ("number", "half", "sure"), [(2.0, 1.0, True), (1.0, 0.0, False), (3.0, 2.0, False), (-4.0, -2.0, True)]
)
def test_a_number_on_a_tie_settles_nothing(number, half, sure):
    inputs = (torch.tensor([[number]]),)
    graph = torch.export.export(Halves().eval(), inputs).module()
    assert said(graph, inputs).item() == half
    assert settled(graph, inputs) == sure


def test_a_float_graph_is_computed_as_it_is():
    network, inputs = Tiny(seed=0), items(1)[0]
    graph = torch.export.export(network, inputs).module()
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(said(graph, inputs)).float(), network(*inputs))
