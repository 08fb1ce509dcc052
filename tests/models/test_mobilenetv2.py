from __future__ import annotations

import math

import pytest
import torch

from kdbench.errors import UsageError
from kdbench.measures.compute import count_params
from kdbench.models.mobilenetv2 import InvertedResidual, mobilenetv2
from kdbench.models.network import build, shapes, stages


def arithmetic(width: float, expansion: int, channels: int, outputs: int) -> int:
    """The parameters of table 2 of the paper, row by row, the first row with the 1x1 convolution of the others."""
    before = int(32 * width)
    total = 9 * channels * before + 2 * before
    rows = [(1, 16, 1), *((expansion, c, n) for c, n in ((24, 2), (32, 3), (64, 4), (96, 3), (160, 3), (320, 1)))]
    for times, full, blocks in rows:
        after = int(full * width)
        for _ in range(blocks):
            inner = times * before
            total += before * inner + 2 * inner + 9 * inner + 2 * inner + inner * after + 2 * after
            before = after
    head = int(1280 * max(1, width))
    return total + before * head + 2 * head + head * outputs + outputs


@pytest.mark.parametrize(
    ("options", "outputs", "expected"),
    [
        ({}, 10, 697_546),
        ({}, 100, 812_836),  # RepDistiller's mobile_half for CIFAR-100
        ({"width": 1.0}, 100, arithmetic(1.0, 6, 3, 100)),
        ({"width": 1.4, "expansion": 3}, 10, arithmetic(1.4, 3, 3, 10)),
    ],
)
def test_parameters_are_those_of_the_literature(options, outputs, expected):
    assert arithmetic(options.get("width", 0.5), options.get("expansion", 6), 3, outputs) == expected
    with torch.device("meta"):
        assert count_params(build("mobilenetv2", outputs, (3, 32, 32), options)) == expected


@pytest.mark.parametrize(
    ("shape", "sides"),
    [
        ((3, 32, 32), [(16, 16), (16, 16), (8, 8), (4, 4), (2, 2)]),
        ((1, 28, 28), [(14, 14), (14, 14), (7, 7), (4, 4), (2, 2)]),
        ((2, 13, 8), [(7, 4), (7, 4), (4, 2), (2, 1), (1, 1)]),
        ((1, 1, 1), [(1, 1)] * 5),
    ],
)
def test_any_size_and_channel_count(shape, sides):
    network = mobilenetv2(5, shape)
    found = shapes(network, shape, stages(network))
    assert found.pop("pool") == (1280,)
    assert list(found) == ["stem", "stage1", "stage2", "stage3", "stage4"]
    assert list(found.values()) == [(w, *side) for w, side in zip((16, 12, 16, 48, 160), sides, strict=True)]


def test_only_blocks_that_keep_the_shape_add_their_input():
    network = mobilenetv2(5, (1, 8, 8), width=0.125, expansion=2)
    blocks = [module for module in network.modules() if isinstance(module, InvertedResidual)]
    assert len(blocks) == 17
    # Of each group all blocks but the first, in the first group the channels change too.
    assert [block.adds for block in blocks] == [
        adds for count in (1, 2, 3, 4, 3, 3, 1) for adds in (False, *([True] * (count - 1)))
    ]


@pytest.mark.parametrize("place", [0, 1])
def test_a_block_is_widened_filtered_narrowed_and_not_activated(place):
    torch.manual_seed(0)
    block = mobilenetv2(5, (1, 8, 8), expansion=3).stage2.group3[place].eval()
    inputs = torch.randn(2, block.expand.conv.in_channels, 8, 8)
    with torch.no_grad():
        maps = torch.relu(block.expand.norm(block.expand.conv(inputs)))
        maps = torch.relu(block.depthwise.norm(block.depthwise.conv(maps)))
        maps = block.project.norm(block.project.conv(maps))
        outputs = block(inputs)
        torch.testing.assert_close(outputs, maps + inputs if place else maps)
    assert outputs.min() < 0
    assert block.depthwise.conv.groups == 3 * inputs.shape[1]


def test_weights_start_as_in_the_literature():
    torch.manual_seed(0)
    network = mobilenetv2(100, (3, 32, 32))
    assert network.pool.head.conv.weight.std().item() == pytest.approx(math.sqrt(2 / 1280), rel=0.01)
    assert network.linear.weight.std().item() == pytest.approx(0.01, rel=0.01)
    assert not network.linear.bias.any()


@pytest.mark.parametrize("options", [{"width": 0.06}, {"expansion": 0}])
def test_a_network_without_channels_is_refused(options):
    with pytest.raises(
        UsageError,
        match=r"^mobilenetv2: found width [\d.]+ and expansion \d, expected a width of at least 0.0625 and an expansion",
    ):
        build("mobilenetv2", 10, (1, 8, 8), options)
    build("mobilenetv2", 10, (1, 8, 8), {"width": 0.0625, "expansion": 1})
