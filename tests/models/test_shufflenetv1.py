from __future__ import annotations

import math

import pytest
import torch

from kdbench.errors import UsageError
from kdbench.measures.compute import count_params
from kdbench.models.network import build, shapes, stages
from kdbench.models.shufflenetv1 import shufflenetv1

NARROW = (12, 24, 48, 96)


def arithmetic(channels: int, outputs: int) -> int:
    """The parameters of the stem, of 4 + 8 + 4 blocks of three groups, and of the linear layer."""
    before, total = 24, 24 * channels + 2 * 24
    for stage, (width, blocks) in enumerate(((240, 4), (480, 8), (960, 4))):
        for block in range(blocks):
            made = width - before if block == 0 else width
            inner = made // 4
            groups = 1 if stage == block == 0 else 3
            total += before * inner // groups + 2 * inner
            total += 9 * inner + 2 * inner
            total += inner * made // 3 + 2 * made
            before = width
    return total + before * outputs + outputs


@pytest.mark.parametrize(("outputs", "expected"), [(10, 862_768), (100, 949_258)])
def test_parameters_are_those_of_the_literature(outputs, expected):
    # 949,258 has RepDistiller's ShuffleV1 for CIFAR-100.
    assert arithmetic(3, outputs) == expected
    with torch.device("meta"):
        assert count_params(build("shufflenetv1", outputs, (3, 32, 32), {})) == expected


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (2, 13, 7), (1, 1, 1)])
def test_any_size_and_channel_count(shape):
    network = shufflenetv1(5, shape, widths=NARROW)
    half, quarter, eighth = (tuple(math.ceil(side / by) for side in shape[1:]) for by in (2, 4, 8))
    assert shapes(network, shape, stages(network)) == {
        "stem": (12, *shape[1:]),
        "stage1": (24, *half),
        "stage2": (48, *quarter),
        "stage3": (96, *eighth),
        "pool": (96,),
    }


def test_a_block_adds_its_input():
    torch.manual_seed(0)
    block = shufflenetv1(5, (1, 8, 8), widths=NARROW).stage2.block2.eval()
    inputs = torch.randn(2, 48, 4, 4)
    with torch.no_grad():
        maps = torch.relu(block.narrow.norm(block.narrow.conv(inputs)))
        maps = maps[:, [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]]
        maps = torch.relu(block.depthwise.norm(block.depthwise.conv(maps)))
        maps = block.widen.norm(block.widen.conv(maps))
        torch.testing.assert_close(block(inputs), torch.relu(maps + inputs))
    assert [part.conv.groups for part in (block.narrow, block.depthwise, block.widen)] == [3, 12, 3]


@pytest.mark.parametrize("size", [(4, 4), (5, 3)])
def test_the_first_block_of_a_stage_joins_the_means_of_its_input(size):
    torch.manual_seed(0)
    network = shufflenetv1(5, (1, 8, 8), widths=NARROW).eval()
    block = network.stage2.block1
    inputs = torch.randn(2, 24, *size)
    with torch.no_grad():
        outputs = block(inputs)
        means = torch.nn.functional.avg_pool2d(inputs, 3, 2, padding=1)
        torch.testing.assert_close(outputs[:, 24:], torch.relu(means))
        made = block.widen(block.depthwise(block.shuffle(block.narrow(inputs))))
        torch.testing.assert_close(outputs[:, :24], torch.relu(made))
    assert network.stage1.block1.narrow.conv.groups == 1
    assert block.narrow.conv.groups == 3


def test_weights_start_as_torch_s_layers_do():
    torch.manual_seed(0)
    weight = shufflenetv1(5, (1, 8, 8)).stage3.block2.widen.conv.weight
    bound = 1 / math.sqrt(weight[0].numel())
    assert weight.abs().max().item() == pytest.approx(bound, rel=0.001)
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ([24, 240, 480], "shufflenetv1 widths: found [24, 240, 480], expected 4 positive numbers (stem, stage1"),
        ([24, 240, 480, 964], "shufflenetv1 widths: found [24, 240, 480, 964], expected growing multiples of 12"),
        ([24, 24, 48, 96], "shufflenetv1 widths: found [24, 24, 48, 96], expected growing multiples of 12"),
    ],
)
def test_widths_that_cannot_be_grouped_are_refused(widths, message):
    with pytest.raises(UsageError) as caught:
        build("shufflenetv1", 10, (1, 8, 8), {"widths": widths})
    assert str(caught.value).startswith(message)
