"""What came of a training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(slots=True)
class Trained:
    """The network that ships, in eval mode on the CPU, and how its training went.

    ``curves[name]`` are pairs (epoch from 1, value): each loss term with its weight, the mean over the epoch's items;
    the learning rate of the epoch's first step; the quality on the validation split. ``seconds`` leaves validation out.
    ``items`` counts what the student learnt from, in ``student_steps`` of the ``steps``; forwards and backwards count
    the items of all views. ``own_forwards`` are those of the method's own whole networks (peers, assistants), whose
    backwards are among ``backwards``; adapters are no whole networks.
    """

    network: nn.Module
    extra_params: int = 0
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    epochs: int = 0
    steps: int = 0
    student_steps: int = 0
    items: int = 0
    seconds: float = 0.0
    student_forwards: int = 0
    teacher_forwards: int = 0
    own_forwards: int = 0
    backwards: int = 0

    def note(self, name: str, value: float) -> None:
        """Add a point to a curve, at the epoch that has just ended."""
        self.curves.setdefault(name, []).append((self.epochs, value))

    def count(self, items: int, seen: int, *, student: bool) -> None:
        """Count a step on ``items`` items, of which the student, if it learns, saw ``seen`` views."""
        self.steps += 1
        if student:
            self.student_steps += 1
            self.items += items
            self.student_forwards += seen
            self.backwards += seen
