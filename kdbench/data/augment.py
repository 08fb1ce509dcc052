"""Augmentation of whole batches in memory, drawn from a given generator and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def augment(inputs: Tensor, names: Sequence[str], padding: int, generator: torch.Generator) -> Tensor:
    """A batch [B, C, H, W] of any type, with the named augmentations in their order; ``inputs`` stays as it is.

    ``crop``: each item padded with zeros by ``padding`` on every side and cut back to its size at a place of its own.
    ``flip``: each item mirrored left to right with probability 1/2. The numbers drawn depend on the names, B and the
    generator alone: the generator's device may differ from the batch's.

    Raises:
        ValueError: an unknown name.
    """
    for name in names:
        if name == "crop":
            inputs = _crop(inputs, padding, generator)
        elif name == "flip":
            inputs = _flip(inputs, generator)
        else:
            raise ValueError(f"unknown augmentation {name!r}; known: crop, flip")
    return inputs


def _crop(inputs: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    batch, _, height, width = inputs.shape
    shift = torch.randint(0, 2 * padding + 1, (2, batch), generator=generator, device=generator.device)
    shift = sent(shift, inputs.device)
    rows = shift[0, :, None] + torch.arange(height, device=inputs.device)
    columns = shift[1, :, None] + torch.arange(width, device=inputs.device)
    padded = functional.pad(inputs, (padding,) * 4)
    items = torch.arange(batch, device=inputs.device)[:, None, None]
    # The three indices stand around the channels' slice, so the channels come last and are moved back.
    return padded[items, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def sent(drawn: Tensor, device: torch.device) -> Tensor:
    """What was drawn, on the device; from the host to a GPU without waiting for what that has still to do."""
    if drawn.device.type == "cpu" and device.type == "cuda":
        return drawn.pin_memory().to(device, non_blocking=True)
    return drawn.to(device)


def _flip(inputs: Tensor, generator: torch.Generator) -> Tensor:
    return flipped(inputs, sent(heads(len(inputs), generator), inputs.device))


def heads(count: int, generator: torch.Generator) -> Tensor:
    """Which of so many items ``flip`` mirrors: bool [count]."""
    return torch.rand(count, generator=generator, device=generator.device) < 0.5


def flipped(inputs: Tensor, mirror: Tensor) -> Tensor:
    """A batch [B, C, H, W] with the items mirrored that ``mirror`` [B], on the same device, says."""
    return torch.where(mirror[:, None, None, None], inputs.flip(-1), inputs)
