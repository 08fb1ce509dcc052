"""The distillation loop that textbooks and most papers' code show, for ``training.py`` to be measured against.

A DataLoader with two worker processes, images decoded and augmented one by one with Pillow (crop with four pixels of
padding, mirror), float32, torch's own number of threads, the teacher run in every step, one student a run.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

BATCH = 64
PADDING = 4


class Pictures(Dataset):
    """Grey images [N, 1, H, W] uint8 as Pillow's, each augmented and made a normalised tensor when it is asked for."""

    def __init__(
        self, inputs: np.ndarray, targets: np.ndarray, mean: float, std: float, scale: float, augment: bool
    ) -> None:
        self.images = [Image.fromarray(item[0]) for item in inputs]
        self.targets, self.mean, self.std, self.scale, self.augment = targets, mean, std, scale, augment

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.images[index]
        if self.augment:
            width, height = image.size
            padded = ImageOps.expand(image, PADDING)
            left, top = random.randint(0, 2 * PADDING), random.randint(0, 2 * PADDING)
            image = padded.crop((left, top, left + width, top + height))
            if random.random() < 0.5:
                image = ImageOps.mirror(image)
        tensor = torch.from_numpy(np.asarray(image, dtype=np.float32)[None].copy())
        return (tensor / self.scale - self.mean) / self.std, int(self.targets[index])


def steps(
    student: nn.Module, teacher: nn.Module | None, pictures: Pictures, epochs: int, lr: float, temperature: float = 4.0
) -> Iterator[float]:
    """Train for so many epochs; the wall time at the end of every step."""
    loader = DataLoader(pictures, BATCH, shuffle=True, num_workers=2, drop_last=False)
    optimizer = torch.optim.SGD(student.parameters(), lr, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, epochs * len(loader), base_momentum=0.9, max_momentum=0.9, div_factor=25, final_div_factor=1e4
    )
    student.train()
    if teacher is not None:
        teacher.eval()
    for _ in range(epochs):
        for inputs, targets in loader:
            outputs = student(inputs)
            loss = functional.cross_entropy(outputs, targets)
            if teacher is not None:
                with torch.no_grad():
                    taught = teacher(inputs)
                soft = functional.kl_div(
                    functional.log_softmax(outputs / temperature, 1),
                    functional.softmax(taught / temperature, 1),
                    reduction="batchmean",
                )
                loss = 0.1 * loss + 0.9 * temperature**2 * soft
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            loss.item()  # as loops do that show it
            yield time.perf_counter()
