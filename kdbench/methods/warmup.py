"""Warm-ups: a weight that grows over the first epochs."""

WARMUP = 20 / 240
"""The reference warm-up, 20 of 240 epochs, as a share of the training."""


def warmed(epoch: int, length: float) -> float:
    """The share of the full weight in an epoch (from 0) of a linear warm-up over ``length`` epochs."""
    return min((epoch + 1) / length, 1.0) if length > 0 else 1.0
