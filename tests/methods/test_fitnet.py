import numpy as np
import pytest
import torch

from kdbench.errors import UsageError
from kdbench.methods.fitnet import FitNet

STUDENT = {"stem": (3, 8, 8), "body": (3, 4, 4), "pool": (3,)}
TEACHER = {"stem": (5, 8, 8), "a": (5, 8, 8), "b": (6, 8, 8), "c": (7, 2, 2), "pool": (7,)}


def prepared(setting, **options):
    method = FitNet(**options)
    taps = method.taps(STUDENT, TEACHER)
    torch.manual_seed(0)
    return method, taps, method.prepare(setting(STUDENT, TEACHER)).double()


def test_the_middle_stages_are_compared(setting):
    _, taps, regressor = prepared(setting)
    assert taps == (["body"], ["b"])
    assert regressor.conv.weight.shape == (6, 3, 1, 1)


def test_value_and_gradient(draw, step, setting):
    method, _, regressor = prepared(setting, beta=10.0)
    f_s, f_t, z = draw(5, 3, 4, 4, grad=True), draw(5, 6, 8, 8), draw(5, 4)
    losses = method.losses(step(z, z, None, {"body": f_s}, {"b": f_t}))
    losses["hint"].backward()
    weight, bias = regressor.conv.weight.detach().numpy()[:, :, 0, 0], regressor.conv.bias.detach().numpy()

    def hint(features):
        maps = np.einsum("oc,bchw->bohw", weight, features) + bias[:, None, None]
        mean, variance = maps.mean(axis=(0, 2, 3), keepdims=True), maps.var(axis=(0, 2, 3), keepdims=True)
        mine = np.maximum((maps - mean) / np.sqrt(variance + 1e-5), 0)
        theirs = f_t.numpy().reshape(5, 6, 4, 2, 4, 2).mean(axis=(3, 5))
        return 10 * ((mine - theirs) ** 2).mean()

    features, h = f_s.detach().numpy(), 1e-6
    assert losses["hint"].item() == pytest.approx(hint(features), rel=1e-10)
    for place in [(0, 0, 0, 0), (4, 2, 3, 3), (2, 1, 0, 2)]:
        up, down = features.copy(), features.copy()
        up[place] += h
        down[place] -= h
        assert f_s.grad[place].item() == pytest.approx((hint(up) - hint(down)) / (2 * h), rel=1e-5, abs=1e-8)


def test_gradients_reach_the_regressor_and_the_student_but_not_the_teacher(draw, step, setting):
    method, _, regressor = prepared(setting)
    f_s, f_t, z = draw(5, 3, 4, 4, grad=True), draw(5, 6, 8, 8), draw(5, 4)
    method.losses(step(z, z, None, {"body": f_s}, {"b": f_t}))["hint"].backward()
    assert all(parameter.grad is not None for parameter in regressor.parameters())
    assert f_s.grad.abs().sum() > 0


def test_the_smaller_side_decides_the_resolution(draw, step, setting):
    method, taps, _ = prepared(setting, student_stage="stem", teacher_stage="c")
    z = draw(5, 4)
    assert taps == (["stem"], ["c"])
    losses = method.losses(step(z, z, None, {"stem": draw(5, 3, 8, 8)}, {"c": draw(5, 7, 2, 2)}))
    assert torch.isfinite(losses["hint"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"student_stage": "bodi"}, "the student has no stage 'bodi'; did you mean 'body'?"),
        ({"teacher_stage": "pool"}, "stage 'pool' of the teacher has shape [7], expected [C, H, W]"),
    ],
)
def test_a_stage_that_cannot_be_is_named(options, message):
    with pytest.raises(UsageError) as error:
        FitNet(**options).taps(STUDENT, TEACHER)
    assert str(error.value) == message


def test_a_network_without_stages_is_refused():
    with pytest.raises(UsageError, match="the student names no stages"):
        FitNet().taps({}, TEACHER)
    assert FitNet().beta == 100.0
