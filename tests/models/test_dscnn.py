from __future__ import annotations

import pytest
import torch

from kdbench.errors import UsageError
from kdbench.measures.compute import count_params
from kdbench.models.network import build, features, shapes, stages


def arithmetic(channels: int, widths: tuple[int, int, int], outputs: int) -> int:
    first, second, third = widths
    total = 9 * channels * first + 2 * first
    for into, out in ((first, first), (first, second), (second, third)):
        total += 9 * into + 2 * into + into * out + 2 * out
    return total + third * outputs + outputs


@pytest.mark.parametrize(
    ("options", "widths"),
    [
        ({}, (8, 8, 8)),
        ({"width": 5}, (5, 5, 5)),
        ({"width": 8, "growth": 1.5}, (8, 12, 18)),
        ({"growth": 2}, (8, 16, 32)),
    ],
)
def test_parameters_and_shapes(options, widths):
    network = build("dscnn", 10, (3, 9, 8), options)
    assert count_params(network) == arithmetic(3, widths, 10)
    first, second, third = widths
    assert shapes(network, (3, 9, 8), stages(network)) == {
        "stem": (first, 9, 8),
        "stage1": (first, 9, 8),
        "stage2": (second, 5, 4),
        "stage3": (third, 3, 2),
        "pool": (third,),
    }
    assert network.eval()(torch.zeros(2, 3, 9, 8)).shape == (2, 10)


def test_features_come_after_the_last_relu_and_the_outputs_from_the_pooled_ones():
    torch.manual_seed(0)
    network = build("dscnn", 10, (1, 8, 8), {}).eval()
    with features(network, stages(network)) as seen, torch.no_grad():
        outputs = network(torch.randn(4, 1, 8, 8))
        for name in ("stem", "stage1", "stage2", "stage3"):
            assert seen[name].min() == 0
        torch.testing.assert_close(seen["pool"], seen["stage3"].mean((2, 3)))
        torch.testing.assert_close(outputs, network.get_submodule(network.classifier)(seen["pool"]))


@pytest.mark.parametrize("options", [{"width": 0}, {"growth": 0.5}])
def test_widths_do_not_vanish(options):
    with pytest.raises(UsageError, match=r"dscnn: found width \d+ and growth [\d.]+, expected both to be at least 1"):
        build("dscnn", 10, (1, 8, 8), options)


def test_a_stride_of_two_begins_at_half_the_resolution():
    network = build("dscnn", 10, (1, 28, 28), {"stride": 2})
    assert count_params(network) == arithmetic(1, (8, 8, 8), 10)
    found = shapes(network, (1, 28, 28), stages(network))
    assert [found[name][1] for name in ("stem", "stage1", "stage2", "stage3")] == [14, 14, 7, 4]
    with pytest.raises(UsageError, match="dscnn: found stride 3, expected 1 or 2"):
        build("dscnn", 10, (1, 8, 8), {"stride": 3})
