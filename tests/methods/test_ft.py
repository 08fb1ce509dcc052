from dataclasses import replace

import numpy as np
import pytest
import torch
from lessons import two_steps

from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.ft import FT

STUDENT = {"stem": (3, 8, 8), "last": (3, 8, 8), "pool": (3,)}
TEACHER = {"stem": (4, 8, 8), "one": (4, 8, 8), "two": (6, 4, 4), "pool": (6,)}


def prepared(setting, **options):
    method = FT(**options)
    taps = method.taps(STUDENT, TEACHER)
    torch.manual_seed(0)
    return method, taps, method.prepare(setting(STUDENT, TEACHER)).double()


def through(layers, maps):
    """3x3 convolutions with leaky ReLUs, by shifted sums; a transposed one has its kernel turned and its axes swapped."""
    for layer in layers[::2]:
        weight = layer.weight.detach().numpy()
        if isinstance(layer, torch.nn.ConvTranspose2d):
            weight = weight.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
        h, w = maps.shape[2:]
        padded = np.pad(maps, ((0, 0), (0, 0), (1, 1), (1, 1)))
        out = sum(
            np.einsum("oc,bchw->bohw", weight[:, :, y, x], padded[:, :, y : y + h, x : x + w])
            for y in range(3)
            for x in range(3)
        )
        out = out + layer.bias.detach().numpy()[:, None, None]
        maps = np.where(out > 0, out, 0.1 * out)
    return maps


def test_the_first_phase_reconstructs_the_teacher_without_the_student(draw, step, setting):
    method, taps, _ = prepared(setting, rate=0.34)
    assert taps == (["last"], ["two"])
    assert [layer.out_channels for layer in method.encoder[::2]] == [6, 2, 2]
    assert [layer.out_channels for layer in method.decoder[::2]] == [2, 6, 6]
    assert [layer.out_channels for layer in method.translator[::2]] == [3, 2, 2]
    f_t, z = draw(4, 6, 4, 4), draw(4, 4)
    made = step(z, z, None, {}, {"two": f_t})
    made = replace(made, outputs={"teacher": made.outputs["teacher"]}, phase="paraphraser")
    losses = method.losses(made)
    again = through(method.decoder, through(method.encoder, f_t.numpy()))
    assert list(losses) == ["reconstruction"]
    assert losses["reconstruction"].item() == pytest.approx(((again - f_t.numpy()) ** 2).mean(), rel=1e-10)
    losses["reconstruction"].backward()
    assert all(p.grad.abs().sum() > 0 for part in (method.encoder, method.decoder) for p in part.parameters())
    assert all(p.grad is None for p in method.translator.parameters())


def test_value_and_gradient_of_the_transfer(draw, step, setting):
    method, _, _ = prepared(setting, beta=20.0)
    f_s, f_t, z = draw(4, 3, 8, 8, grad=True), draw(4, 6, 4, 4), draw(4, 4)
    losses = method.losses(replace(step(z, z, None, {"last": f_s}, {"two": f_t}), phase="transfer"))
    losses["factor"].backward()

    def unit(maps):
        flat = maps.reshape(len(maps), -1)
        return flat / np.sqrt((flat**2).sum(axis=1, keepdims=True))

    def factor(features):
        mine = through(method.translator, features).reshape(4, 3, 4, 2, 4, 2).mean(axis=(3, 5))
        return 20 * np.abs(unit(mine) - unit(through(method.encoder, f_t.numpy()))).mean()

    features = f_s.detach().numpy()
    assert losses["factor"].item() == pytest.approx(factor(features), rel=1e-10)
    for place in [(0, 0, 0, 0), (3, 2, 3, 5)]:
        up, down = features.copy(), features.copy()
        up[place] += 1e-7
        down[place] -= 1e-7
        assert f_s.grad[place].item() == pytest.approx((factor(up) - factor(down)) / 2e-7, rel=1e-4, abs=1e-8)
    assert all(p.grad.abs().sum() > 0 for p in method.translator.parameters())
    assert all(p.grad is None for part in (method.encoder, method.decoder) for p in part.parameters())


def test_factors_know_no_scale_and_a_dead_one_has_finite_gradients(draw, step, setting):
    method, _, _ = prepared(setting)
    for layer in method.translator[::2]:
        torch.nn.init.zeros_(layer.bias)
    f_s, f_t, z = draw(4, 3, 8, 8), draw(4, 6, 4, 4), draw(4, 4)
    one, seven = (
        method.losses(step(z, z, None, {"last": scale * f_s}, {"two": f_t}))["factor"] for scale in (1.0, 7.0)
    )
    torch.testing.assert_close(one, seven)
    dead = torch.zeros(4, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    loss = method.losses(step(z, z, None, {"last": dead}, {"two": f_t}))["factor"]
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(dead.grad).all()


def test_each_part_learns_in_its_phase():
    method = FT()
    changed = two_steps(method, epochs=1)
    assert changed.before
    assert changed.still == []
    assert list(changed.curves) == [
        "paraphraser.reconstruction",
        "learning_rate",
        "transfer.label",
        "transfer.factor",
        "validation_accuracy",
    ]
    assert (changed.trained.epochs, changed.trained.student_forwards, changed.trained.teacher_forwards) == (2, 64, 64)


def test_defaults_and_bounds():
    assert (FT().beta, FT().rate, FT().first * 240) == (500.0, 0.5, 30.0)
    for bad in ({"beta": -1.0}, {"rate": 0.0}, {"first": 0.0}):
        with pytest.raises(UsageError, match="option"):
            method_from("ft", bad)
