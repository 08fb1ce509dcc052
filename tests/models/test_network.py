from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import nn

from kdbench.errors import UsageError
from kdbench.models.network import build, classifier, features, shapes, stages


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build("dscnn", 10, (1, 8, 8), {"width": 4})


def test_features_are_those_of_the_last_forward(network):
    network.eval()
    first, second = torch.randn(2, 3, 1, 8, 8)
    with features(network, ["stage2", "pool"]) as seen:
        network(first)
        assert set(seen) == {"stage2", "pool"}
        before = dict(seen)
        network(second)
        assert not torch.equal(seen["pool"], before["pool"])
        torch.testing.assert_close(seen["stage2"], network.stage2(network.stage1(network.stem(second))))


def test_features_carry_gradients_to_the_layers_below_them_only(network):
    with features(network, ["stage2"]) as seen:
        network(torch.randn(3, 1, 8, 8))
    seen["stage2"].square().sum().backward()
    assert network.stem.conv.weight.grad.abs().sum() > 0
    assert network.stage3.pointwise.weight.grad is None


def test_outside_the_block_nothing_is_kept_and_no_hook_stays(network):
    with features(network, ["stem"]) as seen:
        network(torch.zeros(1, 1, 8, 8).repeat(2, 1, 1, 1))
        kept = seen["stem"]
    network(torch.randn(2, 1, 8, 8))
    assert seen["stem"] is kept
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_stage_that_a_forward_skips_is_missing():
    class Fork(nn.Module):
        stages = ("left", "right")
        classifier = "left"

        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, inputs):
            return (self.left if inputs.sum() > 0 else self.right)(inputs)

    fork = Fork()
    with features(fork, fork.stages) as seen:
        fork(torch.ones(1, 2))
        assert set(seen) == {"left"}
        fork(-torch.ones(1, 2))
        assert set(seen) == {"right"}


def stage_of(*layers):
    network = nn.Sequential(nn.Sequential(*layers))
    network.stages, network.classifier = ("0",), "0"
    return network


def test_before_the_last_activation_of_a_stage(network):
    items = torch.randn(3, 1, 8, 8)
    for made, stage in [(network, "stage2"), (build("resnet14", 10, (1, 8, 8), {}), "stage3")]:
        made.eval()
        with features(made, [stage, stage + ".pre", "stem.pre"]) as seen:
            made(items)
        assert seen[stage + ".pre"].min() < 0
        assert torch.equal(seen[stage + ".pre"].relu(), seen[stage])
        torch.testing.assert_close(seen["stem.pre"], made.stem.norm(made.stem.conv(items)))
        seen[stage + ".pre"].sum().backward()
        assert made.stem.conv.weight.grad.abs().sum() > 0
        assert shapes(made, (1, 8, 8), [stage + ".pre"])[stage + ".pre"] == shapes(made, (1, 8, 8), [stage])[stage]
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in made.modules())


@pytest.mark.parametrize("activation", [nn.ReLU(inplace=True), nn.ReLU6(), nn.Hardswish(), nn.PReLU(), nn.GELU()])
def test_an_activation_is_told_by_its_module_and_may_overwrite_its_input(activation):
    network, items = stage_of(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), activation), torch.randn(5, 4)
    with features(network, ["0.pre"]) as seen:
        network(items)
        first = seen["0.pre"]
        network(items)
    wanted = network[0][2](network[0][0](items).relu())
    torch.testing.assert_close(first, wanted)
    torch.testing.assert_close(seen["0.pre"], wanted)


def test_a_stage_that_does_not_end_in_an_activation_is_tapped_at_its_end():
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.relu = nn.Linear(4, 4), nn.ReLU()

        def forward(self, inputs):
            return inputs + self.relu(self.linear(inputs))

    items = torch.randn(5, 4)
    for network in (stage_of(Residual()), stage_of(nn.ReLU(), nn.Linear(4, 4)), stage_of(nn.Linear(4, 4))):
        with features(network, ["0.pre"]) as seen:
            output = network(items)
            assert seen["0.pre"] is output


