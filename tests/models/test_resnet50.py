from __future__ import annotations

import math

import pytest
import torch

from kdbench.errors import UsageError
from kdbench.measures.compute import count_params
from kdbench.models.network import build, shapes, stages
from kdbench.models.resnet50 import resnet50

NARROW = (4, 2, 3, 4, 5)


def arithmetic(channels: int, outputs: int) -> int:
    """The parameters of a 3x3 stem, of 3 + 4 + 6 + 3 bottlenecks and of the linear layer."""

    def convolution(size: int, into: int, out: int) -> int:
        return size * size * into * out + 2 * out

    before, total = 64, convolution(3, channels, 64)
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            total += convolution(1, before, width) + convolution(3, width, width) + convolution(1, width, 4 * width)
            if block == 0:
                total += convolution(1, before, 4 * width)
            before = 4 * width
    return total + before * outputs + outputs


@pytest.mark.parametrize(("outputs", "expected"), [(10, 23_520_842), (100, 23_705_252)])
def test_parameters_are_those_of_the_literature(outputs, expected):
    # 23,705,252 has the ResNet-50 with a 3x3 stem for CIFAR-100, RepDistiller's among others.
    assert arithmetic(3, outputs) == expected
    with torch.device("meta"):
        assert count_params(build("resnet50", outputs, (3, 32, 32), {})) == expected


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (2, 13, 7), (1, 1, 1)])
def test_any_size_and_channel_count(shape):
    network = resnet50(5, shape, widths=NARROW)
    half, quarter, eighth = (tuple(math.ceil(side / by) for side in shape[1:]) for by in (2, 4, 8))
    assert shapes(network, shape, stages(network)) == {
        "stem": (4, *shape[1:]),
        "stage1": (8, *shape[1:]),
        "stage2": (12, *half),
        "stage3": (16, *quarter),
        "stage4": (20, *eighth),
        "pool": (20,),
    }


@pytest.mark.parametrize("place", [0, 1])
def test_a_block_adds_its_shortcut(place):
    torch.manual_seed(0)
    block = resnet50(5, (1, 8, 8), widths=NARROW).stage2[place].eval()
    inputs = torch.randn(2, 12 if place else 8, 6, 6)
    with torch.no_grad():
        maps = torch.relu(block.narrow.norm(block.narrow.conv(inputs)))
        maps = torch.relu(block.filter.norm(block.filter.conv(maps)))
        maps = block.widen.norm(block.widen.conv(maps))
        short = inputs if place else block.shortcut.norm(block.shortcut.conv(inputs))
        torch.testing.assert_close(block(inputs), torch.relu(maps + short))
    assert block.filter.conv.stride == ((1, 1) if place else (2, 2))


def test_convolutions_start_from_kaiming_s_distribution():
    torch.manual_seed(0)
    network = resnet50(10, (3, 32, 32), widths=(4, 4, 4, 4, 256))
    assert network.stage4.block1.narrow.conv.weight.std().item() == pytest.approx(math.sqrt(2 / 256), rel=0.03)


def test_widths_are_five_positive_numbers():
    with pytest.raises(UsageError, match=r"^resnet50 widths: found \[8\], expected 5 positive numbers \(stem, stage1"):
        build("resnet50", 10, (1, 8, 8), {"widths": [8]})
