import torch
from lowering.conftest import Tiny, items
from torch import nn

from kdbench.lowering.structure import structure_of


class Function(nn.Module):
    def __init__(self, function, *tensors):
        super().__init__()
        self.function = function
        for place, tensor in enumerate(tensors):
            self.register_buffer(f"constant{place}", tensor)

    def forward(self, a, b):
        return self.function(a, b, *self.buffers())


def named(network, *inputs, target="some", precision="fp32"):
    return structure_of(torch.export.export(network.eval(), inputs), target, precision)


def of(function, *tensors, a=None, b=None):
    a, b = (torch.zeros(2, 3) if each is None else each for each in (a, b))
    return named(Function(function, *tensors), a, b)


def test_seeds_share_a_structure_and_widths_do_not():
    (example,) = items(1)[0]
    assert named(Tiny(seed=0), example) == named(Tiny(seed=1), example)
    assert named(Tiny(seed=0), example) != named(Tiny(seed=0, width=16), example)


def test_quantised_seeds_share_a_structure(int8, other_int8, fp32):
    assert int8.lowered.buffer != other_int8.lowered.buffer
    assert int8.lowered.structure == other_int8.lowered.structure
    assert int8.lowered.structure != fp32.lowered.structure
    assert len(int8.lowered.buffer) == len(other_int8.lowered.buffer)


def test_values_of_constants_are_left_out_and_their_shapes_and_types_are_not():
    one = of(lambda a, b, c: a + b + c, torch.ones(3))
    assert one == of(lambda a, b, c: a + b + c, torch.full((3,), 5.0))
    assert one != of(lambda a, b, c: a + b + c, torch.ones(2, 3))
    assert one != of(lambda a, b, c: a + b + c, torch.ones(3, dtype=torch.float64))


def test_operators_their_numbers_and_their_wiring_count():
    one = of(lambda a, b: a - b)
    assert one == of(lambda a, b: torch.sub(a, b))
    assert one != of(lambda a, b: b - a)
    assert one != of(lambda a, b: a + b)
    assert of(lambda a, b: a.clamp(0, 6) + b) != of(lambda a, b: a.clamp(0, 7) + b)


def test_shapes_and_dimension_orders_count():
    image = torch.zeros(1, 4, 3, 3)
    one = of(lambda a, b: a + b, a=image, b=image)
    assert one != of(lambda a, b: a + b, a=torch.zeros(1, 4, 3, 2), b=torch.zeros(1, 4, 3, 2))
    last = image.to(memory_format=torch.channels_last)
    assert one != of(lambda a, b: a + b, a=last, b=last)


def test_target_precision_and_libraries_count(monkeypatch):
    (example,) = items(1)[0]
    one = named(Tiny(seed=0), example)
    assert one != named(Tiny(seed=0), example, target="other")
    assert one != named(Tiny(seed=0), example, precision="int8")
    monkeypatch.setattr("kdbench.lowering.structure.version", lambda _library: "0")
    assert one != named(Tiny(seed=0), example)


def scaled(scale, zero_point, lowest=-128):
    def function(a, b):
        q = torch.ops.quantized_decomposed.quantize_per_tensor(a, scale, zero_point, lowest, 127, torch.int8)
        d = torch.ops.quantized_decomposed.dequantize_per_tensor(q, scale, zero_point, lowest, 127, torch.int8)
        return d + b

    return of(function)


def test_scales_and_zero_points_are_left_out_and_ranges_are_not():
    assert scaled(0.5, 3) == scaled(0.25, -7)
    assert scaled(0.5, 3) != scaled(0.5, 3, lowest=-127)
