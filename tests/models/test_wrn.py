from __future__ import annotations

import math

import pytest
import torch

from kdbench.errors import UsageError
from kdbench.measures.compute import count_params
from kdbench.models.network import build, shapes, stages
from kdbench.models.wrn import wrn_16_1, wrn_16_2


def arithmetic(depth: int, widening: int, channels: int, outputs: int) -> int:
    """The parameters of a WRN as the paper's table 1 draws it, block by block, each with a norm for its input."""
    before, total = 16, 9 * channels * 16
    for width in (16 * widening, 32 * widening, 64 * widening):
        for _ in range((depth - 4) // 6):
            total += 2 * before + 9 * before * width + 2 * width + 9 * width * width
            if before != width:
                total += before * width
            before = width
    return total + 2 * before + before * outputs + outputs


# Of RepDistiller's networks for 3x32x32, for ten classes and for CIFAR-100.
PARAMETERS = {
    "wrn-16-1": (175_066, 180_916),
    "wrn-16-2": (691_674, 703_284),
    "wrn-40-1": (563_930, 569_780),
    "wrn-40-2": (2_243_546, 2_255_156),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_those_of_the_literature(name):
    _, depth, widening = name.split("-")
    for outputs, expected in zip((10, 100), PARAMETERS[name], strict=True):
        assert arithmetic(int(depth), int(widening), 3, outputs) == expected
        with torch.device("meta"):
            assert count_params(build(name, outputs, (3, 32, 32), {})) == expected


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (2, 13, 7)])
def test_any_size_and_channel_count(shape):
    network = wrn_16_2(5, shape, widths=(4, 8, 12, 16))
    half, quarter = ([math.ceil(side / by) for side in shape[1:]] for by in (2, 4))
    assert shapes(network, shape, stages(network)) == {
        "stem": (4, *shape[1:]),
        "stage1": (8, *shape[1:]),
        "stage2": (12, *half),
        "stage3": (16, *quarter),
        "pool": (16,),
    }


@pytest.mark.parametrize("widths", [(4, 4, 8, 8), (4, 6, 8, 10)])
def test_the_network_is_the_paper_s_with_the_norms_where_it_has_them(widths):
    """Norm, ReLU and convolution by hand, each block opened by its own norm, the sums never activated."""
    torch.manual_seed(0)
    network = wrn_16_1(3, (2, 9, 8), widths=widths)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.normal_(module.bias)
    network.eval()
    inputs = torch.randn(4, 2, 9, 8)
    with torch.no_grad():
        total, opening = network.stem(inputs), network.stage1.block1.preact
        for stage in (network.stage1, network.stage2, network.stage3):
            for block in (stage.block1, stage.block2):
                active = (opening if block is stage.block1 else block.preact)(total)
                branch = block.conv2(torch.relu(block.norm(block.conv1(active))))
                total = branch + (total if block.shortcut is None else block.shortcut(active))
            opening = torch.nn.Sequential(stage.norm, stage.relu)
        expected = network.linear(torch.relu(network.stage3.norm(total)).mean((2, 3)))
        torch.testing.assert_close(network(inputs), expected)
    assert (network.stage1.block1.shortcut is None) == (widths[0] == widths[1])
    assert network.stage2.block1.shortcut is not None
    assert network.stage2.block2.shortcut is None


def test_weights_start_as_in_the_literature():
    torch.manual_seed(0)
    network = build("wrn-16-1", 10, (3, 32, 32), {"widths": [16, 16, 32, 256]})
    weight = network.stage3.block1.conv1.weight  # from 32 channels: fan in and fan out differ
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (256 * 9)), rel=0.01)
    assert not network.linear.bias.any()
    assert network.linear.weight.abs().max() <= 1 / math.sqrt(256)


@pytest.mark.parametrize("widths", [[16, 32, 64], [16, 16, 32, 0]])
def test_widths_are_four_positive_numbers(widths):
    with pytest.raises(UsageError, match=r"^wrn widths: found \[.*\], expected 4 positive numbers \(stem, stage1"):
        build("wrn-40-2", 10, (1, 8, 8), {"widths": widths})
