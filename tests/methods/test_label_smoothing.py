import numpy as np
import pytest
import torch

from kdbench.methods.label_smoothing import LabelSmoothing
from kdbench.methods.scratch import Scratch


def test_value_and_gradient(draw, step):
    z, targets, epsilon = draw(6, 4, grad=True), torch.tensor([0, 1, 2, 3, 3, 0]), 0.3
    loss = LabelSmoothing(epsilon).losses(step(z, targets=targets))["label"]
    loss.backward()
    logits = z.detach().numpy()
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    wanted = (1 - epsilon) * np.eye(4)[targets.numpy()] + epsilon / 4
    assert loss.item() == pytest.approx(-(wanted * np.log(p)).sum(axis=1).mean(), rel=1e-12)
    np.testing.assert_allclose(z.grad.numpy(), (p - wanted) / 6, rtol=1e-10, atol=1e-14)


def test_without_smoothing_it_is_scratch(draw, step):
    made = step(draw(6, 4))
    assert LabelSmoothing(0.0).losses(made)["label"] == Scratch().losses(made)["label"]
    assert LabelSmoothing().epsilon == 0.1
