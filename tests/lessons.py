"""Small real trainings for tests of methods: part of the digits, a ``dscnn`` of four channels and a thin resnet8."""

from dataclasses import replace
from functools import cache

import torch

from kdbench.data.dataset import Split
from kdbench.data.digits import digits
from kdbench.models.network import build
from kdbench.spec import Recipe
from kdbench.tasks.classification import Classification
from kdbench.training.lesson import Lesson


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
