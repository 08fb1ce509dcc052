from __future__ import annotations

import pytest
import torch
from torch import nn

from kdbench.measures.compute import Compute, count_macs, count_params
from kdbench.measures.measure import Evidence
from kdbench.measures.metric import METRICS
from kdbench.models.network import build
from kdbench.tasks.classification import Classification


def test_the_counts_are_those_of_the_training_stage():
    evidence = Evidence(Classification(), {"params": 506, "macs": 9_000}, {}, None, None, None, None, None, None)
    found = Compute().of(evidence)
    assert {metric: found.pop(metric) for metric in ("params", "macs")} == {"params": 506.0, "macs": 9_000.0}
    assert set(found.values()) == {"the target is no NPU"}
    assert set(Compute.metrics) <= set(METRICS)


def test_what_an_npus_compiler_estimates_is_passed_on():
    program = {"estimates": {metric: float(place) for place, metric in enumerate(Compute.estimates)}}
    evidence = Evidence(Classification(), {"params": 1, "macs": 2}, program, None, None, None, None, None, None)
    assert Compute().of(evidence) == {"params": 1.0, "macs": 2.0, **program["estimates"]}
    assert {METRICS[metric].tier for metric in Compute.estimates} == {"estimate"}


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (nn.Linear(7, 5), (7,), 7 * 5),
        (nn.Conv2d(3, 6, 3, padding=1), (3, 8, 10), 8 * 10 * 6 * 3 * 9),
        (nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False), (3, 8, 10), 4 * 5 * 6 * 3 * 9),
        (nn.Conv2d(6, 6, 3, padding=1, groups=6), (6, 8, 8), 8 * 8 * 6 * 9),
        (nn.Conv2d(6, 12, 5, groups=3), (6, 8, 8), 4 * 4 * 12 * 2 * 25),
        (nn.Conv2d(6, 4, 1), (6, 8, 8), 8 * 8 * 6 * 4),
        (nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), (3, 8, 8), 0),
    ],
)
def test_multiplies_of_a_layer_are_exact(layer, shape, macs):
    assert count_macs(layer, torch.zeros(1, *shape)) == macs


def test_multiplies_of_whole_networks_by_hand():
    stem, separable = 64 * 9 * 8, lambda places: places * (9 * 8 + 8 * 8)
    dscnn = stem + separable(64) + separable(16) + separable(4) + 8 * 10
    assert count_macs(build("dscnn", 10, (1, 8, 8), {}), torch.zeros(1, 1, 8, 8)) == dscnn
    stages = 64 * 2 * 16 * 16 * 9
    stages += 16 * (16 * 32 * 9 + 32 * 32 * 9 + 16 * 32)
    stages += 4 * (32 * 64 * 9 + 64 * 64 * 9 + 32 * 64)
    resnet8 = 64 * 16 * 9 + stages + 64 * 10
    assert count_macs(build("resnet8", 10, (1, 8, 8), {}), torch.zeros(1, 1, 8, 8)) == resnet8


def test_counting_leaves_modes_and_statistics_alone():
    network = build("dscnn", 10, (1, 8, 8), {})
    network.stage1.eval()
    modes = [module.training for module in network.modules()]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    count_macs(network, torch.randn(1, 1, 8, 8))
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_parameters_count_once_and_buffers_do_not():
    first = nn.Linear(3, 4)
    network = nn.Sequential(first, nn.BatchNorm1d(4), nn.Sequential(first))
    assert count_params(network) == 3 * 4 + 4 + 2 * 4
