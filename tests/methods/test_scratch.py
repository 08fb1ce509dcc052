import numpy as np
import pytest
import torch

from kdbench.errors import StageError
from kdbench.methods.scratch import Scratch


def cross_entropy(z, targets):
    z = z.detach().numpy()
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    value = -np.log(p[np.arange(len(z)), targets.numpy()]).mean()
    gradient = (p - np.eye(z.shape[1])[targets.numpy()]) / len(z)
    return value, gradient


def test_value_and_gradient(draw, step):
    z, targets = draw(6, 4, grad=True), torch.tensor([0, 1, 2, 3, 3, 0])
    losses = Scratch().losses(step(z, targets=targets))
    losses["label"].backward()
    value, gradient = cross_entropy(z, targets)
    assert list(losses) == ["label"]
    assert losses["label"].item() == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(z.grad.numpy(), gradient, rtol=1e-10, atol=1e-14)


def test_does_without_a_teacher_and_says_so_when_asked(draw, step):
    made = step(draw(6, 4))
    assert not Scratch.needs_teacher
    with pytest.raises(StageError, match="looks at the teacher in phase 'distil', which runs without it"):
        _ = made.teacher
