"""The stage that turns a trained network into a program, proves it and writes down its facts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.catalog import load
from kdbench.data.named import planned
from kdbench.errors import StageError
from kdbench.lowering.target import LIBRARIES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from kdbench.data.dataset import Dataset, Split
    from kdbench.lowering.shipped import Shipped
    from kdbench.lowering.target import Target
    from kdbench.stage import Tell
    from kdbench.store import Artefact
    from kdbench.tasks.task import Task

VERSION = 1
CONTENT = ("program.pte",)

PARITY_ITEMS = 32
"""Validation items that a program is proved on."""

__all__ = ["CONTENT", "LIBRARIES", "VERSION", "calibration_items", "parity_items", "run", "write"]


def run(spec: Mapping[str, Any], inputs: Mapping[str, Artefact], out: Path, tell: Tell) -> None:
    """Write ``program.pte`` and ``program.json`` of the network in ``inputs["network"]`` into ``out``.

    ``spec``: ``target``, ``task``, ``data`` {name, sha256}, ``lowering`` (``kdbench.spec.Lowering``). The training
    split calibrates, the validation split proves; the test split is not looked at.

    Raises:
        StageError: ``not-applicable`` where this machine cannot lower to the target, ``parity-failed`` with figure and
            bound for a broken program, ``failed`` for anything else.
    """
    # Imported here, not above: a key needs this module's constants alone, and a warm store needs nothing else.
    from kdbench.lowering.shipped import ship
    from kdbench.training.network import restore

    target: Target = load("targets", spec["target"])
    if why := target.missing():
        raise StageError(f"cannot lower to {target.name}: {why}", status="not-applicable")
    dataset = planned(spec["data"])
    task: Task = load("tasks", spec["task"])()

    tell(0.0, "lower")
    network, calibration = restore(inputs["network"]), calibration_of(spec, target, dataset, task)
    shipped = ship(target, network, parity_items(dataset, task), calibration, task.predictions)
    write(shipped, out)
    tell(1.0, "lowered")


def write(shipped: Shipped, out: Path) -> None:
    """Put a program and its facts into a folder, as the store keeps them."""
    (out / "program.pte").write_bytes(shipped.program)
    (out / "program.json").write_text(json.dumps(shipped.facts, indent=1, sort_keys=True), encoding="utf-8")


def calibration_of(spec: Mapping[str, Any], target: Target, dataset: Dataset, task: Task) -> list[tuple[Tensor]]:
    """The calibration items that a stage's spec asks for; none where the target does not look at any."""
    wanted = spec["lowering"]
    if not target.calibrates:
        return []
    return calibration_items(dataset, task, wanted["calibration_items"], wanted["calibration_seed"])


def calibration_items(dataset: Dataset, task: Task, items: int, seed: int) -> list[tuple[Tensor]]:
    """``items`` training items (all, if there are fewer) in an order drawn from ``seed``, each a batch of one."""
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(dataset.train))[:items]
    return batches_of_one(dataset, task, dataset.train, order)


def parity_items(dataset: Dataset, task: Task, items: int = PARITY_ITEMS) -> list[tuple[Tensor]]:
    """``items`` validation items, spread evenly over the split, each a batch of one."""
    count = min(items, len(dataset.validation))
    return batches_of_one(dataset, task, dataset.validation, np.arange(count) * len(dataset.validation) // count)


def batches_of_one(dataset: Dataset, task: Task, split: Split, places: np.ndarray[Any, Any]) -> list[tuple[Tensor]]:
    """The items of a split at these places, each as the network takes it, a batch of one."""
    import torch

    inputs = task.collate(dataset, torch.from_numpy(np.ascontiguousarray(split.inputs[places])))
    return [(item,) for item in inputs.chunk(len(inputs))]
