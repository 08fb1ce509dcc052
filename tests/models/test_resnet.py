from __future__ import annotations

import math

import pytest
import torch

from kdbench.catalog import entries
from kdbench.errors import UsageError
from kdbench.measures.compute import count_params
from kdbench.models.network import build, features, shapes, stages
from kdbench.models.resnet import resnet8, resnet20


def arithmetic(depth: int, widths: tuple[int, ...], channels: int, outputs: int) -> int:
    """The parameters of a ResNet with 1x1 convolutions on its changing shortcuts, added up layer by layer."""

    def convolution(size: int, into: int, out: int) -> int:
        return size * size * into * out + 2 * out  # without bias, with the scale and shift of its norm

    stem, *others = widths
    total = convolution(3, channels, stem)
    before = stem
    for number, width in enumerate(others):
        for block in range((depth - 2) // 6):
            total += convolution(3, before, width) + convolution(3, width, width)
            if block == 0 and (number > 0 or before != width):
                total += convolution(1, before, width)
            before = width
    return total + before * outputs + outputs


# The figures of the distillation literature's networks for 3x32x32; 278,324 is its resnet20 for CIFAR-100.
PARAMETERS = {
    "resnet8": (78_042, 83_892),
    "resnet14": (175_258, 181_108),
    "resnet20": (272_474, 278_324),
    "resnet32": (466_906, 472_756),
    "resnet44": (661_338, 667_188),
    "resnet56": (855_770, 861_620),
    "resnet110": (1_730_714, 1_736_564),
    "resnet8x4": (1_210_410, 1_233_540),
    "resnet32x4": (7_410_730, 7_433_860),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_those_of_the_literature(name):
    depth, _, wide = name.removeprefix("resnet").partition("x")
    widths = (32, 64, 128, 256) if wide else (16, 16, 32, 64)
    for outputs, expected in zip((10, 100), PARAMETERS[name], strict=True):
        assert arithmetic(int(depth), widths, 3, outputs) == expected
        with torch.device("meta"):
            assert count_params(build(name, outputs, (3, 32, 32), {})) == expected


def test_every_network_of_the_family_is_counted():
    found = {name for name, entry in entries("models").items() if entry.module == "kdbench.models.resnet"}
    assert found == set(PARAMETERS)


def test_padded_shortcuts_would_give_the_paper_s_resnet20():
    # He et al. 2016 pad with zeros on CIFAR: without the two 1x1 convolutions and their norms, 0.27M.
    shortcuts = (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)
    assert PARAMETERS["resnet20"][0] - shortcuts == 269_722


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (2, 13, 7), (1, 1, 1)])
def test_any_size_and_channel_count(shape):
    network = resnet8(5, shape)
    half, quarter = ([math.ceil(side / by) for side in shape[1:]] for by in (2, 4))
    assert shapes(network, shape, stages(network)) == {
        "stem": (16, *shape[1:]),
        "stage1": (16, *shape[1:]),
        "stage2": (32, *half),
        "stage3": (64, *quarter),
        "pool": (64,),
    }
    assert network.eval()(torch.zeros(3, *shape)).shape == (3, 5)


def test_features_come_after_the_last_relu_and_the_outputs_from_the_pooled_ones():
    torch.manual_seed(0)
    network = resnet20(10, (1, 8, 8)).eval()
    with features(network, stages(network)) as seen, torch.no_grad():
        outputs = network(torch.randn(4, 1, 8, 8))
        for name in ("stem", "stage1", "stage2", "stage3"):
            assert seen[name].min() == 0
        torch.testing.assert_close(seen["pool"], seen["stage3"].mean((2, 3)))
        torch.testing.assert_close(outputs, network.get_submodule(network.classifier)(seen["pool"]))


def test_a_block_adds_its_shortcut():
    torch.manual_seed(0)
    block = resnet8(10, (1, 8, 8)).eval().stage2.block1
    inputs = torch.randn(2, 16, 8, 8)
    with torch.no_grad():
        branch = block.norm2(block.conv2(torch.relu(block.norm1(block.conv1(inputs)))))
        torch.testing.assert_close(block(inputs), torch.relu(branch + block.shortcut.norm(block.shortcut.conv(inputs))))


def test_convolutions_start_from_kaiming_s_distribution():
    torch.manual_seed(0)
    network = resnet8(10, (3, 32, 32), widths=(16, 16, 64, 256))
    weight = network.stage3.block1.conv2.weight
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (256 * 9)), rel=0.01)
    assert abs(weight.mean().item()) < 1e-3
    with torch.no_grad():
        wide = network.stage3.block1.conv1.weight.std().item()
    assert wide == pytest.approx(math.sqrt(2 / (256 * 9)), rel=0.01)


def test_the_global_generator_decides_the_weights():
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.nn.utils.parameters_to_vector(resnet8(10, (1, 8, 8)).parameters())

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


@pytest.mark.parametrize("widths", [[16, 32, 64], [16, 16, 32, 0]])
def test_widths_are_four_positive_numbers(widths):
    with pytest.raises(UsageError, match=r"resnet widths: found \[.*\], expected four positive numbers \(stem"):
        build("resnet8", 10, (1, 8, 8), {"widths": widths})


def test_a_stride_of_two_begins_at_half_the_resolution():
    network = build("resnet8", 10, (1, 28, 28), {"stride": 2})
    assert count_params(network) == count_params(build("resnet8", 10, (1, 28, 28), {}))
    found = shapes(network, (1, 28, 28), stages(network))
    assert [found[name][1] for name in ("stem", "stage1", "stage2", "stage3")] == [14, 14, 7, 4]
    with pytest.raises(UsageError, match="resnet stride: found 0, expected 1 or 2"):
        build("resnet8", 10, (1, 8, 8), {"stride": 0})
