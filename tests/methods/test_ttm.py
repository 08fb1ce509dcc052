import numpy as np
import pytest
import torch

from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.kd import soft_divergence
from kdbench.methods.ttm import TTM, mismatch


def softmax(z):
    e = np.exp(z)
    return e / e.sum(axis=-1, keepdims=True)


def mismatches(s, t, gamma):
    """The KL of each item, with the power of the probabilities themselves."""
    found = []
    for p, p_t in zip(softmax(s), softmax(t), strict=True):
        q = p_t**gamma / (p_t**gamma).sum()
        found.append((q * np.log(q / p)).sum())
    return np.array(found)


def test_value_and_gradient(draw, step, slopes):
    z_s, z_t, targets = draw(6, 4, grad=True), draw(6, 4), torch.tensor([0, 1, 2, 3, 3, 0])
    losses = TTM(gamma=0.3, beta=7.0, label=0.5).losses(step(z_s, z_t, targets))
    sum(losses.values()).backward()
    s, t = z_s.detach().numpy(), z_t.numpy()

    def terms(s):
        hard = -np.log(softmax(s)[np.arange(6), targets.numpy()]).mean()
        return np.array([0.5 * hard, 7 * mismatches(s, t, 0.3).mean()])

    assert list(losses) == ["label", "match"]
    np.testing.assert_allclose([loss.item() for loss in losses.values()], terms(s), rtol=1e-10)
    np.testing.assert_allclose(z_s.grad.numpy(), slopes(lambda s: terms(s).sum(), s), rtol=1e-6, atol=1e-8)


def test_the_power_is_a_temperature_for_the_teacher_alone(draw):
    z_s, z_t = draw(6, 4), draw(6, 4)
    torch.testing.assert_close(mismatch(z_s, z_t, 0.25), mismatch(z_s, z_t / 4, 1.0))
    assert mismatch(z_s, z_t, 1.0).mean().item() == pytest.approx(soft_divergence(z_s, z_t, 1.0).item(), rel=1e-12)


def test_a_student_at_the_transformed_teacher_has_nothing_to_learn(draw, step):
    z_t = draw(6, 4)
    z_s = (0.3 * z_t + draw(6, 1)).requires_grad_()
    match = TTM(gamma=0.3).losses(step(z_s, z_t))["match"]
    match.backward()
    assert abs(match.item()) < 1e-12
    assert z_s.grad.abs().max() < 1e-14


def test_certain_networks_give_finite_values_and_gradients(step):
    z_s = torch.tensor([[90.0, -90.0, 0.0], [0.0, 0.0, 200.0]], requires_grad=True)
    loss = TTM(gamma=1.0).losses(step(z_s, torch.tensor([[-90.0, 90.0, 0.0], [300.0, 0.0, 0.0]])))["match"]
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(z_s.grad).all()


def test_after_mixup_the_match_is_the_same(draw, step):
    z_s, z_t, soft = draw(6, 4), draw(6, 4), draw(6, 4).softmax(dim=1)
    mixed, hard = TTM().losses(step(z_s, z_t, soft)), TTM().losses(step(z_s, z_t))
    assert mixed["match"] == hard["match"]
    assert mixed["label"] != hard["label"]


def test_defaults_are_the_reference_ones_and_options_are_bounded():
    ttm = method_from("ttm", {})
    assert isinstance(ttm, TTM)
    assert (ttm.gamma, ttm.beta, ttm.label) == (0.1, 45.0, 1.0)
    for option, value in {"gamma": 0, "beta": -1, "label": -1}.items():
        with pytest.raises(UsageError, match=f"method 'ttm' option '{option}': found {value}, expected"):
            method_from("ttm", {option: value})
    with pytest.raises(UsageError, match="option 'gamma': found 1.5, expected less than or equal to 1"):
        method_from("ttm", {"gamma": 1.5})
