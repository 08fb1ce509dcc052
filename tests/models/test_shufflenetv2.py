from __future__ import annotations

import math

import pytest
import torch

from kdbench.errors import UsageError
from kdbench.measures.compute import count_params
from kdbench.models.network import build, shapes, stages
from kdbench.models.shufflenetv2 import shufflenetv2

NARROW = (4, 6, 8, 12, 16)


def arithmetic(channels: int, outputs: int) -> int:
    """The parameters of the stem, of 4 + 8 + 4 blocks, of the last 1x1 convolution and of the linear layer."""
    before, total = 24, 24 * channels + 2 * 24
    for width, blocks in ((116, 4), (232, 8), (464, 4)):
        half = width // 2
        short = 9 * before + 2 * before + before * half + 2 * half
        worked = before * half + 2 * half + 9 * half + 2 * half + half * half + 2 * half
        later = half * half + 2 * half + 9 * half + 2 * half + half * half + 2 * half
        total += short + worked + (blocks - 1) * later
        before = width
    return total + before * 1024 + 2 * 1024 + 1024 * outputs + outputs


@pytest.mark.parametrize(("outputs", "expected"), [(10, 1_263_278), (100, 1_355_528)])
def test_parameters_are_those_of_the_literature(outputs, expected):
    # 1,355,528 has RepDistiller's ShuffleV2 for CIFAR-100.
    assert arithmetic(3, outputs) == expected
    with torch.device("meta"):
        assert count_params(build("shufflenetv2", outputs, (3, 32, 32), {})) == expected


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (2, 13, 7), (1, 1, 1)])
def test_any_size_and_channel_count(shape):
    network = shufflenetv2(5, shape, widths=NARROW)
    half, quarter, eighth = (tuple(math.ceil(side / by) for side in shape[1:]) for by in (2, 4, 8))
    assert shapes(network, shape, stages(network)) == {
        "stem": (4, *shape[1:]),
        "stage1": (6, *half),
        "stage2": (8, *quarter),
        "stage3": (12, *eighth),
        "pool": (16,),
    }


def test_half_of_the_channels_pass_a_block():
    torch.manual_seed(0)
    block = shufflenetv2(5, (1, 8, 8), widths=NARROW).stage3.block2.eval()
    inputs = torch.randn(2, 12, 3, 3)
    with torch.no_grad():
        maps = torch.relu(block.branch.first.norm(block.branch.first.conv(inputs[:, 6:])))
        maps = block.branch.depthwise.norm(block.branch.depthwise.conv(maps))
        maps = torch.relu(block.branch.last.norm(block.branch.last.conv(maps)))
        outputs = block(inputs)
        torch.testing.assert_close(outputs[:, 0::2], inputs[:, :6])
        torch.testing.assert_close(outputs[:, 1::2], maps)


def test_all_channels_are_worked_on_twice_in_the_first_block_of_a_stage():
    torch.manual_seed(0)
    block = shufflenetv2(5, (1, 8, 8), widths=NARROW).stage3.block1.eval()
    inputs = torch.randn(2, 8, 5, 4)
    with torch.no_grad():
        short = block.short.depthwise.norm(block.short.depthwise.conv(inputs))
        short = torch.relu(block.short.widen.norm(block.short.widen.conv(short)))
        maps = torch.relu(block.branch.first.norm(block.branch.first.conv(inputs)))
        maps = block.branch.depthwise.norm(block.branch.depthwise.conv(maps))
        maps = torch.relu(block.branch.last.norm(block.branch.last.conv(maps)))
        outputs = block(inputs)
        assert outputs.shape == (2, 12, 3, 2)
        torch.testing.assert_close(outputs[:, 0::2], short)
        torch.testing.assert_close(outputs[:, 1::2], maps)


def test_all_maps_of_a_stage_have_been_through_a_relu():
    torch.manual_seed(0)
    network = shufflenetv2(5, (1, 8, 8), widths=NARROW).eval()
    with torch.no_grad():
        assert network.stage1(network.stem(torch.randn(8, 1, 8, 8))).min() == 0


def test_weights_start_as_torch_s_layers_do():
    torch.manual_seed(0)
    weight = shufflenetv2(5, (1, 8, 8)).pool.head.conv.weight
    bound = 1 / math.sqrt(464)
    assert weight.abs().max().item() == pytest.approx(bound, rel=0.001)
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ([24, 116, 232, 464], "shufflenetv2 widths: found [24, 116, 232, 464], expected 5 positive numbers (stem"),
        ([24, 116, 233, 464, 8], "shufflenetv2 widths: found [24, 116, 233, 464, 8], expected even numbers for the"),
    ],
)
def test_widths_that_cannot_be_split_are_refused(widths, message):
    with pytest.raises(UsageError) as caught:
        build("shufflenetv2", 10, (1, 8, 8), {"widths": widths})
    assert str(caught.value).startswith(message)
