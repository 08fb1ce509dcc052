import numpy as np
import pytest
import torch
from lessons import lesson
from torch import nn

from kdbench.errors import UsageError
from kdbench.methods.build import method_from
from kdbench.methods.dml import DML
from kdbench.training.loop import train

TARGETS = torch.tensor([0, 1, 2, 3, 3, 0])


class Says(nn.Module):
    """A peer that says the same whatever it sees."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, _inputs):
        return self.logits


class Peered(DML):
    """The peer's logits stay in float64, for the comparison."""

    def __init__(self, logits, weight=1.0):
        super().__init__(weight)
        self.peer = Says(logits)
        self.peer.float = lambda: self.peer


def softmax(z):
    e = np.exp(z)
    return e / e.sum(axis=1, keepdims=True)


def wanted(mine, theirs, weight):
    """Label and match terms of one network, and the gradient of their sum, written out item by item."""
    label = match = 0.0
    gradient = np.zeros_like(mine)
    for i, target in enumerate(TARGETS.tolist()):
        p, q = softmax(mine[None, i])[0], softmax(theirs[None, i])[0]
        label -= np.log(p[target]) / 6
        match += weight * sum(q[k] * np.log(q[k] / p[k]) for k in range(4)) / 6
        gradient[i] = (p - np.eye(4)[target] + weight * (p - q)) / 6
    return label, match, gradient


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_value_and_gradient_of_both(draw, step, weight):
    mine, theirs = draw(6, 4, grad=True).float(), draw(6, 4).float()
    mine = mine.detach().requires_grad_()
    method = Peered(theirs, weight)
    losses = method.losses(step(mine, targets=TARGETS))
    sum(losses.values()).backward()
    s, t = mine.detach().double().numpy(), theirs.double().numpy()
    label, match, gradient = wanted(s, t, weight)
    peer_label, peer_match, peer_gradient = wanted(t, s, weight)
    found = [losses[name].item() for name in ("label", "match", "peer_label", "peer_match")]
    assert found == pytest.approx([label, match, peer_label, peer_match], rel=1e-5)
    np.testing.assert_allclose(mine.grad.numpy(), gradient, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(method.peer.logits.grad.numpy(), peer_gradient, rtol=1e-4, atol=1e-7)


def test_equal_networks_have_nothing_to_tell_each_other(draw, step):
    logits = draw(6, 4).float()
    losses = Peered(logits.clone()).losses(step(logits + 3.0, targets=TARGETS))
    assert abs(losses["match"].item()) < 1e-6
    assert abs(losses["peer_match"].item()) < 1e-6


def test_soft_targets_and_a_batch_of_two(draw, step):
    soft = torch.tensor([[0.7, 0.3, 0.0, 0.0], [0.0, 0.5, 0.5, 0.0]])
    losses = Peered(draw(2, 4).float()).losses(step(draw(2, 4).float(), targets=soft))
    assert all(torch.isfinite(term) for term in losses.values())


def test_the_peer_is_another_student_that_learns_within_two_steps_and_does_not_ship():
    method, before = DML(), {}

    class Watched(DML):
        def prepare(self, setting):
            made = super().prepare(setting)
            before.update({name: parameter.detach().clone() for name, parameter in made.named_parameters()})
            return made

    method = Watched()
    trained = train(lesson(), method)
    assert trained.steps == 2
    student = lesson().new_student()
    assert [(n, p.shape) for n, p in student.named_parameters()] == [(n, p.shape) for n, p in before.items()]
    for name, parameter in method.peer.named_parameters():
        assert not torch.equal(parameter, before[name]), name
    assert list(trained.network.state_dict()) == list(student.state_dict())
    assert not torch.equal(trained.network.linear.weight, method.peer.linear.weight)
    assert trained.extra_params == sum(parameter.numel() for parameter in student.parameters())


def test_the_peers_passes_are_counted():
    trained = train(lesson(epochs=3), DML())
    assert (trained.student_forwards, trained.own_forwards, trained.backwards) == (192, 192, 384)
    assert (trained.teacher_forwards, trained.student_steps) == (0, 6)


def test_needs_no_teacher_and_defaults_are_the_papers():
    assert not DML.needs_teacher
    assert DML().weight == 1.0
    with pytest.raises(UsageError, match="option 'weight': found -1, expected greater than or equal to 0"):
        method_from("dml", {"weight": -1})
