import numpy as np
import pytest
import torch

from kdbench.methods.at import AT, attention

STUDENT = {"stem": (2, 8, 8), "one": (3, 8, 8), "two": (3, 4, 4), "pool": (3,)}
TEACHER = {"stem": (4, 8, 8), "one": (4, 8, 8), "two": (6, 8, 8), "pool": (6,)}


def q(f, power):
    flat = (np.abs(f) ** power).mean(axis=1).reshape(len(f), -1)
    return flat / np.sqrt((flat**2).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("power", [2.0, 1.0, 3.0])
def test_value_and_gradient(draw, step, power):
    method = AT(beta=50.0, power=power)
    assert method.taps(STUDENT, TEACHER) == (["one", "two"], ["one", "two"])
    ours = {"one": draw(5, 3, 8, 8, grad=True), "two": draw(5, 3, 4, 4, grad=True)}
    theirs = {"one": draw(5, 4, 8, 8), "two": draw(5, 6, 8, 8)}
    z = draw(5, 4)
    losses = method.losses(step(z, z, None, ours, theirs))
    losses["attention"].backward()
    one, two = (ours[name].detach().numpy() for name in ("one", "two"))
    small = theirs["two"].numpy().reshape(5, 6, 4, 2, 4, 2).mean(axis=(3, 5))

    def total(one):
        first = ((q(one, power) - q(theirs["one"].numpy(), power)) ** 2).mean()
        return 50 * (first + ((q(two, power) - q(small, power)) ** 2).mean())

    assert losses["attention"].item() == pytest.approx(total(one), rel=1e-10)
    for place in [(0, 0, 0, 0), (4, 2, 7, 1)]:
        up, down = one.copy(), one.copy()
        up[place] += 1e-6
        down[place] -= 1e-6
        numeric = (total(up) - total(down)) / 2e-6
        assert ours["one"].grad[place].item() == pytest.approx(numeric, rel=1e-5, abs=1e-9)


def test_maps_have_norm_one_and_know_no_scale_or_order_of_channels(draw):
    f = draw(5, 3, 4, 4)
    maps = attention(f, 2.0)
    torch.testing.assert_close(maps.norm(dim=1), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(attention(-7 * f.flip(1), 2.0), maps)


def test_a_student_like_its_teacher_has_nothing_to_learn(draw, step):
    method = AT()
    method.taps(STUDENT, STUDENT)
    features, z = {"one": draw(5, 3, 8, 8), "two": draw(5, 3, 4, 4)}, draw(5, 4)
    assert method.losses(step(z, z, None, features, features))["attention"] == 0


def test_a_dead_map_has_finite_gradients(step, draw):
    method = AT()
    method.taps(STUDENT, STUDENT)
    dead = {name: torch.zeros(5, 3, 4, 4, requires_grad=True) for name in ("one", "two")}
    z = draw(5, 4).float()
    theirs = {name: torch.ones(5, 3, 4, 4) for name in dead}
    method.losses(step(z, z, None, dead, theirs))["attention"].backward()
    assert torch.isfinite(dead["one"].grad).all()


def test_defaults_are_the_reference_ones():
    assert (AT().beta, AT().power) == (1000.0, 2.0)
