"""Lengths and directions of vectors, with finite gradients where a vector is zero, as a dead unit's are."""

from __future__ import annotations

import torch
from torch import Tensor

TINY = 1e-8
"""A vector shorter than this counts as zero: it has no direction, and no gradient flows through its length."""


def lengths(vectors: Tensor) -> Tensor:
    """The L2 norms [...] of vectors [..., D]."""
    squares, real = _squares(vectors)
    return squares.sqrt() * real


def directions(vectors: Tensor) -> Tensor:
    """Vectors [..., D] divided by their L2 norms; zero where a vector counts as zero."""
    squares, real = _squares(vectors)
    return torch.where(real[..., None], vectors, 0) / squares.sqrt()[..., None]


def _squares(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Of each vector: its squared norm, 1 in place of those that count as zero, and whether it does not."""
    squares = vectors.square().sum(dim=-1)
    real = squares > TINY**2
    return torch.where(real, squares, 1), real
