"""Our losses against torchdistill's, an implementation by other hands: the same value and the same gradients.

torchdistill/make.py made the values, with torchdistill itself, and says what each holds. Where the two differ by intent,
the test's first lines name the difference and its factor; nothing else is let through, at nine digits.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from kdbench.methods.at import AT, attention
from kdbench.methods.fitnet import FitNet
from kdbench.methods.kd import KD

with np.load(Path(__file__).parent / "torchdistill" / "values.npz") as _stored:
    VALUES = {name: _stored[name] for name in _stored}
ABOUT = json.loads(str(VALUES["about"]))


class Case:
    """One loss of torchdistill's: its settings, its inputs and what came out."""

    def __init__(self, name):
        self.settings = ABOUT["settings"][name]
        shapes = ABOUT["shapes"][name]
        parts = np.split(VALUES[name], np.cumsum([math.prod(shape) for shape in shapes.values()])[:-1])
        self.arrays = {
            key: torch.from_numpy(part.reshape(shapes[key])) for key, part in zip(shapes, parts, strict=True)
        }
        self.student, self.teacher, self.kept = (self.part(folder) for folder in ("student", "teacher", "kept"))
        self.leaves = {f"student/{name}": leaf.requires_grad_() for name, leaf in self.student.items()}

    def part(self, folder):
        """The arrays of a folder, under the rest of their names."""
        start = folder + "/"
        return {key.removeprefix(start): array for key, array in self.arrays.items() if key.startswith(start)}

    def shapes(self, whose):
        return {name: tuple(array.shape[1:]) for name, array in self.part(whose).items()}

    def fill(self, module, names=None, prefix=""):
        """Our module with their weights, in the same order or where ``names`` (ours to theirs) says; all are used."""
        state = module.double().state_dict()
        ours = [name for name in state if not name.endswith("num_batches_tracked")]
        theirs = [name for name in self.part("weights") if name.startswith(prefix)]
        names = dict(zip(ours, theirs, strict=True)) if names is None else names
        assert sorted(names) == sorted(ours)
        assert sorted(names.values()) == sorted(theirs)
        module.load_state_dict({**state, **{mine: self.arrays[f"weights/{its}"] for mine, its in names.items()}})
        self.leaves |= {f"weights/{names[name]}": leaf for name, leaf in module.named_parameters()}
        return module

    def agrees(self, loss, factor=1.0):
        """Our loss is ``factor`` times theirs, and so are its gradients in features, logits and filled weights."""
        torch.testing.assert_close(loss.detach(), factor * self.arrays["loss"], rtol=1e-9, atol=0)
        loss.backward()
        gradients = {name: factor * array for name, array in self.part("gradient").items()}
        largest = max(float(gradient.abs().max()) for gradient in gradients.values())
        assert largest > 0
        assert gradients.keys() == {name for name, leaf in self.leaves.items() if leaf.grad is not None}
        for name, gradient in gradients.items():
            close = torch.isclose(self.leaves[name].grad, gradient, rtol=1e-9, atol=1e-13 * largest)
            assert close.all(), f"{name}: {self.leaves[name].grad}, expected {gradient}"


@pytest.fixture
def told(step):
    """A function from a case to the step that shows a method its features."""
    nothing = torch.zeros(6, 5, dtype=torch.float64)
    return lambda case: step(nothing, nothing, None, case.student, case.teacher)


def test_the_values_are_torchdistills():
    assert ABOUT["torchdistill"] == "1.1.5"


def test_kd(step):
    case = Case("kd")
    assert case.settings == {
        "temperature": 4.0,
        "alpha": 0.1,
        "beta": 0.9,
    }  # their alpha weighs the labels: ours is beta
    s, t = case.student["logits"], case.teacher["logits"]
    losses = KD(temperature=4.0, alpha=0.9).losses(step(s, t, case.kept["targets"].long()))
    case.agrees(sum(losses.values()))


def at(case, told):
    method = AT(beta=1.0)
    stem = {"stem": (3, 4, 4)}
    assert method.taps({**stem, **case.shapes("student")}, {**stem, **case.shapes("teacher")})[0] == ["one", "two"]
    return method.losses(told(case))["attention"]


def test_at(told):
    case = Case("at")
    assert case.settings == {"mode": "code"}
    case.agrees(at(case, told))


def test_at_as_the_paper_has_it_differs_in_its_reduction_alone():
    """Equation 2 has the norm of each item's difference; the authors' code, the literature and kdbench its mean square."""
    case = Case("at-paper")
    norms = [
        (attention(case.student[name], 2.0) - attention(case.teacher[name], 2.0)).norm(dim=1) for name in case.student
    ]
    case.agrees(torch.stack(norms).sum() / 6)


def test_fitnet(told, setting):
    case = Case("fitnet")
    method = FitNet(beta=1.0)
    method.taps(case.shapes("student"), case.shapes("teacher"))
    case.fill(method.prepare(setting(case.shapes("student"), case.shapes("teacher"))))
    case.agrees(method.losses(told(case))["hint"])
