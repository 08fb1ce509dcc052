"""Multiply-accumulates by a program's bytes are those that torch counts of the network that it was made of."""

import pytest
import torch
from torch import nn

from kdbench.lowering.multiplied import macs_of
from kdbench.lowering.portable import FP32 as PORTABLE
from kdbench.lowering.program import opened
from kdbench.lowering.xnnpack import FP32, INT8
from kdbench.measures.compute import count_macs


class Product(nn.Module):
    def forward(self, one, other):
        return torch.bmm(one, other)


CONVOLUTIONS = nn.Sequential(
    nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8, padding=1), nn.Conv2d(8, 16, 1),
    nn.Conv2d(16, 16, 3, groups=4, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5),
)  # fmt: skip
IMAGE = (torch.ones(1, 3, 12, 12),)


def read(lowered):
    return macs_of(opened(lowered.buffer, "it", ""))


@pytest.mark.parametrize(
    ("network", "inputs"),
    [
        (CONVOLUTIONS, IMAGE),
        (nn.Sequential(nn.Linear(7, 9), nn.ReLU(), nn.Linear(9, 3)), (torch.ones(4, 7),)),
        (Product(), (torch.ones(2, 3, 4), torch.ones(2, 4, 5))),
        (nn.Conv1d(3, 4, 3), (torch.ones(1, 3, 9),)),
        (nn.ReLU(), (torch.ones(1, 3),)),
    ],
    ids=["convolutions", "linear", "product", "one dimension", "nothing"],
)
def test_the_bytes_say_what_torch_counts(network, inputs):
    assert read(FP32.lower(network.eval(), inputs)) == count_macs(network, *inputs)


def test_integers_multiply_as_often():
    calibration = [(torch.randn(1, 3, 12, 12),) for _ in range(32)]
    assert read(INT8.lower(CONVOLUTIONS.eval(), IMAGE, calibration)) == count_macs(CONVOLUTIONS, *IMAGE)


def test_what_the_bytes_do_not_say_is_none(broken_program):
    assert read(PORTABLE.lower(CONVOLUTIONS.eval(), IMAGE)) is None
    assert read(FP32.lower(nn.ConvTranspose2d(3, 4, 3).eval(), IMAGE)) is None
    assert macs_of(opened(broken_program.path.read_bytes(), "it", "")) is None
