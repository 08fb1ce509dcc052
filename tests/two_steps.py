"""A real training of two optimiser steps on part of the digits, and what it changed."""

from copy import deepcopy
from dataclasses import dataclass, replace

import torch

from kdbench.data.dataset import Split
from kdbench.data.digits import digits
from kdbench.models.network import build
from kdbench.spec import Recipe
from kdbench.tasks.classification import Classification
from kdbench.training.lesson import Lesson
from kdbench.training.loop import train

RECIPE = {"kind": "fast", "epochs": 2, "batch_size": 32, "lr": 0.05, "schedule": "cosine"}
STUDENT = {"width": 4, "growth": 2.0}
TEACHER = {"widths": [5, 4, 6, 7]}


@dataclass(frozen=True)
class Trained:
    """The curves; the states before and after of the method's own networks; whether the teacher is as it was."""

    curves: dict
    before: dict
    after: dict
    teacher_kept: bool

    @property
    def still(self):
        """The names of what did not change."""
        return [name for name, tensor in self.before.items() if torch.equal(tensor, self.after[name])]


def two_steps(method, teacher_options=None, **recipe):
    """Train ``dscnn`` by the method under ``resnet8`` with random weights: two epochs of one batch each."""
    whole = digits()
    data = replace(whole, train=Split(whole.train.inputs[:32], whole.train.targets[:32]))
    torch.manual_seed(1)
    teacher = build("resnet8", 10, data.shape, teacher_options or TEACHER)
    taught, own = deepcopy(teacher.state_dict()), {}
    prepare = method.prepare

    def prepared(setting):
        own["networks"] = prepare(setting)
        own["before"] = deepcopy(own["networks"].state_dict()) if own["networks"] is not None else {}
        return own["networks"]

    method.prepare = prepared
    lesson = Lesson(
        Classification(),
        data,
        lambda: build("dscnn", 10, data.shape, STUDENT),
        teacher,
        Recipe.model_validate(RECIPE | recipe),
        0,
    )
    curves = train(lesson, method).curves
    after = own["networks"].state_dict() if own["networks"] is not None else {}
    kept = all(torch.equal(tensor, taught[name]) for name, tensor in teacher.state_dict().items())
    kept = kept and all(parameter.grad is None for parameter in teacher.parameters())
    return Trained(curves, own["before"], after, kept)
