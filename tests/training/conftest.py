"""A small lesson: part of the digits, a narrow teacher and a narrow student."""

import hashlib
from dataclasses import replace

import pytest

from kdbench.data.dataset import Split
from kdbench.data.digits import digits
from kdbench.methods.build import method_from
from kdbench.models.network import build
from kdbench.spec import Recipe
from kdbench.tasks.classification import Classification
from kdbench.training.lesson import Lesson
from kdbench.training.loop import train


def part(split, count):
    return Split(split.inputs[:count], split.targets[:count])


@pytest.fixture(scope="session")
def dataset():
    whole = digits()
    return replace(
        whole,
        train=part(whole.train, 140),
        validation=part(whole.validation, 40),
        test=part(whole.test, 50),
    )


@pytest.fixture(scope="session")
def lesson(dataset):
    """A function to a lesson of the student ``dscnn``; keywords go into the recipe."""

    def make(teacher=None, *, seed=0, role="student", width=4, model="dscnn", data=dataset, **recipe):
        options = {"width": width} if model == "dscnn" else {"widths": [4, 4, 8, 8]}
        table = {"kind": "fast", "epochs": 2, "batch_size": 32, "lr": 0.05} | recipe
        return Lesson(
            Classification(),
            data,
            lambda: build(model, 10, data.shape, options),
            teacher,
            Recipe.model_validate(table),
            seed,
            role,
        )

    return make


@pytest.fixture(scope="session")
def teacher_bits(lesson):
    return train(lesson(model="resnet8", role="teacher", epochs=4), method_from("scratch", {})).network.state_dict()


@pytest.fixture
def teacher(dataset, teacher_bits):
    """A trained teacher, new for each test."""
    network = build("resnet8", 10, dataset.shape, {"widths": [4, 4, 8, 8]})
    network.load_state_dict(teacher_bits)
    return network


@pytest.fixture(scope="session")
def bits():
    """A function from a network to the hash of its state's bits."""

    def of(network):
        digest = hashlib.sha256()
        for name, tensor in sorted(network.state_dict().items()):
            digest.update(name.encode() + tensor.detach().numpy().tobytes())
        return digest.hexdigest()

    return of
