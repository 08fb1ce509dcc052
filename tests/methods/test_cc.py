from itertools import pairwise

import numpy as np
import pytest
import torch
from lessons import two_steps

from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.cc import CC

STUDENT = {"stem": (2, 8, 8), "pool": (3,)}
TEACHER = {"stem": (4, 8, 8), "one": (5, 2, 2)}


def prepared(setting, **options):
    method = CC(**options)
    taps = method.taps(STUDENT, TEACHER)
    torch.manual_seed(0)
    return method, taps, method.prepare(setting(STUDENT, TEACHER)).double()


def correlation(f_s, f_t, embeddings):
    """The term from its definition, neighbour by neighbour."""
    residuals = []
    for s, t in zip(f_s, f_t, strict=True):
        one, other = embeddings["student"], embeddings["teacher"]
        ours = one.weight.detach().numpy() @ s + one.bias.detach().numpy()
        theirs = other.weight.detach().numpy() @ t.ravel() + other.bias.detach().numpy()
        residuals.append(np.abs(ours - theirs))
    return np.mean([a @ b for a, b in pairwise(residuals)])


@pytest.mark.parametrize("size", [2, 6])
def test_value_and_gradient(draw, step, setting, size):
    method, taps, embeddings = prepared(setting, beta=0.5, width=7)
    assert taps == (["pool"], ["one"])
    f_s, f_t, z = draw(size, 3, grad=True), draw(size, 5, 2, 2), draw(size, 4)
    losses = method.losses(step(z, z, None, {"pool": f_s}, {"one": f_t}))
    losses["correlation"].backward()
    features, taught = f_s.detach().numpy(), f_t.numpy()
    assert list(losses) == ["label", "correlation"]
    assert losses["correlation"].item() == pytest.approx(0.5 * correlation(features, taught, embeddings), rel=1e-10)
    for place in [(0, 0), (1, 2)]:
        up, down = features.copy(), features.copy()
        up[place] += 1e-6
        down[place] -= 1e-6
        numeric = 0.5 * (correlation(up, taught, embeddings) - correlation(down, taught, embeddings)) / 2e-6
        assert f_s.grad[place].item() == pytest.approx(numeric, rel=1e-5, abs=1e-8)
    assert all(parameter.grad.abs().sum() > 0 for parameter in embeddings.parameters())


def test_equal_embeddings_of_equal_features_have_nothing_to_learn(draw, step, setting):
    method = CC()
    method.taps(STUDENT, STUDENT)
    embeddings = method.prepare(setting(STUDENT, STUDENT)).double()
    embeddings["student"].load_state_dict(embeddings["teacher"].state_dict())
    z, features = draw(5, 4), {"pool": draw(5, 3)}
    assert method.losses(step(z, z, None, features, features))["correlation"] == 0


def test_an_item_without_residual_says_nothing_of_its_neighbours(draw, step, setting):
    method, _, embeddings = prepared(setting, width=3)
    f_s, f_t, z = draw(3, 3), draw(3, 5, 2, 2), draw(3, 4)
    with torch.no_grad():
        embeddings["student"].weight.copy_(torch.eye(3))
        embeddings["student"].bias.zero_()
        f_s[1] = embeddings["teacher"](f_t[1].flatten())
    assert method.losses(step(z, z, None, {"pool": f_s}, {"one": f_t}))["correlation"] < 1e-14


def test_its_embeddings_change_within_two_steps_and_the_teacher_does_not():
    trained = two_steps(method_from("cc", {}))
    assert set(trained.before) == {"student.weight", "student.bias", "teacher.weight", "teacher.bias"}
    assert trained.before["teacher.weight"].shape == (128, 7)
    assert trained.still == []
    assert trained.teacher_kept


def test_defaults_are_the_reference_ones_and_bounded():
    made = method_from("cc", {})
    assert (made.beta, made.width) == (0.02, 128)
    with pytest.raises(UsageError, match="option 'width': found 0, expected greater than or equal to 1"):
        method_from("cc", {"width": 0})
    with pytest.raises(UsageError, match="option 'beta': found -1, expected greater than or equal to 0"):
        method_from("cc", {"beta": -1})
