import numpy as np
import pytest
import torch

from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.ttm import TTM
from kdbench.methods.wttm import WTTM, power_sum


def softmax(z):
    e = np.exp(z)
    return e / e.sum(axis=-1, keepdims=True)


def weighted(s, t, gamma):
    """The weighted KL of each item, with the power of the probabilities themselves."""
    found = []
    for p, p_t in zip(softmax(s), softmax(t), strict=True):
        u = sum(p_t**gamma)
        found.append(u * (p_t**gamma / u * np.log(p_t**gamma / u / p)).sum())
    return np.array(found)


def test_value_and_gradient(draw, step, slopes):
    z_s, z_t, targets = draw(6, 4, grad=True), draw(6, 4), torch.tensor([0, 1, 2, 3, 3, 0])
    losses = WTTM(gamma=0.3, beta=7.0, label=0.5).losses(step(z_s, z_t, targets))
    sum(losses.values()).backward()
    s, t = z_s.detach().numpy(), z_t.numpy()

    def terms(s):
        hard = -np.log(softmax(s)[np.arange(6), targets.numpy()]).mean()
        return np.array([0.5 * hard, 7 * weighted(s, t, 0.3).mean()])

    assert list(losses) == ["label", "match"]
    np.testing.assert_allclose([loss.item() for loss in losses.values()], terms(s), rtol=1e-10)
    np.testing.assert_allclose(z_s.grad.numpy(), slopes(lambda s: terms(s).sum(), s), rtol=1e-6, atol=1e-8)


def test_an_unsure_teacher_weighs_more():
    certain, between, clueless = power_sum(torch.tensor([[200.0, 0, 0, 0], [2.0, 0, 0, 0], [1.0, 1, 1, 1]]), 0.25)
    assert certain.item() == pytest.approx(1, abs=1e-6)
    assert certain < between < clueless
    assert clueless.item() == pytest.approx(4**0.75, rel=1e-6)


def test_without_a_transform_it_is_ttm(draw, step):
    made = step(draw(6, 4), draw(6, 4))
    ours, theirs = WTTM(gamma=1.0, beta=3.0).losses(made), TTM(gamma=1.0, beta=3.0).losses(made)
    assert ours["match"].item() == pytest.approx(theirs["match"].item(), rel=1e-12)


def test_certain_networks_give_finite_values_and_gradients(step):
    z_s = torch.tensor([[90.0, -90.0, 0.0], [0.0, 0.0, 200.0]], requires_grad=True)
    loss = WTTM().losses(step(z_s, torch.tensor([[-90.0, 90.0, 0.0], [900.0, 0.0, 0.0]])))["match"]
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(z_s.grad).all()


def test_defaults_are_the_reference_ones_and_options_are_bounded():
    wttm = method_from("wttm", {})
    assert isinstance(wttm, WTTM)
    assert (wttm.gamma, wttm.beta, wttm.label) == (0.2, 4.0, 1.0)
    for option, value in {"gamma": 0, "beta": -1, "label": -1}.items():
        with pytest.raises(UsageError, match=f"method 'wttm' option '{option}': found {value}, expected"):
            method_from("wttm", {option: value})
