from collections import OrderedDict

import numpy as np
import pytest
import torch
from connectors import connected, prepared
from lessons import two_steps
from scipy import integrate, stats
from torch import nn

from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.ofd import OFD, margins, mean_below_zero, normal_margin, partial_distance
from kdbench.models.network import build


def test_value_and_gradient(draw, step, setting):
    method, taps, connectors = prepared(OFD(beta=0.1), setting)
    assert taps == (["one.pre", "two.pre"], ["b.pre", "c.pre"])
    method.margins["b.pre"] = torch.tensor([-0.1, -1.0, -3.0, -0.5, -2.0], dtype=torch.float64)
    ours = {"one.pre": draw(2, 3, 8, 8, grad=True), "two.pre": draw(2, 3, 4, 4)}
    theirs = {"b.pre": draw(2, 5, 8, 8), "c.pre": draw(2, 6, 8, 8)}
    z = draw(2, 4)
    losses = method.losses(step(z, z, None, ours, theirs))
    losses["overhaul"].backward()

    def overhaul(one):
        b, c = theirs["b.pre"].numpy(), theirs["c.pre"].numpy()
        b = np.maximum(b, method.margins["b.pre"].numpy()[:, None, None])
        c = np.maximum(c, np.array([c[:, k][c[:, k] < 0].mean() for k in range(6)])[:, None, None])
        c = c.reshape(2, 6, 4, 2, 4, 2).mean(axis=(3, 5))
        total = 0.0
        for connector, mine, its, weight in zip(
            connectors, (one, ours["two.pre"].numpy()), (b, c), (0.5, 1.0), strict=True
        ):
            for s, t in zip(connected(connector, mine).ravel(), its.ravel(), strict=True):
                total += 0.0 if s <= t <= 0 else weight * (s - t) ** 2 / 2
        return 0.1 * total

    one = ours["one.pre"].detach().numpy()
    assert losses["overhaul"].item() == pytest.approx(overhaul(one), rel=1e-10)
    for place in [(0, 0, 0, 0), (1, 2, 7, 1)]:
        up, down = one.copy(), one.copy()
        up[place] += 1e-6
        down[place] -= 1e-6
        numeric = (overhaul(up) - overhaul(down)) / 2e-6
        assert ours["one.pre"].grad[place].item() == pytest.approx(numeric, rel=1e-4, abs=1e-8)
    assert all(parameter.grad.abs().sum() > 0 for parameter in connectors[0].parameters())


def test_a_student_below_a_negative_teacher_is_let_be():
    s, t = torch.tensor([-2.0, -1.0, 0.5, -2.0, 2.0]), torch.tensor([-1.0, -2.0, -1.0, 1.0, 1.0])
    values = [
        partial_distance(*pair).item() for pair in zip(s.reshape(5, 1, 1, 1, 1), t.reshape(5, 1, 1, 1, 1), strict=True)
    ]
    assert values == [0.0, 1.0, 2.25, 9.0, 1.0]


@pytest.mark.parametrize(("mean", "deviation"), [(0.3, 0.7), (-1.0, 0.5), (2.0, 1.0), (-30.0, 1.0), (0.0, 2.0)])
def test_the_margin_is_the_mean_of_the_negative_part_of_a_normal(mean, deviation):
    found = normal_margin(torch.tensor(mean, dtype=torch.float64), torch.tensor(deviation, dtype=torch.float64)).item()
    normal = stats.norm(mean, deviation)
    low = mean - 12 * deviation
    wanted = integrate.quad(lambda x: x * normal.pdf(x), low, 0, points=[min(mean, -1e-9)])[0] / normal.cdf(0)
    assert found == pytest.approx(wanted, rel=1e-7)


def test_a_channel_that_is_hardly_ever_negative_has_three_deviations():
    found = normal_margin(torch.tensor([4.0, 3.0, 0.0]), torch.tensor([1.0, 1.0, 0.0]))
    assert found[0] == -3
    assert found[1] == pytest.approx(3 - stats.norm.pdf(3) / stats.norm.cdf(-3), rel=1e-4)
    assert torch.isfinite(found).all()


def test_the_mean_below_zero_of_a_batch():
    maps = torch.tensor([[[[1.0, -2.0]], [[3.0, 1.0]]], [[[-4.0, 5.0]], [[0.0, 2.0]]]])
    assert mean_below_zero(maps).flatten().tolist() == [-3.0, 0.0]


def scattered(network):
    torch.manual_seed(2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return network.eval()


def test_margins_come_from_the_batch_norm_before_the_activation():
    network = scattered(build("dscnn", 4, (1, 8, 8), {"width": 3})).requires_grad_(requires_grad=False)
    norm = network.stage2.norm2
    found = margins(network, (1, 8, 8), ["stage2.pre"])["stage2.pre"]
    torch.testing.assert_close(found, normal_margin(norm.bias, norm.weight.abs()))
    assert not any(module._forward_hooks for module in network.modules())


def test_margins_of_a_sum_have_the_sum_of_means_and_variances():
    network = scattered(build("resnet14", 4, (1, 8, 8), {"widths": [3, 3, 4, 5]}))
    found = margins(network, (1, 8, 8), ["stage1.pre", "stage2.pre"])
    last = network.stage2.block2.norm2
    torch.testing.assert_close(found["stage2.pre"], normal_margin(last.bias, last.weight.abs()))
    network = scattered(build("resnet8", 4, (1, 8, 8), {"widths": [3, 3, 4, 5]}))
    main, side = network.stage2.block1.norm2, network.stage2.block1.shortcut.norm
    wanted = normal_margin(main.bias + side.bias, (main.weight**2 + side.weight**2).sqrt())
    torch.testing.assert_close(margins(network, (1, 8, 8), ["stage2.pre"])["stage2.pre"], wanted)


@pytest.mark.parametrize("inplace", [False, True])
def test_margins_where_there_is_no_batch_norm_are_left_to_the_batch(inplace):
    network = nn.Sequential(
        OrderedDict(
            bare=nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(inplace)),
            normed=nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU(inplace)),
        )
    )
    network.stages, network.classifier = ("bare", "normed"), "normed"
    found = margins(scattered(network), (1, 4, 4), ["bare.pre", "normed.pre"])
    assert found["bare.pre"] is None
    torch.testing.assert_close(
        found["normed.pre"], normal_margin(network.normed[1].bias, network.normed[1].weight.abs())
    )


def test_the_connectors_learn_in_two_steps_with_the_teachers_margins():
    method = OFD()
    changed = two_steps(method, epochs=1)
    assert changed.before
    assert changed.still == []
    assert set(method.margins) == {"stage1.pre", "stage2.pre", "stage3.pre"}
    assert all(margin.max() < 0 for margin in method.margins.values())


def test_defaults_and_bounds():
    assert OFD().beta == 1e-3
    with pytest.raises(UsageError, match="option 'beta'"):
        method_from("ofd", {"beta": -1.0})
