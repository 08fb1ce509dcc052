"""Few labels: the part of a training set whose labels are known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kdbench.data.dataset import Dataset, Split
from kdbench.errors import UsageError

if TYPE_CHECKING:
    import torch


def few(dataset: Dataset, labelled: int, order: torch.Generator) -> Dataset:
    """The data set with ``labelled`` training items of each class, in the training set's order.

    They are the first of each class in a random order: drawn from an equal generator, the 1 is among the 5.

    Raises:
        UsageError: a class has fewer items.
    """
    import torch

    targets = dataset.train.targets
    mixed = torch.randperm(len(targets), generator=order).numpy()
    chosen = []
    for label, name in enumerate(dataset.labels):
        found = mixed[targets[mixed] == label]
        if len(found) < labelled:
            raise UsageError(
                f"labelled = {labelled}: class {name!r} of {dataset.name} has {len(found)} training items; "
                "choose fewer, or 0 for all"
            )
        chosen.append(found[:labelled])
    kept = np.sort(np.concatenate(chosen))
    return replace(dataset, train=Split(dataset.train.inputs[kept], targets[kept]))
