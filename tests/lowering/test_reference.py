import json

import numpy as np
import pytest
import torch

from kdbench.lowering import reference
from kdbench.lowering.parity import run_program


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    reference.run({}, {}, folder, lambda _done, _words: None)
    return folder


def test_the_same_bytes_whatever_the_random_numbers(out):
    torch.manual_seed(123)
    assert reference.reference_program().program == (out / "program.pte").read_bytes()


def test_what_it_writes(out):
    assert sorted(path.name for path in out.iterdir()) == ["input.npy", "program.json", "program.pte"]
    assert sorted(reference.CONTENT) == ["input.npy", "program.pte"]
    facts = json.loads((out / "program.json").read_text())
    assert facts["inputs"] == [{"dtype": "float32", "shape": list(reference.SHAPE)}]
    assert facts["delegates"] == {"XnnpackBackend": 1}
    assert facts["delegated"] == 1.0
    given = np.load(out / "input.npy", allow_pickle=False)
    assert given.shape == reference.SHAPE
    assert given.dtype == np.float32
    assert np.array_equal(given, reference.reference_input())


def test_its_numbers_are_lively(out):
    """A ruler that computes zeros, infinities or denormals would be timed on other paths than real programs."""
    items = reference.reference_input(8)
    assert -1 <= items.min() < -0.99
    assert 0.99 < items.max() < 1
    assert len(np.unique(items)) > 10_000
    (outputs,) = run_program((out / "program.pte").read_bytes(), [(item,) for item in torch.from_numpy(items).split(1)])
    assert 1e-3 < np.abs(outputs).max() < 1e3
    assert np.ptp(outputs, axis=0).min() > 1e-6
