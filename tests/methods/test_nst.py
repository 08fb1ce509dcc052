import numpy as np
import pytest
import torch
from lessons import two_steps

from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.nst import NST, discrepancy

STUDENT = {"stem": (2, 8, 8), "one": (3, 8, 8), "two": (2, 4, 4), "pool": (2,)}
TEACHER = {"stem": (4, 8, 8), "one": (4, 8, 8), "two": (5, 8, 8), "pool": (5,)}


def of_definition(f_s, f_t):
    """The squared discrepancy, item by item and channel by channel."""
    found = []
    for s, t in zip(f_s, f_t, strict=True):
        ours, theirs = ([u.ravel() / np.sqrt((u**2).sum()) for u in maps] for maps in (s, t))

        def mean(a, b):
            return np.mean([(u @ v) ** 2 for u in a for v in b])

        found.append(mean(ours, ours) + mean(theirs, theirs) - 2 * mean(ours, theirs))
    return np.mean(found)


def test_value_and_gradient(draw, step):
    method = NST(beta=20.0)
    assert method.taps(STUDENT, TEACHER) == (["one", "two"], ["one", "two"])
    ours = {"one": draw(2, 3, 8, 8, grad=True), "two": draw(2, 2, 4, 4, grad=True)}
    theirs = {"one": draw(2, 4, 8, 8), "two": draw(2, 5, 8, 8)}
    z = draw(2, 4)
    losses = method.losses(step(z, z, None, ours, theirs))
    losses["selectivity"].backward()
    one, two = (ours[name].detach().numpy() for name in ("one", "two"))
    small = theirs["two"].numpy().reshape(2, 5, 4, 2, 4, 2).mean(axis=(3, 5))

    def total(one):
        return 20 * (of_definition(one, theirs["one"].numpy()) + of_definition(two, small))

    assert list(losses) == ["label", "selectivity"]
    assert losses["selectivity"].item() == pytest.approx(total(one), rel=1e-10)
    for place in [(0, 0, 0, 0), (1, 2, 7, 1)]:
        up, down = one.copy(), one.copy()
        up[place] += 1e-6
        down[place] -= 1e-6
        numeric = (total(up) - total(down)) / 2e-6
        assert ours["one"].grad[place].item() == pytest.approx(numeric, rel=1e-5, abs=1e-9)


def test_it_knows_no_order_sign_or_scale_of_channels_and_is_never_negative(draw):
    f_s, f_t = draw(4, 3, 4, 4), draw(4, 6, 4, 4)
    moved = f_s.flip(1) * torch.tensor([3.0, -0.1, 2.0])[None, :, None, None]
    torch.testing.assert_close(discrepancy(moved, f_t), discrepancy(f_s, f_t))
    assert discrepancy(f_s, f_t) > 0
    assert abs(discrepancy(torch.cat([f_s, f_s], dim=1), f_s)) < 1e-14


def test_dead_channels_have_finite_gradients(draw, step):
    method = NST()
    method.taps(STUDENT, TEACHER)
    ours = {"one": draw(2, 3, 8, 8).float(), "two": torch.zeros(2, 2, 4, 4)}
    ours["one"][:, 0] = 0
    theirs = {"one": draw(2, 4, 8, 8).float(), "two": draw(2, 5, 8, 8).float()}
    for maps in ours.values():
        maps.requires_grad_()
    z = draw(2, 4).float()
    loss = method.losses(step(z, z, None, ours, theirs))["selectivity"]
    loss.backward()
    assert torch.isfinite(loss)
    assert all(maps.grad.abs().max() < 1e3 for maps in ours.values())


def test_a_real_training_leaves_the_teacher_alone():
    trained = two_steps(method_from("nst", {}))
    assert trained.teacher_kept
    assert [epoch for epoch, _ in trained.curves["selectivity"]] == [1, 2]


def test_defaults_are_the_reference_ones_and_bounded():
    assert method_from("nst", {}).beta == 50.0
    with pytest.raises(UsageError, match="option 'beta': found -1, expected greater than or equal to 0"):
        method_from("nst", {"beta": -1})
