"""The stage that judges a network as it was trained: its outputs on the test set, before any lowering."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from kdbench.catalog import load
from kdbench.training.loop import outputs_of
from kdbench.training.network import dataset_of, restore
from kdbench.training.processor import pinned

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kdbench.stage import Tell
    from kdbench.store import Artefact

VERSION = 1
LIBRARIES = ("torch",)
CONTENT = ("outputs.npy", "targets.npy")


def run(spec: Mapping[str, Any], inputs: Mapping[str, Artefact], out: Path, tell: Tell) -> None:
    """Write ``outputs.npy``, float32 [N, K], and ``targets.npy``, int64 [N], of the test split in its order.

    ``spec`` has task and data; ``inputs`` has ``network``. Always on one thread of the CPU, in float32.

    Raises:
        StageError: the network cannot be restored, or the data set has changed.
    """
    dataset = dataset_of(spec["data"])
    task = load("tasks", spec["task"])()
    network = restore(inputs["network"])
    with pinned(torch.device("cpu"), 1):
        outputs = outputs_of(network, task.collate(dataset, torch.from_numpy(dataset.test.inputs)))
    np.save(out / "outputs.npy", outputs.numpy(), allow_pickle=False)
    np.save(out / "targets.npy", dataset.test.targets, allow_pickle=False)
    tell(1.0, f"{len(outputs)} items")
