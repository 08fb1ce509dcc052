"""What every registered architecture must do, whatever its family; narrowed where it can be, to be quick."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kdbench.catalog import entries
from kdbench.lowering.export import export
from kdbench.models.network import build, classifier, features, stages

NARROW = {
    "resnet": {"widths": [4, 4, 6, 8]},
    "resnet50": {"widths": [4, 2, 2, 4, 4]},
    "wrn": {"widths": [4, 4, 6, 8]},
    "vgg": {"widths": [2, 4, 4, 6, 8]},
    "mobilenetv2": {"width": 0.125, "expansion": 2},
    "shufflenetv1": {"widths": [12, 24, 48, 96]},
    "shufflenetv2": {"widths": [4, 6, 8, 12, 16]},
    "dscnn": {"width": 4},
    "mlp": {"width": 6},
}
"""Options by module, one for each."""

MODELS = entries("models")


def network_of(name, shape=(1, 8, 8), outputs=5):
    torch.manual_seed(0)
    return build(name, outputs, shape, NARROW[MODELS[name].module.rpartition(".")[2]])


SHALLOW = [
    "dscnn",
    "mlp",
    "mobilenetv2",
    "resnet50",
    "resnet8",
    "shufflenetv1",
    "shufflenetv2",
    "vgg13",
    "vgg8",
    "wrn-16-1",
]
"""Of each family one network, and vgg13 for its second convolution; the others repeat its blocks."""


@pytest.fixture(params=SHALLOW)
def name(request):
    return request.param


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this narrow lose time to a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_every_family_is_looked_at():
    assert {MODELS[name].module for name in SHALLOW} == {entry.module for entry in MODELS.values()}


@pytest.mark.parametrize("name", MODELS)
def test_it_is_exported_with_static_shapes(name):
    network = network_of(name, (1, 28, 28)).eval()
    item = torch.randn(1, 1, 28, 28)
    exported = export(network, (item,))
    torch.testing.assert_close(exported.module()(item), network(item), rtol=1e-4, atol=1e-5)
    sizes = [
        size for node in exported.graph.nodes if "val" in node.meta for size in getattr(node.meta["val"], "shape", ())
    ]
    assert sizes
    assert all(type(size) is int for size in sizes)


@pytest.mark.parametrize("name", [name for name in SHALLOW if name != "mlp"], indirect=True)
def test_the_last_map_becomes_the_pooled_features_and_these_the_outputs(name):
    network = network_of(name).eval()
    with features(network, stages(network)) as seen, torch.no_grad():
        outputs = network(torch.randn(3, 1, 8, 8))
        assert list(seen) == list(stages(network))
        last, pooled = stages(network)[-2:]
        assert (pooled, seen[last].ndim, seen[pooled].ndim) == ("pool", 4, 2)
        linear = network.get_submodule(classifier(network))
        assert isinstance(linear, nn.Linear)
        assert linear is [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
        torch.testing.assert_close(network.pool(seen[last]), seen[pooled])
        torch.testing.assert_close(linear(seen[pooled]), outputs)


def test_features_are_not_written_over_and_gradients_repeat(name):
    """A layer that works in place would change a feature, or the value before an activation, after it was handed out."""
    network = network_of(name).train()
    inputs, targets = torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 3])
    copies, gradients = {}, []
    hooks = [
        network.get_submodule(stage).register_forward_hook(
            lambda _module, _inputs, output, stage=stage: copies.__setitem__(stage, output.detach().clone()),
        )
        for stage in stages(network)
    ]
    for _ in range(2):
        network.zero_grad()
        with features(network, stages(network)) as seen:
            nn.functional.cross_entropy(network(inputs), targets).backward()
        assert all(torch.equal(seen[stage], copies[stage]) for stage in stages(network))
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in network.parameters()]))
    assert torch.equal(*gradients)
    assert not any(getattr(module, "inplace", False) for module in network.modules())
    assert all(parameter.grad is not None for parameter in network.parameters())
    for hook in hooks:
        hook.remove()


LINEAR = {"wrn": ("stem",), "mobilenetv2": ("stage1", "stage2", "stage3", "stage4")}
"""Stages that no activation closes, as the architecture has none there."""


def test_a_stage_of_maps_ends_in_the_relu_that_it_has_last(name):
    network = network_of(name).eval()
    family = MODELS[name].module.rpartition(".")[2]
    last = {}
    for stage in stages(network)[:-1]:
        for module in network.get_submodule(stage).modules():
            if isinstance(module, nn.ReLU):
                module.register_forward_hook(
                    lambda _module, _inputs, output, stage=stage: last.__setitem__(stage, output),
                )
    with features(network, stages(network)) as seen, torch.no_grad():
        network(torch.randn(4, 1, 8, 8))
    for stage in stages(network)[:-1]:
        if stage in LINEAR.get(family, ()):
            assert seen[stage].min() < 0
        elif family == "shufflenetv2" and stage != "stem":
            assert seen[stage].min() == 0  # the last shuffle moves what two ReLUs made
        else:
            assert last[stage] is seen[stage]
