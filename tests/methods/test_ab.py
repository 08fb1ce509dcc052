from dataclasses import replace

import pytest
import torch
from connectors import connected, prepared
from lessons import two_steps

from kdbench.errors import UsageError
from kdbench.methods.ab import AB, crossed
from kdbench.methods.build import method_from


def a(s, t, margin):
    """The cases of the definition, neuron by neuron."""
    if t <= 0:
        return (s + margin) ** 2 if s > -margin else 0.0
    return (s - margin) ** 2 if s < margin else 0.0


def test_value_and_gradient_of_the_first_phase(draw, step, setting):
    method, taps, connectors = prepared(AB(beta=2.0, margin=0.5), setting)
    assert taps == (["one.pre", "two.pre"], ["b.pre", "c.pre"])
    ours = {"one.pre": draw(2, 3, 8, 8, grad=True), "two.pre": draw(2, 3, 4, 4)}
    theirs = {"b.pre": draw(2, 5, 8, 8), "c.pre": draw(2, 6, 8, 8)}
    z = draw(2, 4)
    losses = method.losses(replace(step(z, z, None, ours, theirs), phase="boundaries"))
    assert list(losses) == ["boundary"]
    losses["boundary"].backward()
    small = theirs["c.pre"].numpy().reshape(2, 6, 4, 2, 4, 2).mean(axis=(3, 5))

    def boundary(one):
        total = 0.0
        levels = [(one, theirs["b.pre"].numpy(), 0.5), (ours["two.pre"].numpy(), small, 1.0)]
        for connector, (mine, its, weight) in zip(connectors, levels, strict=True):
            pairs = zip(connected(connector, mine).ravel(), its.ravel(), strict=True)
            total += weight * sum(a(s, t, 0.5) for s, t in pairs) / 2
        return 2.0 * 3 / 1000 * total

    one = ours["one.pre"].detach().numpy()
    assert losses["boundary"].item() == pytest.approx(boundary(one), rel=1e-10)
    for place in [(0, 0, 0, 0), (1, 2, 7, 1)]:
        up, down = one.copy(), one.copy()
        up[place] += 1e-6
        down[place] -= 1e-6
        numeric = (boundary(up) - boundary(down)) / 2e-6
        assert ours["one.pre"].grad[place].item() == pytest.approx(numeric, rel=1e-4, abs=1e-8)
    assert all(parameter.grad.abs().sum() > 0 for parameter in connectors[0].parameters())


@pytest.mark.parametrize(
    ("s", "t", "value"), [(2, 1, 0), (0.5, 1, 0.25), (-2, -1, 0), (0, -1, 1), (0, 0, 1), (1, 0, 4)]
)
def test_only_neurons_short_of_their_side_pay(s, t, value):
    maps = torch.full((3, 2, 1, 1), float(s)), torch.full((3, 2, 1, 1), float(t))
    assert crossed(*maps, 1.0) == 2 * value


def test_the_teacher_counts_by_its_signs_alone(draw):
    s, t = draw(4, 3, 2, 2), draw(4, 3, 2, 2)
    assert crossed(s, t, 1.0) == crossed(s, t.sign() * 100, 1.0)
    assert crossed(t.sign() * 1.5, t, 1.0) == 0


def test_the_second_phase_is_labels_alone(draw, step, setting):
    method, _, _ = prepared(AB(), setting)
    z = draw(4, 4)
    made = replace(step(z, z), phase="labels")
    assert method.losses(made) == {"label": made.label_loss()}


def test_first_the_boundaries_then_the_labels():
    method = AB(first=0.5)
    changed = two_steps(method)
    assert changed.before
    assert changed.still == []
    assert list(changed.curves) == ["boundaries.boundary", "learning_rate", "validation_accuracy", "labels.label"]
    assert changed.trained.epochs == 2


def test_defaults_and_bounds():
    assert (AB().beta, AB().margin, AB().first * 270) == (1.0, 1.0, 30.0)
    assert sum(phase.share for phase in AB().phases()) == pytest.approx(1.0)
    for bad in ({"beta": -1.0}, {"margin": -1.0}, {"first": 1.0}, {"first": 0.0}):
        with pytest.raises(UsageError, match="option"):
            method_from("ab", bad)
