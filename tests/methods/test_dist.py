import numpy as np
import pytest
import torch

from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.dist import DIST, correlation


def softmax(z):
    e = np.exp(z)
    return e / e.sum(axis=-1, keepdims=True)


def distance(p, q):
    """1 minus the mean correlation of paired rows, row by row."""
    found = []
    for a, b in zip(p, q, strict=True):
        x, y = a - a.sum() / len(a), b - b.sum() / len(b)
        found.append((x * y).sum() / (np.sqrt((x * x).sum()) * np.sqrt((y * y).sum()) + 1e-8))
    return 1 - sum(found) / len(found)


def test_value_and_gradient(draw, step, slopes):
    z_s, z_t, targets = draw(6, 4, grad=True), draw(6, 4), torch.tensor([0, 1, 2, 3, 3, 0])
    losses = DIST(beta=1.5, gamma=3.0, temperature=2.0, label=0.5).losses(step(z_s, z_t, targets))
    sum(losses.values()).backward()
    s, q = z_s.detach().numpy(), softmax(z_t.numpy() / 2)

    def terms(s):
        p, hard = softmax(s / 2), -np.log(softmax(s)[np.arange(6), targets.numpy()]).mean()
        return np.array([0.5 * hard, 4 * 1.5 * distance(p, q), 4 * 3.0 * distance(p.T, q.T)])

    assert list(losses) == ["label", "inter", "intra"]
    np.testing.assert_allclose([loss.item() for loss in losses.values()], terms(s), rtol=1e-10)
    np.testing.assert_allclose(z_s.grad.numpy(), slopes(lambda s: terms(s).sum(), s), rtol=1e-6, atol=1e-8)


def test_a_positive_affine_change_of_a_row_changes_nothing(draw):
    p, q = draw(6, 4).softmax(dim=1), draw(6, 4).softmax(dim=1)
    scale, shift = draw(6, 1, scale=0.5).exp(), draw(6, 1)
    torch.testing.assert_close(correlation(scale * p + shift, q), correlation(p, q), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(correlation(-scale * p + shift, q), -correlation(p, q), rtol=1e-5, atol=1e-6)


def test_nor_does_one_of_a_column(draw):
    p, q = draw(6, 4).softmax(dim=1), draw(6, 4).softmax(dim=1)
    scale, shift = draw(1, 4, scale=0.5).exp(), draw(1, 4)
    torch.testing.assert_close(correlation((scale * p + shift).T, q.T), correlation(p.T, q.T), rtol=1e-5, atol=1e-6)
    assert (correlation(scale * p + shift, q) - correlation(p, q)).abs().max() > 0.01


def test_equal_predictions_are_at_distance_zero(draw, step):
    z = draw(6, 4)
    losses = DIST(temperature=1.0).losses(step(z + draw(6, 1), z))
    assert losses["inter"].item() == pytest.approx(0, abs=1e-5)
    assert losses["intra"].item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("items", [2, 5])
def test_a_network_that_says_the_same_of_all_has_finite_gradients(step, items):
    z_s, z_t = torch.zeros(items, 4, requires_grad=True), 50 * torch.eye(4)[:1].repeat(items, 1)
    losses = DIST().losses(step(z_s, z_t))
    sum(losses.values()).backward()
    assert losses["inter"] == 2 * 16
    assert torch.isfinite(z_s.grad).all()


def test_after_mixup_the_correlations_are_the_same(draw, step):
    z_s, z_t, soft = draw(6, 4), draw(6, 4), draw(6, 4).softmax(dim=1)
    mixed, hard = DIST().losses(step(z_s, z_t, soft)), DIST().losses(step(z_s, z_t))
    assert (mixed["inter"], mixed["intra"]) == (hard["inter"], hard["intra"])
    assert mixed["label"] != hard["label"]


def test_defaults_are_the_reference_ones_and_options_are_bounded():
    dist = method_from("dist", {})
    assert isinstance(dist, DIST)
    assert (dist.beta, dist.gamma, dist.temperature, dist.label) == (2.0, 2.0, 4.0, 1.0)
    for option, value in {"beta": -1, "gamma": -1, "temperature": 0, "label": float("inf")}.items():
        with pytest.raises(UsageError, match=f"method 'dist' option '{option}': found {value}, expected"):
            method_from("dist", {option: value})
