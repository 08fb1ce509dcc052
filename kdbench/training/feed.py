"""The feed: a data set's training items on the device, in batches as the networks see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from kdbench.data.augment import augment
from kdbench.methods.method import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kdbench.methods.method import Method, Phase
    from kdbench.training.lesson import Lesson


class Feed:
    """Batches in a fresh order each epoch. Order, augmentation and view draw from streams of their own.

    ``steady``: nothing is augmented, and ``inputs`` [N, ...] are all items as the networks see them; else as stored.

    Phases without the student have streams of their own too: a student sees the same items in the same order under
    every method, whatever a method trains before it.
    """

    def __init__(self, lesson: Lesson, method: Method, device: torch.device) -> None:
        self._lesson, self._method, self._device = lesson, method, device
        self._order = {True: lesson.stream("order"), False: lesson.stream("order without student")}
        self._draws = {True: lesson.stream("augment"), False: lesson.stream("augment without student")}
        self._view = lesson.stream("view")
        split, recipe = lesson.dataset.train, lesson.recipe
        self.inputs = torch.from_numpy(split.inputs).to(device)
        self.steady = not recipe.augment
        self._targets = torch.from_numpy(split.targets).to(device)
        if self.steady:
            # Once instead of in every batch: item by item, so the bits are the same.
            self.inputs = lesson.task.collate(lesson.dataset, self.inputs)
        count, size = len(split), recipe.batch_size
        self._bounds = [(start, min(start + size, count)) for start in range(0, count, size)]
        if count % size == 1 and count > 1:
            self._bounds.pop()

    def __len__(self) -> int:
        """Batches an epoch; the last may be smaller. One item alone, whose norms would be undefined, is left out."""
        return len(self._bounds)

    def epoch(self, phase: Phase) -> Iterator[tuple[Batch, int]]:
        """The batches of one epoch, each with the number of items in it (a view may hold several of each)."""
        order = torch.randperm(len(self._targets), generator=self._order[phase.student]).to(self._device)
        recipe = self._lesson.recipe
        for start, end in self._bounds:
            index = order[start:end]
            inputs = self.inputs[index]
            if not self.steady:
                # On stored items, before they are normalised: a crop's padding is black, as in the literature.
                inputs = augment(inputs, recipe.augment, recipe.crop_padding, self._draws[phase.student])
                inputs = self._lesson.task.collate(self._lesson.dataset, inputs)
            yield self._method.view(Batch(inputs, self._targets[index], index), self._view), end - start
