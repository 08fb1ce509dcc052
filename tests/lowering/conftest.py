"""Networks and their programs, lowered once a session: lowering is what costs time here."""

import dataclasses
import json

import pytest
import torch
from torch import nn

from kdbench.data.digits import digits
from kdbench.lowering import export, stage, xnnpack  # noqa: F401 - export imports ExecuTorch, quietly, before a test does
from kdbench.spec import Lowering, Recipe
from kdbench.store import Artefact, Store
from kdbench.tasks.classification import Classification
from kdbench.training import network as training
from kdbench.training.processor import processor


class Tiny(nn.Module):
    """Convolution, batch norm, a depthwise-separable pair, mean, linear: what the students are made of."""

    stages = ("pool",)

    def __init__(self, seed, width=8):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.stem = nn.Conv2d(1, width, 3, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(width)
            self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
            self.pointwise = nn.Conv2d(width, 16, 1)
            self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.linear = nn.Linear(16, 10)
            nn.init.normal_(self.norm.running_mean, std=0.1)
            nn.init.uniform_(self.norm.running_var, 0.5, 2)
        self.eval()

    def forward(self, x):
        x = self.pointwise(self.depthwise(self.norm(self.stem(x)).relu()).relu()).relu()
        return self.linear(self.pool(x))


class TwoByTwo(nn.Module):
    """Two inputs of different shapes, two outputs of different shapes."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.left, self.right = nn.Linear(6, 4), nn.Linear(3, 4)
        self.eval()

    def forward(self, a, b):
        both = self.left(a) + self.right(b)
        return both.relu(), both @ both.new_ones(4, 2)


@dataclasses.dataclass(frozen=True)
class Made:
    """A network, the inputs it was calibrated with and its program."""

    network: nn.Module
    calibration: list
    lowered: object


def items(count, seed=0, shape=(1, 1, 8, 8)):
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(shape, generator=generator),) for _ in range(count)]


def made(target, network):
    calibration = items(64)
    return Made(network, calibration, target.lower(network, calibration[0], calibration))


@pytest.fixture(scope="session")
def fp32():
    return made(xnnpack.FP32, Tiny(seed=0))


@pytest.fixture(scope="session")
def fp16():
    return made(xnnpack.FP16, Tiny(seed=0))


@pytest.fixture(scope="session")
def int8():
    return made(xnnpack.INT8, Tiny(seed=0))


@pytest.fixture(scope="session")
def other_int8():
    """Another seed of ``int8``."""
    return made(xnnpack.INT8, Tiny(seed=1))


@pytest.fixture(scope="session")
def data():
    return digits()


@pytest.fixture(scope="session")
def task():
    return Classification()


@pytest.fixture(scope="session")
def trained(tmp_path_factory, data):
    """The artefact of a student trained on digits by the stage that trains networks."""
    spec = {
        "role": "student",
        "task": "classification",
        "data": {"name": "digits", "sha256": data.sha256},
        "architecture": {"name": "dscnn", "options": {"width": 4}},
        "teacher": None,
        "recipe": Recipe(kind="fast", epochs=8, batch_size=64, lr=0.05).model_dump(mode="json"),
        "method": {"use": "scratch", "options": {}, "digest": ""},
        "seed": 0,
        "processor": processor("cpu"),
    }
    store = Store(tmp_path_factory.mktemp("store"))
    with store.making("network", "0" * 64, spec, {}) as out:
        training.run(spec, {}, out, lambda _done, _words: None)
    artefact = store.get("network", "0" * 64)
    assert isinstance(artefact, Artefact)
    return artefact


@pytest.fixture(scope="session")
def spec(data):
    """The spec of a program stage."""
    return {
        "target": "xnnpack-int8",
        "task": "classification",
        "data": {"name": "digits", "sha256": data.sha256},
        "lowering": Lowering(calibration_items=64).model_dump(mode="json"),
    }


@pytest.fixture(scope="session")
def staged(tmp_path_factory, trained, spec):
    """The folder that the program stage filled for ``trained``, and what it told meanwhile."""
    out, told = tmp_path_factory.mktemp("program"), []
    stage.run(spec, {"network": trained}, out, lambda done, words: told.append((done, words)))
    return out, told


@pytest.fixture(scope="session")
def program_json(staged):
    return json.loads((staged[0] / "program.json").read_text())
