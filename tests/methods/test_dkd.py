import numpy as np
import pytest
import torch

from kdbench.methods.dkd import DKD, decoupled
from kdbench.methods.kd import soft_divergence

TARGETS = torch.tensor([0, 1, 2, 3, 3, 0])


def softmax(z):
    e = np.exp(z)
    return e / e.sum(axis=-1, keepdims=True)


def parts(s, t, targets):
    """TCKD and NCKD of each item, item by item and class by class, from the definitions."""
    tckd, nckd = [], []
    for z_s, z_t, y in zip(s, t, targets, strict=True):
        p_s, p_t = softmax(z_s)[y], softmax(z_t)[y]
        tckd.append(p_t * np.log(p_t / p_s) + (1 - p_t) * np.log((1 - p_t) / (1 - p_s)))
        q_s, q_t = softmax(np.delete(z_s, y)), softmax(np.delete(z_t, y))
        nckd.append((q_t * np.log(q_t / q_s)).sum())
    return np.array(tckd), np.array(nckd)


def test_value(draw, step):
    z_s, z_t = draw(6, 4, grad=True), draw(6, 4)
    losses = DKD(alpha=1.5, beta=3.0, temperature=2.0, warmup=0.5, label=0.5).losses(step(z_s, z_t, TARGETS, epoch=1))
    tckd, nckd = parts(z_s.detach().numpy() / 2, z_t.numpy() / 2, TARGETS.numpy())
    weight = 4 * 2 / 5
    hard = -np.log(softmax(z_s.detach().numpy())[np.arange(6), TARGETS.numpy()]).mean()
    assert losses["label"].item() == pytest.approx(0.5 * hard, rel=1e-12)
    assert losses["tckd"].item() == pytest.approx(weight * 1.5 * tckd.mean(), rel=1e-10)
    assert losses["nckd"].item() == pytest.approx(weight * 3.0 * nckd.mean(), rel=1e-10)


def test_gradient_is_that_of_the_definition(draw):
    z_s, z_t = draw(6, 4, grad=True), draw(6, 4)
    sum(part.sum() for part in decoupled(z_s, z_t, TARGETS, 2.0)).backward()
    s, t, h = z_s.detach().numpy(), z_t.numpy() / 2, 1e-6
    numeric = np.zeros_like(s)
    for place in np.ndindex(*s.shape):
        for sign in (1, -1):
            moved = s.copy()
            moved[place] += sign * h
            numeric[place] += sign * sum(part.sum() for part in parts(moved / 2, t, TARGETS.numpy())) / (2 * h)
    np.testing.assert_allclose(z_s.grad.numpy(), numeric, rtol=1e-6, atol=1e-9)


def test_with_the_weights_of_kd_it_is_kd_item_by_item(draw):
    s, t = draw(6, 4), draw(6, 4)
    tckd, nckd = decoupled(s, t, TARGETS, 3.0)
    rest = 1 - (t / 3).softmax(1)[torch.arange(6), TARGETS]
    kd = torch.stack([soft_divergence(a[None], b[None], 3.0) for a, b in zip(s, t, strict=True)])
    torch.testing.assert_close(tckd + rest * nckd, kd, rtol=1e-10, atol=1e-14)


def test_a_certain_network_gives_finite_values_and_gradients():
    s = torch.tensor([[60.0, -60.0, 0.0]], requires_grad=True)
    t = torch.tensor([[-60.0, 60.0, 0.0]])
    loss = sum(part.sum() for part in decoupled(s, t, torch.tensor([0]), 1.0))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(s.grad).all()


def test_two_classes_have_no_others_to_tell_apart(draw):
    _, nckd = decoupled(draw(6, 2), draw(6, 2), TARGETS % 2, 4.0)
    assert nckd.abs().max() < 1e-15


def test_after_mixup_the_likeliest_class_is_the_target(draw, step):
    s, t = draw(6, 4), draw(6, 4)
    soft = 0.7 * torch.eye(4, dtype=torch.float64)[TARGETS] + 0.3 * torch.eye(4, dtype=torch.float64)[(TARGETS + 1) % 4]
    mixed, hard = DKD().losses(step(s, t, soft)), DKD().losses(step(s, t, TARGETS))
    assert mixed["tckd"] == hard["tckd"]
    assert mixed["nckd"] == hard["nckd"]
    assert mixed["label"] != hard["label"]


def test_the_reference_warm_up_is_exact_in_the_reference_recipe_and_shrinks_with_shorter_ones(draw, step):
    s, t = draw(6, 4), draw(6, 4)
    full = DKD(warmup=0.0).losses(step(s, t, TARGETS))["nckd"]
    for epoch in (0, 4, 18, 19, 20, 239):
        term = DKD().losses(step(s, t, TARGETS, epoch=epoch, epochs=240))["nckd"]
        assert term.item() == pytest.approx(full.item() * min((epoch + 1) / 20, 1), rel=1e-12)
    assert DKD().losses(step(s, t, TARGETS, epoch=2, epochs=30))["nckd"] == full
    first = DKD().losses(step(s, t, TARGETS, epoch=0, epochs=30))["nckd"]
    assert first.item() == pytest.approx(full.item() / 2.5, rel=1e-12)


def test_defaults_are_the_reference_ones():
    dkd = DKD()
    assert (dkd.alpha, dkd.beta, dkd.temperature, dkd.label, dkd.warmup * 240) == (1.0, 8.0, 4.0, 1.0, 20.0)
