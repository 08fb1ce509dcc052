import numpy as np
import pytest
import torch
from lessons import two_steps

from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.sp import SP, similarities

STUDENT = {"stem": (2, 8, 8), "one": (3, 8, 8), "two": (3, 4, 4), "pool": (3,)}
TEACHER = {"stem": (4, 8, 8), "one": (5, 2, 2), "pool": (5,)}


def similarity(f_s, f_t, weight):
    """The term from its definition, pair of items by pair of items."""
    size, rows = len(f_s), []
    for f in (f_s, f_t):
        gram = np.array([[(f[i] * f[j]).sum() for j in range(size)] for i in range(size)])
        rows.append(np.array([row / np.sqrt((row**2).sum()) for row in gram]))
    return weight * ((rows[0] - rows[1]) ** 2).sum() / size**2


@pytest.mark.parametrize("size", [2, 5])
def test_value_and_gradient(draw, step, size):
    method = SP(beta=70.0)
    assert method.taps(STUDENT, TEACHER) == (["two"], ["one"])
    f_s, f_t, z = draw(size, 3, 4, 4, grad=True), draw(size, 5, 2, 2), draw(size, 4)
    losses = method.losses(step(z, z, None, {"two": f_s}, {"one": f_t}))
    losses["similarity"].backward()
    features = f_s.detach().numpy()
    assert list(losses) == ["label", "similarity"]
    assert losses["similarity"].item() == pytest.approx(similarity(features, f_t.numpy(), 70), rel=1e-10)
    for place in [(0, 0, 0, 0), (1, 2, 3, 1)]:
        up, down = features.copy(), features.copy()
        up[place] += 1e-6
        down[place] -= 1e-6
        numeric = (similarity(up, f_t.numpy(), 70) - similarity(down, f_t.numpy(), 70)) / 2e-6
        assert f_s.grad[place].item() == pytest.approx(numeric, rel=1e-5, abs=1e-8)


def test_rows_have_norm_one_and_know_no_scale_or_order_of_features(draw):
    f = draw(5, 3, 4, 4)
    rows = similarities(f)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(similarities(-3 * f.flip(1, 2)), rows)


def test_a_student_like_its_teacher_has_nothing_to_learn(draw, step):
    method = SP()
    method.taps(STUDENT, STUDENT)
    z, features = draw(5, 4), {"two": draw(5, 3, 4, 4)}
    assert method.losses(step(z, z, None, features, features))["similarity"] == 0


def test_dead_items_have_finite_gradients(draw, step):
    method = SP()
    method.taps(STUDENT, TEACHER)
    for dead in (slice(0, 1), slice(0, 5)):
        f_s, z = draw(5, 3, 4, 4).float(), draw(5, 4).float()
        f_s[dead] = 0
        f_s.requires_grad_()
        loss = method.losses(step(z, z, None, {"two": f_s}, {"one": draw(5, 5, 2, 2).float()}))["similarity"]
        loss.backward()
        assert torch.isfinite(loss)
        assert f_s.grad.abs().max() < 1e6


def test_a_real_training_leaves_the_teacher_alone():
    trained = two_steps(method_from("sp", {"beta": 10.0}))
    assert trained.teacher_kept
    assert [epoch for epoch, _ in trained.curves["similarity"]] == [1, 2]


def test_defaults_are_the_reference_ones_and_bounded():
    assert method_from("sp", {}).beta == 3000.0
    with pytest.raises(UsageError, match="option 'beta': found -1, expected greater than or equal to 0"):
        method_from("sp", {"beta": -1})
