"""Augmentation of whole batches in memory by numbers that are drawn before, from a given generator and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def draw(names: Sequence[str], padding: int, count: int, generator: torch.Generator) -> list[Tensor]:
    """The numbers by which ``count`` items are augmented, on the generator's device: a tensor [count, ...] a name.

    ``crop``: where each item is cut out of its padded self, rows and columns from its upper left, int64 [count, 2];
    ``flip``: which items are mirrored, with probability 1/2, bool [count]. They depend on the names, the padding, the
    count and the generator alone.

    Raises:
        ValueError: an unknown name.
    """
    drawn = []
    for name in names:
        if name == "crop":
            shift = torch.randint(0, 2 * padding + 1, (2, count), generator=generator, device=generator.device)
            drawn.append(shift.T)
        elif name == "flip":
            drawn.append(torch.rand(count, generator=generator, device=generator.device) < 0.5)
        else:
            raise ValueError(f"unknown augmentation {name!r}; known: crop, flip")
    return drawn


def augment(inputs: Tensor, names: Sequence[str], padding: int, drawn: Sequence[Tensor]) -> Tensor:
    """A batch [B, C, H, W] of any type, with the named augmentations in their order; ``inputs`` stays as it is.

    ``crop``: each item padded with zeros by ``padding`` on every side and cut back to its size at a place of its own.
    ``flip``: items mirrored left to right. ``drawn``: what ``draw`` drew for these names, on the batch's device.
    """
    for name, numbers in zip(names, drawn, strict=True):
        inputs = _crop(inputs, padding, numbers) if name == "crop" else flipped(inputs, numbers)
    return inputs


def _crop(inputs: Tensor, padding: int, shift: Tensor) -> Tensor:
    batch, _, height, width = inputs.shape
    rows = shift[:, :1] + torch.arange(height, device=inputs.device)
    columns = shift[:, 1:] + torch.arange(width, device=inputs.device)
    padded = functional.pad(inputs, (padding,) * 4)
    items = torch.arange(batch, device=inputs.device)[:, None, None]
    # The three indices stand around the channels' slice, so the channels come last and are moved back.
    return padded[items, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def flipped(inputs: Tensor, mirror: Tensor) -> Tensor:
    """A batch [B, C, H, W] with the items mirrored that ``mirror`` [B], on the same device, says."""
    return torch.where(mirror[:, None, None, None], inputs.flip(-1), inputs)
