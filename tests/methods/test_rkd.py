import itertools

import numpy as np
import pytest
import torch
from lessons import two_steps

from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.rkd import RKD, relations

STUDENT = {"stem": (2, 8, 8), "pool": (3,)}
TEACHER = {"stem": (4, 8, 8), "one": (5, 2, 2), "pool": (5,)}


def huber(x):
    return x**2 / 2 if abs(x) < 1 else abs(x) - 0.5


def cosine(a, b):
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return a @ b / norms if norms else 0.0


def of_definition(f):
    """Distances and angles, pair by pair and triple by triple."""
    size = len(f)
    distances = np.array([[np.sqrt(((a - b) ** 2).sum()) for b in f] for a in f])
    mean = np.mean([distances[i, j] for i, j in itertools.permutations(range(size), 2)])
    angles = np.zeros((size,) * 3)
    for i, j, k in itertools.product(range(size), repeat=3):
        angles[i, j, k] = cosine(f[j] - f[i], f[k] - f[i])
    return distances / mean, angles


def term(f_s, f_t, which):
    ours, theirs = of_definition(f_s)[which], of_definition(f_t)[which]
    return np.mean([huber(x) for x in (ours - theirs).ravel()])


@pytest.mark.parametrize("size", [2, 6])
def test_value_and_gradient(draw, step, size):
    method = RKD(distance=3.0, angle=7.0)
    assert method.taps(STUDENT, TEACHER) == (["pool"], ["pool"])
    f_s, f_t, z = draw(size, 3, grad=True), draw(size, 5), draw(size, 4)
    losses = method.losses(step(z, z, None, {"pool": f_s}, {"pool": f_t}))
    (losses["distance"] + losses["angle"]).backward()
    features, taught = f_s.detach().numpy(), f_t.numpy()
    for found, expected in zip(relations(f_s), of_definition(features), strict=True):
        np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-10, atol=1e-14)
    assert losses["distance"].item() == pytest.approx(3 * term(features, taught, 0), rel=1e-10, abs=1e-20)
    assert losses["angle"].item() == pytest.approx(7 * term(features, taught, 1), rel=1e-10, abs=1e-20)
    for place in [(0, 0), (1, 2)]:
        up, down = features.copy(), features.copy()
        up[place] += 1e-6
        down[place] -= 1e-6
        numeric = sum(w * (term(up, taught, i) - term(down, taught, i)) / 2e-6 for i, w in ((0, 3), (1, 7)))
        assert f_s.grad[place].item() == pytest.approx(numeric, rel=1e-5, abs=1e-8)


def test_far_apart_relations_are_on_the_straight_part_of_huber(step, draw):
    method, z = RKD(distance=1.0, angle=1.0), draw(4, 4)
    method.taps(STUDENT, TEACHER)
    f_s = torch.tensor([[0.0, 0, 0], [1e-3, 0, 0], [0, 1e-3, 0], [9, 0, 0]]).double()
    f_t = torch.tensor([[0.0, 0, 0, 0, 9], [5, 0, 0, 0, 0], [-5, 1, 0, 0, 0], [0, 0, 4, 0, 8]]).double()
    losses = method.losses(step(z, z, None, {"pool": f_s}, {"pool": f_t}))
    assert np.abs(of_definition(f_s.numpy())[0] - of_definition(f_t.numpy())[0]).max() > 1
    assert losses["distance"].item() == pytest.approx(term(f_s.numpy(), f_t.numpy(), 0), rel=1e-10)


def test_relations_know_no_place_scale_or_rotation(draw):
    f = draw(6, 4)
    turn, _ = torch.linalg.qr(draw(4, 4))
    for found, expected in zip(relations(0.3 * f @ turn + draw(4)), relations(f), strict=True):
        torch.testing.assert_close(found, expected)


def test_a_student_like_its_teacher_has_nothing_to_learn(draw, step):
    method = RKD()
    method.taps(STUDENT, STUDENT)
    z, features = draw(5, 4), {"pool": draw(5, 3)}
    losses = method.losses(step(z, z, None, features, features))
    assert losses["distance"] == losses["angle"] == 0


def test_items_at_the_same_place_have_finite_gradients(draw, step):
    method = RKD()
    method.taps(STUDENT, TEACHER)
    for same in (slice(0, 2), slice(0, 5)):
        f_s, z = draw(5, 3).float(), draw(5, 4).float()
        f_s[same] = 0.25
        f_s.requires_grad_()
        losses = method.losses(step(z, z, None, {"pool": f_s}, {"pool": draw(5, 5).float()}))
        loss = losses["distance"] + losses["angle"]
        loss.backward()
        assert torch.isfinite(loss)
        assert f_s.grad.abs().max() < 1e4


def test_near_neighbours_keep_their_distance_in_fp32():
    f = torch.tensor([[1000.0, 0], [1000.01, 0], [1000.03, 0]])
    distances, _ = relations(f)
    steps = (f[:, 0] - f[:, 0, None]).double().abs()
    torch.testing.assert_close(distances.double(), steps / (steps.sum() / 6), rtol=1e-5, atol=1e-6)


def test_a_real_training_leaves_the_teacher_alone():
    trained = two_steps(method_from("rkd", {}))
    assert trained.teacher_kept
    assert set(trained.curves) >= {"label", "distance", "angle"}


def test_defaults_are_the_reference_ones_and_bounded():
    made = method_from("rkd", {})
    assert (made.distance, made.angle) == (25.0, 50.0)
    with pytest.raises(UsageError, match="option 'angle': found -1, expected greater than or equal to 0"):
        method_from("rkd", {"angle": -1})
