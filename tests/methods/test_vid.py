import math

import numpy as np
import pytest
import torch
from lessons import two_steps

from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.vid import VID

STUDENT = {"stem": (2, 8, 8), "one": (3, 8, 8), "two": (2, 4, 4), "pool": (2,)}
TEACHER = {"stem": (4, 8, 8), "a": (4, 8, 8), "b": (5, 4, 4), "c": (6, 4, 4), "d": (7, 8, 8), "pool": (7,)}
PAIRS = {"one": "b", "two": "d"}


def prepared(setting, **options):
    method = VID(**options)
    taps = method.taps(STUDENT, TEACHER)
    torch.manual_seed(0)
    gaussians = method.prepare(setting(STUDENT, TEACHER)).double()
    for gaussian in gaussians:
        torch.nn.init.normal_(gaussian.scale)
    return method, taps, gaussians


def features(draw, size=2, grad=False):
    ours = {"one": draw(size, 3, 8, 8, grad=grad), "two": draw(size, 2, 4, 4, grad=grad)}
    return ours, {"b": draw(size, 5, 4, 4), "d": draw(size, 7, 8, 8)}


def half(maps):
    return maps.reshape(*maps.shape[:2], 4, 2, 4, 2).mean(axis=(3, 5))


def information(ours, theirs, gaussians):
    """The term from its definition, channel by channel."""
    total = 0.0
    for (student, teacher), gaussian in zip(PAIRS.items(), gaussians, strict=True):
        x, t = ours[student], theirs[teacher]
        x, t = (half(x), t) if student == "one" else (x, half(t))
        for layer in ("conv1", "conv2", "conv3"):
            weight = getattr(gaussian.mean, layer).weight.detach().numpy()[:, :, 0, 0]
            x = np.einsum("oc,bchw->bohw", weight, x)
            x = x if layer == "conv3" else np.maximum(x, 0)
        scale, terms = gaussian.scale.detach().numpy().ravel(), []
        for channel in range(t.shape[1]):
            variance = math.log1p(math.exp(scale[channel])) + 1e-5
            terms.append(((t[:, channel] - x[:, channel]) ** 2 / variance + math.log(variance)) / 2)
        total += np.mean(terms)
    return total


def test_value_and_gradient(draw, step, setting):
    method, taps, gaussians = prepared(setting, beta=3.0)
    assert taps == (["one", "two"], ["b", "d"])
    ours, theirs = features(draw, grad=True)
    z = draw(2, 4)
    losses = method.losses(step(z, z, None, ours, theirs))
    losses["information"].backward()
    given, taught = ({name: f.detach().numpy() for name, f in side.items()} for side in (ours, theirs))
    assert list(losses) == ["label", "information"]
    assert losses["information"].item() == pytest.approx(3 * information(given, taught, gaussians), rel=1e-10)
    for name, place in [("one", (0, 0, 0, 0)), ("one", (1, 2, 7, 3)), ("two", (0, 1, 3, 2))]:
        moved = []
        for h in (1e-6, -1e-6):
            maps = given[name].copy()
            maps[place] += h
            moved.append(information(given | {name: maps}, taught, gaussians))
        numeric = 3 * (moved[0] - moved[1]) / 2e-6
        assert ours[name].grad[place].item() == pytest.approx(numeric, rel=1e-5, abs=1e-8)
    assert all(parameter.grad.abs().sum() > 0 for parameter in gaussians.parameters())


def test_the_best_variance_of_a_channel_is_its_mean_squared_error(draw, step, setting):
    method, _, gaussians = prepared(setting)
    ours, theirs = features(draw)
    z = draw(2, 4)
    with torch.no_grad():
        errors = (theirs["b"] - gaussians[0].mean(torch.nn.functional.avg_pool2d(ours["one"], 2))).square()
        best = errors.mean(dim=(0, 2, 3))[:, None, None] - 1e-5
        gaussians[0].scale.copy_(best.expm1().log())
    method.losses(step(z, z, None, ours, theirs))["information"].backward()
    assert gaussians[0].scale.grad.abs().max() < 1e-10
    assert gaussians[1].scale.grad.abs().max() > 1e-6


@pytest.mark.parametrize("variance", [0.001, 5.0, 100.0])
def test_variances_start_where_the_option_says(setting, variance):
    method = VID(variance=variance)
    method.taps(STUDENT, TEACHER)
    for gaussian, pair in zip(method.prepare(setting(STUDENT, TEACHER)), [(3, 5), (2, 7)], strict=True):
        _, found = gaussian(torch.zeros(1, pair[0], 2, 2))
        torch.testing.assert_close(found, torch.full((pair[1], 1, 1), variance), rtol=1e-3, atol=0)


def test_a_variance_that_vanishes_leaves_all_finite(draw, step, setting):
    method, _, gaussians = prepared(setting)
    with torch.no_grad():
        gaussians[0].scale.fill_(-200)
    ours, theirs = features(draw, grad=True)
    loss = method.losses(step(draw(2, 4), draw(2, 4), None, ours, theirs))["information"]
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(ours["one"].grad).all()


def test_its_networks_change_within_two_steps_and_the_teacher_does_not():
    trained = two_steps(method_from("vid", {}))
    assert len(trained.before) == 12
    assert trained.still == []
    assert trained.teacher_kept


def test_defaults_are_the_reference_ones_and_bounded():
    made = method_from("vid", {})
    assert (made.beta, made.variance) == (1.0, 5.0)
    with pytest.raises(UsageError, match="option 'variance': found 0, expected greater than or equal to 0.001"):
        method_from("vid", {"variance": 0})
    with pytest.raises(UsageError, match="option 'beta': found -1, expected greater than or equal to 0"):
        method_from("vid", {"beta": -1})
