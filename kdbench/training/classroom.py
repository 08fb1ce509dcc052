"""The classroom: what students share that are trained side by side."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from kdbench.training.clock import Clock
from kdbench.training.feed import Feed, Items
from kdbench.training.forward import Teacher

if TYPE_CHECKING:
    import torch

    from kdbench.methods.method import Batch
    from kdbench.training.lesson import Lesson


class Classroom:
    """The items of a lesson, its batches and its teacher, for any number of students of one seed and recipe.

    Each batch is made once and the teacher runs once for it, as long as nobody is a step ahead of the others
    (``kdbench.party.in_step``). What a student learns does not depend on who else is there.
    """

    def __init__(self, lesson: Lesson, device: torch.device) -> None:
        self.device = device
        self._hooks = ExitStack()
        self._clock = Clock(device)
        with self._clock.running():
            self.items = Items.of(lesson, device)
        self._feed = Feed(lesson, self.items)
        self.teacher: Teacher | None = None
        if lesson.teacher is not None:
            self.teacher = self._hooks.enter_context(Teacher(lesson.teacher, lesson.recipe.precision, device))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hooks.close()

    def batch(self, place: int) -> Batch:
        """The batch at a place, which everybody sees: made by the first who asks."""
        with self._clock.running():
            return self._feed.batch(place)

    def seconds(self) -> float:
        """The device's time for the batches so far, in s."""
        return self._clock.seconds()
