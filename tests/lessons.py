"""Small real trainings for tests of methods: part of the digits, a ``dscnn`` of four channels and a thin resnet8."""

from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache

import torch

from kdbench.data.dataset import Split
from kdbench.data.digits import digits
from kdbench.models.network import build
from kdbench.spec import Recipe
from kdbench.tasks.classification import Classification
from kdbench.training.lesson import Lesson
from kdbench.training.loop import train
from kdbench.training.trained import Trained


@cache
def some_digits(count):
    whole = digits()
    return replace(whole, train=Split(whole.train.inputs[:count], whole.train.targets[:count]))


def teacher():
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return build("resnet8", 10, digits().shape, {"widths": [4, 4, 8, 8]})


def lesson(taught_by=None, *, items=64, **recipe):
    """Two steps an epoch of 32 items each, unless ``items`` or the recipe say otherwise."""
    data = some_digits(items)
    table = {"kind": "fast", "epochs": 1, "batch_size": 32, "lr": 0.05} | recipe
    student = lambda: build("dscnn", 10, data.shape, {"width": 4})  # noqa: E731
    return Lesson(Classification(), data, student, taught_by, Recipe.model_validate(table), 0)


@dataclass(frozen=True)
class Changed:
    """What a training gave; the states before and after it of the method's own networks; if the teacher is as before."""

    trained: Trained
    before: dict
    after: dict
    teacher_kept: bool

    @property
    def curves(self):
        return self.trained.curves

    @property
    def still(self):
        """The names of what did not change."""
        return [name for name, tensor in self.before.items() if torch.equal(tensor, self.after[name])]


def two_steps(method, teacher_options=None, *, epochs=2):
    """Train a ``dscnn`` by the method under a ``resnet8`` with random weights: two steps in one epoch or in two."""
    data = some_digits(64 // epochs)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        taught_by = build("resnet8", 10, data.shape, teacher_options or {"widths": [5, 4, 6, 7]})
    state, own = deepcopy(taught_by.state_dict()), {}
    prepare = method.prepare

    def prepared(setting):
        own["networks"] = prepare(setting)
        own["before"] = deepcopy(own["networks"].state_dict()) if own["networks"] is not None else {}
        return own["networks"]

    method.prepare = prepared
    table = {"kind": "fast", "epochs": epochs, "batch_size": 32, "lr": 0.05, "weight_decay": 0.0}
    student = lambda: build("dscnn", 10, data.shape, {"width": 4, "growth": 2.0})  # noqa: E731
    trained = train(Lesson(Classification(), data, student, taught_by, Recipe.model_validate(table), 0), method)
    after = own["networks"].state_dict() if own["networks"] is not None else {}
    kept = all(torch.equal(tensor, state[name]) for name, tensor in taught_by.state_dict().items())
    kept = kept and all(parameter.grad is None for parameter in taught_by.parameters())
    return Changed(trained, own["before"], after, kept)
