import numpy as np
import pytest
import torch

from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.kd import KD
from kdbench.methods.lskd import LSKD, standardised


def softmax(z):
    e = np.exp(z)
    return e / e.sum(axis=-1, keepdims=True)


def zscores(z):
    rows = []
    for row in z:
        mean = sum(row) / len(row)
        rows.append((row - mean) / (np.sqrt(sum((row - mean) ** 2) / (len(row) - 1)) + 1e-7))
    return np.array(rows)


@pytest.mark.parametrize("zscore", [True, False])
def test_value_and_gradient(draw, step, slopes, zscore):
    z_s, z_t, targets = draw(6, 4, grad=True), draw(6, 4), torch.tensor([0, 1, 2, 3, 3, 0])
    losses = LSKD(temperature=3.0, weight=5.0, label=0.25, zscore=zscore).losses(step(z_s, z_t, targets))
    sum(losses.values()).backward()
    s, t = z_s.detach().numpy(), z_t.numpy()
    prepared = zscores if zscore else np.array

    def terms(s):
        p, q = softmax(prepared(t) / 3), softmax(prepared(s) / 3)
        hard = -np.log(softmax(s)[np.arange(6), targets.numpy()]).mean()
        return np.array([0.25 * hard, 5 * 9 * (p * np.log(p / q)).sum() / 6])

    assert list(losses) == ["label", "kd"]
    np.testing.assert_allclose([loss.item() for loss in losses.values()], terms(s), rtol=1e-10)
    np.testing.assert_allclose(z_s.grad.numpy(), slopes(lambda s: terms(s).sum(), s), rtol=1e-6, atol=1e-8)


def test_a_shift_or_a_positive_scale_of_a_row_changes_nothing(draw, step):
    z_s, z_t = draw(6, 4), draw(6, 4)
    moved_s, moved_t = (draw(6, 1, scale=0.5).exp() * z + draw(6, 1) for z in (z_s, z_t))
    still, moved = LSKD().losses(step(z_s, z_t))["kd"], LSKD().losses(step(moved_s, moved_t))["kd"]
    assert moved.item() == pytest.approx(still.item(), rel=1e-5)
    assert LSKD().losses(step(z_s, -z_t))["kd"] != pytest.approx(still.item(), rel=0.01)


def test_without_the_z_score_it_is_kd_at_the_same_temperature_and_weights(draw, step):
    made = step(draw(6, 4), draw(6, 4))
    plain = LSKD(temperature=3.0, weight=0.8, label=0.2, zscore=False).losses(made)
    kd = KD(temperature=3.0, alpha=0.8).losses(made)
    assert plain["kd"].item() == pytest.approx(kd["kd"].item(), rel=1e-12)
    assert plain["label"].item() == pytest.approx(kd["label"].item(), rel=1e-12)
    assert LSKD(temperature=3.0, weight=0.8, label=0.2).losses(made)["label"] == plain["label"]


def test_z_scores_have_mean_0_and_deviation_1(draw):
    z = standardised(draw(6, 4))
    torch.testing.assert_close(z.mean(dim=1), torch.zeros(6, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(z.std(dim=1), torch.ones(6, dtype=torch.float64), rtol=0, atol=1e-6)


def test_logits_that_are_all_equal_have_finite_gradients(step):
    z_s = torch.full((2, 4), 3.0, requires_grad=True)
    losses = LSKD().losses(step(z_s, torch.zeros(2, 4)))
    sum(losses.values()).backward()
    assert losses["kd"].item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(z_s.grad).all()


def test_defaults_are_the_reference_ones_and_options_are_bounded():
    lskd = method_from("lskd", {})
    assert isinstance(lskd, LSKD)
    assert (lskd.temperature, lskd.weight, lskd.label, lskd.zscore) == (2.0, 9.0, 0.1, True)
    assert not method_from("lskd", {"zscore": False}).zscore
    for option, value in {"temperature": 0, "weight": -1, "label": -1, "zscore": 1}.items():
        with pytest.raises(UsageError, match=f"method 'lskd' option '{option}': found {value}, expected"):
            method_from("lskd", {option: value})
