import numpy as np
import pytest
import torch

from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.rld import RLD, confidence_gap, masked_divergence

TARGETS = torch.tensor([0, 1, 2, 3, 3, 0])


def softmax(z):
    e = np.exp(z)
    return e / e.sum(axis=-1, keepdims=True)


def parts(s, t, targets, confidence=1.0, temperature=1.0):
    """SCD and MCD of each item, item by item and class by class, from the definitions."""
    scd, mcd = [], []
    for z_s, z_t, y in zip(s, t, targets, strict=True):
        p_s, p_t = softmax(z_s / confidence)[y], softmax(z_t / confidence).max()
        scd.append(p_t * np.log(p_t / p_s) + (1 - p_t) * np.log((1 - p_t) / (1 - p_s)))
        below = [k for k in range(len(z_t)) if z_t[k] < z_t[y]]
        q_s, q_t = softmax(z_s[below] / temperature), softmax(z_t[below] / temperature)
        mcd.append((q_t * np.log(q_t / q_s)).sum() if below else 0.0)
    return np.array(scd), np.array(mcd)


def test_value_and_gradient(draw, step, slopes):
    z_s, z_t = draw(6, 4, grad=True), draw(6, 4)
    ranks = (z_t > z_t[torch.arange(6), TARGETS][:, None]).sum(dim=1)
    assert len(set(ranks.tolist())) > 2, "the label is to be first, in between and last for some teachers' items"
    method = RLD(alpha=1.5, beta=3.0, confidence_temperature=2.0, temperature=3.0, warmup=0.5, label=0.5)
    losses = method.losses(step(z_s, z_t, TARGETS, epoch=1))
    sum(losses.values()).backward()
    s, t, y = z_s.detach().numpy(), z_t.numpy(), TARGETS.numpy()

    def terms(s):
        scd, mcd = parts(s, t, y, 2.0, 3.0)
        hard = -np.log(softmax(s)[np.arange(6), y]).mean()
        return np.array([0.5 * hard, 2 / 5 * 1.5 * 4 * scd.mean(), 2 / 5 * 3.0 * 9 * mcd.mean()])

    assert list(losses) == ["label", "scd", "mcd"]
    np.testing.assert_allclose([loss.item() for loss in losses.values()], terms(s), rtol=1e-10)
    np.testing.assert_allclose(z_s.grad.numpy(), slopes(lambda s: terms(s).sum(), s), rtol=1e-6, atol=1e-8)


def test_what_a_mistaken_teacher_puts_before_the_label_is_left_out(draw):
    z_t = torch.tensor([[3.0, 5.0, 1.0, 0.0], [3.0, 3.0, 1.0, 0.0]], dtype=torch.float64)
    z_s, y = draw(2, 4), torch.tensor([0, 0])
    moved = z_t + torch.tensor([[0.0, 2.0, 0.0, 0.0], [0.0, 4.0, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(masked_divergence(z_s, moved, y, 4.0), masked_divergence(z_s, z_t, y, 4.0))
    swayed = z_s + torch.tensor([5.0, -7.0, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(masked_divergence(swayed, z_t, y, 4.0), masked_divergence(z_s, z_t, y, 4.0))


def test_a_student_as_sure_of_the_label_as_the_teacher_of_its_favourite_has_no_gap():
    z_t, z_s = torch.tensor([[0.0, 5.0, 1.0]]), torch.tensor([[5.0, 1.0, 0.0]])
    assert confidence_gap(z_s, z_t, torch.tensor([0]), 1.0).abs().item() < 1e-6
    assert confidence_gap(z_t, z_t, torch.tensor([0]), 1.0).item() > 1


def test_a_label_that_the_teacher_ranks_last_has_no_correlations_and_finite_gradients(step):
    z_s = torch.tensor([[60.0, -60.0, 0.0], [1.0, 1.0, 1.0]], requires_grad=True)
    z_t = torch.tensor([[-60.0, 60.0, 0.0], [2.0, 2.0, 2.0]])
    losses = RLD(warmup=0.0).losses(step(z_s, z_t, torch.tensor([0, 1])))
    with torch.autograd.set_detect_anomaly(True):  # NaN on the way, even where a mask hides it
        sum(losses.values()).backward()
    assert losses["mcd"] == 0
    assert torch.isfinite(losses["scd"])
    assert torch.isfinite(z_s.grad).all()


def test_a_label_that_comes_second_leaves_one_class_of_three_and_nothing_to_tell_apart(draw):
    z_t = torch.tensor([[2.0, 3.0, 1.0]], dtype=torch.float64)
    assert masked_divergence(draw(1, 3), z_t, torch.tensor([0]), 4.0).item() == 0


def test_after_mixup_the_likeliest_class_is_the_label(draw, step):
    s, t = draw(6, 4), draw(6, 4)
    eye = torch.eye(4, dtype=torch.float64)
    soft = 0.7 * eye[TARGETS] + 0.3 * eye[(TARGETS + 1) % 4]
    mixed, hard = RLD().losses(step(s, t, soft)), RLD().losses(step(s, t, TARGETS))
    assert (mixed["scd"], mixed["mcd"]) == (hard["scd"], hard["mcd"])
    assert mixed["label"] != hard["label"]


def test_defaults_are_the_reference_ones_and_options_are_bounded():
    rld = method_from("rld", {})
    assert isinstance(rld, RLD)
    assert (rld.alpha, rld.beta, rld.confidence_temperature, rld.temperature) == (1.0, 8.0, 1.0, 4.0)
    assert (rld.label, rld.warmup * 240) == (1.0, 20.0)
    bad = {"alpha": -1, "beta": -1, "confidence_temperature": 0, "temperature": 0, "warmup": 1.5, "label": -1}
    for option, value in bad.items():
        with pytest.raises(UsageError, match=f"method 'rld' option '{option}': found {value}, expected"):
            method_from("rld", {option: value})
