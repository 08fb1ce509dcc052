"""Steps made by hand: float64 logits and features of a small batch."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kdbench.methods.method import Batch, Output, Setting, Step
from kdbench.tasks.classification import Classification


@pytest.fixture
def draw():
    """A function to normal float64 tensors from one seeded generator; the first ones want gradients."""
    generator = torch.Generator().manual_seed(7)

    def normal(*shape, grad=False, scale=2.0):
        return (scale * torch.randn(*shape, generator=generator, dtype=torch.float64)).requires_grad_(grad)

    return normal


@pytest.fixture
def slopes():
    """A function to the central differences of a function of an array, entry by entry."""

    def of(function, array, width=1e-6):
        found = np.zeros_like(array)
        for place in np.ndindex(*array.shape):
            for sign in (1, -1):
                moved = array.copy()
                moved[place] += sign * width
                found[place] += sign * function(moved) / (2 * width)
        return found

    return of


@pytest.fixture
def step():
    """A function from what both networks said to the step that a method is shown."""

    def make(student, teacher=None, targets=None, student_features=(), teacher_features=(), epoch=0, epochs=10):
        outputs = {"student": Output(student, dict(student_features))}
        if teacher is not None:
            outputs["teacher"] = Output(teacher, dict(teacher_features))
        targets = torch.arange(len(student)) % student.shape[1] if targets is None else targets
        batch = Batch(torch.zeros(len(student), 1), targets, torch.arange(len(student)))
        return Step(Classification(), batch, outputs, epoch, epochs, "distil")

    return make


@pytest.fixture
def setting():
    """A function from the shapes of both networks' stages to a setting."""

    def make(student_shapes, teacher_shapes):
        return Setting(
            task=Classification(),
            teacher=None,
            new_student=SimpleNamespace,
            shape=(1, 8, 8),
            outputs=4,
            student_shapes=student_shapes,
            teacher_shapes=teacher_shapes,
            targets=torch.zeros(6, dtype=torch.int64),
            device=torch.device("cpu"),
            generator=torch.Generator().manual_seed(0),
        )

    return make
