import numpy as np
import pytest
import torch

from kdbench.methods.kd import KD, soft_divergence


def softmax(z):
    e = np.exp(z)
    return e / e.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize(("temperature", "alpha"), [(4.0, 0.9), (1.0, 0.5), (0.7, 1.0)])
def test_value_and_gradient(draw, step, temperature, alpha):
    z_s, z_t, targets = draw(6, 4, grad=True), draw(6, 4), torch.tensor([0, 1, 2, 3, 3, 0])
    losses = KD(temperature, alpha).losses(step(z_s, z_t, targets))
    sum(losses.values()).backward()
    s, t = z_s.detach().numpy(), z_t.numpy()
    p, q, hard = softmax(t / temperature), softmax(s / temperature), np.eye(4)[targets.numpy()]
    assert losses["label"].item() == pytest.approx(-(1 - alpha) * (hard * np.log(softmax(s))).sum() / 6, rel=1e-12)
    assert losses["kd"].item() == pytest.approx(alpha * temperature**2 * (p * np.log(p / q)).sum() / 6, rel=1e-10)
    gradient = ((1 - alpha) * (softmax(s) - hard) + alpha * temperature * (q - p)) / 6
    np.testing.assert_allclose(z_s.grad.numpy(), gradient, rtol=1e-9, atol=1e-13)


def test_equal_logits_are_at_distance_zero(draw):
    z = draw(6, 4, grad=True)
    divergence = soft_divergence(z, z.detach() + 3.0, 4.0)
    divergence.backward()
    assert abs(divergence.item()) < 1e-14
    assert z.grad.abs().max() < 1e-15


def test_logits_of_sequences_count_each_place_as_an_item(draw):
    s, t = draw(3, 5, 4), draw(3, 5, 4)
    flat = soft_divergence(s.reshape(15, 4), t.reshape(15, 4), 2.0)
    assert soft_divergence(s, t, 2.0).item() == pytest.approx(flat.item(), rel=1e-14)


def test_defaults_are_the_reference_ones():
    assert (KD().temperature, KD().alpha) == (4.0, 0.9)
