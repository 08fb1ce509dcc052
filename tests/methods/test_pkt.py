import numpy as np
import pytest
import torch
from lessons import two_steps

from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.pkt import PKT, neighbours

STUDENT = {"stem": (2, 8, 8), "pool": (3,)}
TEACHER = {"stem": (4, 8, 8), "one": (5, 2, 2), "pool": (5,)}


def divergence(f_s, f_t):
    """The mean from its definition, pair by pair."""
    rows = []
    for f in (f_t, f_s):
        near = np.array([[(a @ b / np.sqrt((a @ a) * (b @ b)) + 1) / 2 for b in f] for a in f])
        rows.append(near / near.sum(axis=1, keepdims=True))
    p, q = rows
    return np.mean([x * np.log((x + 1e-7) / (y + 1e-7)) for x, y in zip(p.ravel(), q.ravel(), strict=True)])


@pytest.mark.parametrize("size", [2, 6])
def test_value_and_gradient(draw, step, size):
    method = PKT(beta=400.0)
    assert method.taps(STUDENT, TEACHER) == (["pool"], ["pool"])
    f_s, f_t, z = draw(size, 3, grad=True), draw(size, 5), draw(size, 4)
    losses = method.losses(step(z, z, None, {"pool": f_s}, {"pool": f_t}))
    losses["neighbours"].backward()
    features, taught = f_s.detach().numpy(), f_t.numpy()
    assert list(losses) == ["label", "neighbours"]
    assert losses["neighbours"].item() == pytest.approx(400 * divergence(features, taught), rel=1e-10)
    for place in [(0, 0), (1, 2)]:
        up, down = features.copy(), features.copy()
        up[place] += 1e-6
        down[place] -= 1e-6
        numeric = 400 * (divergence(up, taught) - divergence(down, taught)) / 2e-6
        assert f_s.grad[place].item() == pytest.approx(numeric, rel=1e-5, abs=1e-6)


def test_rows_are_distributions_that_know_no_length_or_rotation(draw):
    f = draw(6, 4)
    turn, _ = torch.linalg.qr(draw(4, 4))
    torch.testing.assert_close(neighbours(f).sum(dim=1), torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(neighbours((f @ turn) * draw(6, 1).abs()), neighbours(f))


def test_a_student_like_its_teacher_has_nothing_to_learn(draw, step):
    method = PKT()
    method.taps(STUDENT, STUDENT)
    f_s, z = draw(5, 3, grad=True), draw(5, 4)
    loss = method.losses(step(z, z, None, {"pool": f_s}, {"pool": f_s.detach()}))["neighbours"]
    loss.backward()
    assert loss == 0
    assert f_s.grad.abs().max() < 1e-2


def test_zero_and_opposite_vectors_have_finite_gradients(draw, step):
    method = PKT()
    method.taps(STUDENT, TEACHER)
    one = draw(1, 3).float()
    for f_s in (torch.cat([0 * one, draw(4, 3).float()]), torch.cat([one, -one]), torch.zeros(5, 3)):
        f_s.requires_grad_()
        z = draw(len(f_s), 4).float()
        f_t = draw(len(f_s), 5).float()
        loss = method.losses(step(z, z, None, {"pool": f_s}, {"pool": f_t}))["neighbours"]
        loss.backward()
        assert torch.isfinite(loss)
        assert f_s.grad.abs().max() < 1e6


def test_rounding_never_makes_a_neighbour_negative():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        f = torch.randn(1, 512, generator=generator)
        assert (neighbours(torch.cat([f, -f, 3 * f, -3 * f])) >= 0).all()


def test_a_real_training_leaves_the_teacher_alone():
    trained = two_steps(method_from("pkt", {"beta": 100.0}))
    assert trained.teacher_kept
    assert [epoch for epoch, _ in trained.curves["neighbours"]] == [1, 2]


def test_defaults_are_the_reference_ones_and_bounded():
    assert method_from("pkt", {}).beta == 30000.0
    with pytest.raises(UsageError, match="option 'beta': found -1, expected greater than or equal to 0"):
        method_from("pkt", {"beta": -1})
