"""Two steps of a real training: 64 digits, an untrained ResNet as the teacher of a small depthwise-separable student."""

import copy
from dataclasses import replace

import torch

from kdbench.data.dataset import Split
from kdbench.data.digits import digits
from kdbench.models.network import build
from kdbench.spec import Recipe
from kdbench.tasks.classification import Classification
from kdbench.training.lesson import Lesson
from kdbench.training.loop import train

ITEMS = 64


def short_training(method, epochs=1):
    """The training's result, and the parameters of the method's own networks before and after it, by name."""
    whole = digits()
    data = replace(whole, train=Split(whole.train.inputs[:ITEMS], whole.train.targets[:ITEMS]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        teacher = build("resnet8", 10, data.shape, {"widths": [4, 6, 8, 8]})
    table = {"kind": "fast", "epochs": epochs, "batch_size": ITEMS // 2, "lr": 0.05, "weight_decay": 0.0}
    found = {}

    def watched(setting):
        found["extra"] = prepare(setting)
        found["before"] = copy.deepcopy(dict(found["extra"].named_parameters()))
        return found["extra"]

    prepare, method.prepare = method.prepare, watched
    lesson = Lesson(
        Classification(),
        data,
        lambda: build("dscnn", 10, data.shape, {"width": 4}),
        teacher,
        Recipe.model_validate(table),
        0,
    )
    trained = train(lesson, method)
    return trained, found["before"], dict(found["extra"].named_parameters())


def all_moved(before, after):
    """Whether every parameter changed."""
    assert before.keys() == after.keys()
    assert before
    still = [name for name in before if torch.equal(before[name], after[name])]
    assert not still, still
    return True
