"""The stage that judges a program which no device here can run: by what computes the same, on the whole test set."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.catalog import load
from kdbench.data.named import planned
from kdbench.errors import StageError
from kdbench.lowering.target import LIBRARIES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kdbench.lowering.target import Target
    from kdbench.stage import Tell
    from kdbench.store import Artefact

VERSION = 1
CONTENT = ("outputs.npy",)

_TOLD = 500
"""Items between two words on the progress."""

__all__ = ["CONTENT", "LIBRARIES", "VERSION", "run"]


def run(spec: Mapping[str, Any], inputs: Mapping[str, Artefact], out: Path, tell: Tell) -> None:
    """Write ``outputs.npy``: float32 [N, K], the reference's first output for each item of the test split, in order.

    ``spec`` is that of the program's own stage. The network is lowered once more, since a reference is no file, and the
    program must be the same one.

    Raises:
        StageError: the program came out otherwise, or the data set is not the planned one.
    """
    from kdbench.lowering.export import calm, leaves
    from kdbench.lowering.stage import batches_of_one, calibration_of, parity_items
    from kdbench.training.network import restore

    target: Target = load("targets", spec["target"])
    dataset, task = planned(spec["data"]), load("tasks", spec["task"])()
    tell(0.0, "lower")
    example = parity_items(dataset, task, 1)[0]
    lowered = target.lower(restore(inputs["network"]), example, calibration_of(spec, target, dataset, task))
    if hashlib.sha256(lowered.buffer).hexdigest() != inputs["program"].json("program.json")["sha256"]:
        raise StageError(f"{target.name}: lowering the network again gave another program")
    assert lowered.reference is not None, "a target that names a stand-in gives a reference"
    items = batches_of_one(dataset, task, dataset.test, np.arange(len(dataset.test)))
    rows = []
    with calm():
        for place, item in enumerate(items):
            rows.append(leaves(lowered.reference(*item))[0].numpy().reshape(-1))
            if place % _TOLD == 0:
                tell(place / len(items), f"{place} of {len(items)} items")
    np.save(out / "outputs.npy", np.stack(rows).astype(np.float32), allow_pickle=False)
