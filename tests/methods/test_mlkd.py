import numpy as np
import pytest
import torch

from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.mlkd import MLKD


def softmax(z):
    e = np.exp(z)
    return e / e.sum(axis=-1, keepdims=True)


def apart(p, q):
    """The sum of squared differences of the inner products of all pairs of rows."""
    return sum((a @ b - c @ d) ** 2 for a, c in zip(p, q, strict=True) for b, d in zip(p, q, strict=True))


def test_value_and_gradient(draw, step, slopes):
    z_s, z_t, targets = draw(6, 4, grad=True), draw(6, 4), torch.tensor([0, 1, 2, 3, 3, 0])
    losses = MLKD(weight=0.7, label=0.5).losses(step(z_s, z_t, targets))
    sum(losses.values()).backward()
    s, t = z_s.detach().numpy(), z_t.numpy()

    def terms(s):
        kd = batch = classes = 0.0
        for temperature in (2, 3, 4, 5, 6):
            p, q = softmax(t / temperature), softmax(s / temperature)
            kd += temperature**2 * (p * np.log(p / q)).sum() / 6
            batch += apart(p, q) / 6
            classes += apart(p.T, q.T) / 4
        hard = -np.log(softmax(s)[np.arange(6), targets.numpy()]).mean()
        return np.array([0.5 * hard, 0.7 * kd, 0.7 * batch, 0.7 * classes])

    assert list(losses) == ["label", "kd", "batch", "classes"]
    np.testing.assert_allclose([loss.item() for loss in losses.values()], terms(s), rtol=1e-10)
    np.testing.assert_allclose(z_s.grad.numpy(), slopes(lambda s: terms(s).sum(), s), rtol=1e-6, atol=1e-8)


def test_equal_logits_are_at_distance_zero(draw, step):
    z = draw(6, 4, grad=True)
    losses = MLKD(label=0.0).losses(step(z, z.detach() + draw(6, 1)))
    sum(losses.values()).backward()
    assert sum(losses.values()).abs().item() < 1e-13
    assert z.grad.abs().max() < 1e-13


def test_items_in_another_order_are_the_same_classes_and_classes_in_another_order_the_same_batch(draw, step):
    z = draw(6, 4)
    items, classes = MLKD().losses(step(z, z.flip(0))), MLKD().losses(step(z, z.flip(1)))
    assert items["classes"].item() == pytest.approx(0, abs=1e-13)
    assert classes["batch"].item() == pytest.approx(0, abs=1e-13)
    assert items["batch"] > 0.01
    assert classes["classes"] > 0.01


def test_certain_networks_give_finite_values_and_gradients(step):
    z_s = torch.tensor([[900.0, -900.0, 0.0], [0.0, 0.0, 200.0]], requires_grad=True)
    loss = sum(MLKD().losses(step(z_s, torch.tensor([[-90.0, 90.0, 0.0], [300.0, 0.0, 0.0]]))).values())
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(z_s.grad).all()


def test_defaults_are_the_reference_ones_and_options_are_bounded():
    mlkd = method_from("mlkd", {})
    assert isinstance(mlkd, MLKD)
    assert (mlkd.weight, mlkd.label) == (0.45, 0.1)
    for option in ("weight", "label"):
        with pytest.raises(UsageError, match=f"method 'mlkd' option '{option}': found -1, expected greater"):
            method_from("mlkd", {option: -1})
