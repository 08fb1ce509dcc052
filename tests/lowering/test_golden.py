"""Programs byte by byte: golden hashes where processor and libraries have some, a second lowering elsewhere.

``python tests/lowering/test_golden.py`` writes those of this machine, after raising VERSION in kdbench/lowering/stage.py.
"""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from kdbench.lowering import portable, stage, xnnpack
from kdbench.models.network import build
from kdbench.training.processor import processor

GOLDEN = Path(__file__).parent.parent / "golden" / "programs.json"
TARGETS = (portable.FP32, xnnpack.FP32, xnnpack.FP16, xnnpack.INT8)


def name():
    return " ".join([processor(), *(f"{library} {version(library)}" for library in stage.LIBRARIES)])


def network():
    """A small student whose weights follow from their places, not from a random stream."""
    made = build("dscnn", 10, (1, 8, 8), {"width": 4}).eval()
    with torch.no_grad():
        for place, parameter in enumerate(made.parameters()):
            parameter.copy_(torch.from_numpy(numbers(parameter.shape, place)))
    return made


def numbers(shape, place):
    return np.sin(np.arange(np.prod(shape)) + place).reshape(tuple(shape)).astype(np.float32)


def hashes():
    calibration = [(torch.from_numpy(numbers((1, 1, 8, 8), item)),) for item in range(32)]
    made = {target.name: target.lower(network(), calibration[0], calibration).buffer for target in TARGETS}
    return {target: hashlib.sha256(buffer).hexdigest() for target, buffer in made.items()}


def test_programs_are_the_golden_ones_or_at_least_the_same_twice():
    found = hashes()
    golden = json.loads(GOLDEN.read_text()).get(name())
    if golden is None:
        golden = {"version": stage.VERSION, "hashes": hashes()}
    assert golden["version"] == stage.VERSION, "VERSION was raised: run tests/lowering/test_golden.py"
    assert golden["hashes"].items() <= found.items(), (
        "bytes have changed: raise VERSION in kdbench/lowering/stage.py, then run this file"
    )
    assert len(set(found.values())) == len(TARGETS)


if __name__ == "__main__":
    known = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    known[name()] = {"version": stage.VERSION, "hashes": hashes()}
    GOLDEN.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