def test_a_submodule_called_pre_is_a_stage_like_any_other():
    stage = nn.Sequential(OrderedDict(pre=nn.Linear(4, 4), relu=nn.ReLU(), last=nn.Linear(4, 4), end=nn.ReLU()))
    network, items = stage_of(*stage), torch.randn(5, 4)
    network[0] = stage
    with features(network, ["0.pre"]) as seen:
        network(items)
    torch.testing.assert_close(seen["0.pre"], stage.pre(items))
    with pytest.raises(UsageError, match=r"the network has no stage '1\.pre'"):
        features(network, ["1.pre"]).__enter__()


def test_an_unknown_stage_is_refused_with_the_nearest(network):
    with pytest.raises(UsageError, match=r"the network has no stage 'stage4'; did you mean 'stage3' or 'stage2'"):
        features(network, ["stage4"]).__enter__()


def test_the_dry_run_leaves_no_trace(network):
    network.train()
    network.stage1.eval()
    network.extra = nn.Dropout(0.5)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    state = torch.get_rng_state()
    assert shapes(network, (1, 8, 8), ["pool", "stem"]) == {"pool": (4,), "stem": (4, 8, 8)}
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_the_dry_run_restores_modes_and_generator_of_a_network_that_draws():
    class Drawing(nn.Module):
        stages = ("layer",)
        classifier = "layer"

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 3)

        def forward(self, inputs):
            return self.layer(inputs + torch.rand(1))

    drawing = Drawing()
    state = torch.get_rng_state()
    assert shapes(drawing, (2,), ["layer"]) == {"layer": (3,)}
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        shapes(drawing, (4,), ["layer"])
    assert drawing.training


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet9", {}, "unknown model 'resnet9'; did you mean 'resnet"),
        ("dscnn", {"widht": 4}, "model 'dscnn' has no option 'widht'; did you mean 'width'?"),
        ("dscnn", {"outputs": 4}, "model 'dscnn' has no option 'outputs'; known: width, growth"),
        ("dscnn", {"width": "8"}, "model 'dscnn' option 'width': found '8', expected a valid integer"),
        ("dscnn", {"width": 8.0}, "model 'dscnn' option 'width': found 8.0, expected a valid integer"),
        ("dscnn", {"width": 8.5}, "model 'dscnn' option 'width': found 8.5, expected a valid integer"),
        ("dscnn", {"width": True}, "model 'dscnn' option 'width': found True, expected a valid integer"),
        ("resnet8", {"widths": [16, "a"]}, "model 'resnet8' option 'widths': found [16, 'a'], expected a valid"),
    ],
)
def test_bad_names_and_options_are_one_line(name, options, message):
    with pytest.raises(UsageError) as caught:
        build(name, 10, (1, 8, 8), options)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


PLUGIN = """
from torch import nn

class Plain(nn.Module):
    {attributes}
    def __init__(self, outputs, shape):
        super().__init__()
        self.body = nn.Flatten()
        self.head = nn.Linear(shape[0] * shape[1] * shape[2], outputs)

    def forward(self, inputs):
        return self.head(self.body(inputs))

def plain(outputs, shape):
    return Plain(outputs, shape)
"""


def plugin(tmp_path, attributes):
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN.format(attributes=attributes))
    return f"{file}:plain"


def test_an_architecture_in_a_file_of_the_user_s(tmp_path):
    network = build(plugin(tmp_path, "stages, classifier = ('body',), 'head'"), 3, (1, 2, 2), {})
    assert (stages(network), classifier(network)) == (("body",), "head")
    assert shapes(network, (1, 2, 2), ["body"]) == {"body": (4,)}


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ("", "network Plain has no attribute 'stages': a tuple of names of submodules, shallow to deep"),
        ("stages = ('body',)", "network Plain has no attribute 'classifier': the name of its last linear module"),
        ("stages, classifier = ('bodi',), 'head'", "names a part 'bodi' that it has no submodule for"),
    ],
)
def test_an_architecture_must_name_its_stages_and_classifier(tmp_path, attributes, message):
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        build(plugin(tmp_path, attributes), 3, (1, 2, 2), {})
