"""torchdistill 1.1.5's loop (Matsubara 2021), for ``training.py`` to be measured against, where it is installed.

It needs torchvision only to import. Beside a torch for the CPU alone torchvision's own operators cannot be loaded, so their
schemas are declared first::

    python -m pip install --no-deps torchvision==0.28.0 torchdistill==1.1.5
    python -m pip install cython pyyaml scipy pillow
"""

from __future__ import annotations

import importlib.util
import time
from typing import TYPE_CHECKING

import torch
from torch.utils.data import RandomSampler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from textbook import Pictures
    from torch import nn

BATCH = 64
SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float scale, int height, int width, int ratio, bool aligned) -> Tensor",
)
_OUTPUT = {"path": ".", "io": "output"}


def installed() -> bool:
    """Whether torchdistill and what it imports are here."""
    return all(importlib.util.find_spec(name) for name in ("torchdistill", "torchvision"))


def steps(student: nn.Module, teacher: nn.Module, pictures: Pictures, epochs: int, lr: float) -> Iterator[float]:
    """Distil by its KD for so many epochs; the wall time at the end of every step."""
    vision = torch.library.Library("torchvision", "FRAGMENT")
    for schema in SCHEMAS:
        vision.define(schema)
    from torchdistill.core.distillation import get_distillation_box

    ends = {f"{who}_module_{what}": value for who in ("student", "teacher") for what, value in _OUTPUT.items()}
    config = {
        "num_epochs": epochs,
        "train_data_loader": {
            "dataset_id": "train",
            "requires_supp": False,
            "sampler": {"class_or_func": RandomSampler},
            "collate_fn": None,
            "kwargs": {"batch_size": BATCH, "num_workers": 2},
        },
        "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only"},
        "optimizer": {"key": "SGD", "kwargs": {"lr": lr, "momentum": 0.9, "weight_decay": 5e-4}},
        "criterion": {
            "key": "WeightedSumLoss",
            "kwargs": {
                "sub_terms": {
                    "kd": {
                        "criterion": {
                            "key": "KDLoss",
                            "kwargs": {**ends, "temperature": 4.0, "alpha": 0.1},
                        },
                        "weight": 1.0,
                    }
                }
            },
        },
    }
    box = get_distillation_box(
        teacher.eval(), student, {"train": pictures}, config, torch.device("cpu"), None, False, 1.0
    )
    for epoch in range(epochs):
        box.pre_epoch_process(epoch=epoch)
        for inputs, targets in box.train_data_loader:
            loss = box.forward_process(inputs, targets, {})
            box.post_forward_process(loss=loss)
            loss.item()  # as its examples do that log it
            yield time.perf_counter()
