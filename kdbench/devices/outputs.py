"""The stage that judges a program: its outputs on the whole test set, on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.catalog import load
from kdbench.data.named import planned
from kdbench.devices.device import device_named
from kdbench.devices.job import PROGRAM, Predict, Program, alone
from kdbench.errors import StageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kdbench.stage import Tell
    from kdbench.store import Artefact

VERSION = 1
LIBRARIES = ("executorch",)
CONTENT = ("outputs.npy",)

_SECONDS = 3600


def run(spec: Mapping[str, Any], inputs: Mapping[str, Artefact], out: Path, tell: Tell) -> None:
    """Write ``outputs.npy``: float32 [N, K], the program's first output for each item of the test split, in its order.

    ``spec``: ``device``, ``runtime`` (what the key was made for), ``task``, ``data`` {name, sha256}.

    Raises:
        StageError: the program crashed, timed out or refuses the items; the device or the data is not the planned one.
    """
    import torch

    device = device_named(spec["device"])
    if device.runtime != spec["runtime"]:
        raise StageError(f"device {device.name} runs {device.runtime!r}, planned was {spec['runtime']!r}; run it again")
    dataset = planned(spec["data"])
    items = load("tasks", spec["task"])().collate(dataset, torch.from_numpy(dataset.test.inputs)).numpy()
    tell(0.0, f"{len(items)} items")
    program = Program(PROGRAM, inputs["program"].path("program.pte"))
    job = alone(program, (np.ascontiguousarray(items[:, None]),), Predict(PROGRAM, PROGRAM), timeout_s=_SECONDS)
    outputs = device.run(job).outputs[PROGRAM][0]
    np.save(out / "outputs.npy", outputs.reshape(len(items), -1).astype(np.float32), allow_pickle=False)
