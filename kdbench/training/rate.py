"""The learning rate over a training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kdbench.spec import Recipe

_RISE = 0.3
_START = 1 / 25
_END = 1e-4


def rate(recipe: Recipe, done: float, step: float) -> float:
    """The learning rate of a step of ``step`` epochs after ``done`` epochs of the recipe's.

    First ``warmup_epochs`` of linear growth; then, over the rest, ``cosine`` falls to 0 (Loshchilov and Hutter 2017,
    equation 5, without restarts), ``onecycle`` rises from lr / 25 over 30 % and falls to lr / 250,000, both along
    cosines (Smith and Topin 2018, with the constants of torch's ``OneCycleLR`` and constant momentum). ``multistep``
    multiplies by ``gamma`` at each milestone, counted from the first epoch.
    """
    warmup = min(recipe.warmup_epochs, recipe.epochs)
    if done < warmup:
        return recipe.lr * min((done + step) / warmup, 1.0)
    if recipe.schedule == "multistep":
        # A step may start a rounding error before its milestone when a phase is stretched.
        return recipe.lr * recipe.gamma ** sum(milestone <= done + step / 2 for milestone in recipe.milestones)
    share = (done - warmup) / (recipe.epochs - warmup)
    if recipe.schedule == "cosine":
        return _between(recipe.lr, 0.0, share)
    if share < _RISE:
        return _between(recipe.lr * _START, recipe.lr, share / _RISE)
    return _between(recipe.lr, recipe.lr * _START * _END, (share - _RISE) / (1 - _RISE))


def _between(start: float, end: float, share: float) -> float:
    """From ``start`` to ``end`` along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
