"""The feed: a data set's training items on the device, in batches as the networks see them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from kdbench.data.augment import augment, draw, flipped
from kdbench.methods.method import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from kdbench.training.lesson import Lesson

_VIEWS = {(): 1, ("flip",): 2}
"""How many views of an item an augmentation makes, where they are few."""

_PART = 256

ASIDE = " without student"
"""What the streams of phases without the student are called."""


@dataclass(frozen=True, slots=True)
class Items:
    """The training items on the device, and how many ``views`` of each there are: 1, 2 (mirrored), or 0 for many.

    Where there is one, ``inputs`` [N, ...] are as the networks see them; else as stored, [N, C, H, W] uint8.
    """

    inputs: Tensor
    targets: Tensor
    views: int
    collate: Callable[[Tensor], Tensor]

    @classmethod
    def of(cls, lesson: Lesson, device: torch.device) -> Items:
        """The items of a lesson."""
        split, views = lesson.dataset.train, _VIEWS.get(lesson.recipe.augment, 0)

        def collate(stored: Tensor) -> Tensor:
            return channels_last(lesson.task.collate(lesson.dataset, stored))

        inputs = torch.from_numpy(split.inputs).to(device)
        if views == 1:
            # Once instead of in every batch: item by item, so the bits are the same.
            inputs = collate(inputs)
        return cls(inputs, torch.from_numpy(split.targets).to(device), views, collate)

    def parts(self) -> Iterator[Tensor]:
        """All views as the networks see them, one after the other, each in the training set's order: [<= 256, ...]."""
        for view in range(self.views):
            for part in torch.split(self.inputs, _PART):
                yield part if self.views == 1 else self.collate(part.flip(-1) if view else part)


class Feed:
    """Batches in a fresh order each epoch. Order and augmentation draw from streams of their own.

    What decides an epoch is drawn on the host, batch by batch, and goes to the device in one go when the epoch begins:
    its steps find all they need there.

    Phases without the student have streams of their own too (``aside``): a student sees the same items in the same
    order under every method, whatever a method trains before it.
    """

    def __init__(self, lesson: Lesson, items: Items, aside: str = "") -> None:
        self._lesson, self._items = lesson, items
        self._order, self._draws = lesson.stream(f"order{aside}"), lesson.stream(f"augment{aside}")
        self._count = count = lesson.items or len(items.targets)
        size = lesson.recipe.batch_size
        self._bounds = [(start, min(start + size, count)) for start in range(0, count, size)]
        if count % size == 1 and count > 1:
            self._bounds.pop()
        self._place = -1
        self._epoch: Tensor
        self._drawn: list[Tensor]
        self._batch: Batch

    def __len__(self) -> int:
        """Batches an epoch; the last may be smaller. One item alone, whose norms would be undefined, is left out."""
        return len(self._bounds)

    def batch(self, place: int) -> Batch:
        """The batch at a place, counted from 0 over all epochs: the one that was asked for last, or the next."""
        if place != self._place:
            assert place == self._place + 1, "batches are made in their order"
            self._place, within = place, place % len(self)
            if within == 0:
                self._begin()
            self._batch = self._made(slice(*self._bounds[within]))
        return self._batch

    def _begin(self) -> None:
        recipe, device = self._lesson.recipe, self._items.targets.device
        self._epoch = self._permuted().to(device)
        batches = [draw(recipe.augment, recipe.crop_padding, stop - start, self._draws) for start, stop in self._bounds]
        self._drawn = [torch.cat(numbers).to(device) for numbers in zip(*batches, strict=True)]

    def _permuted(self) -> Tensor:
        """The items of an epoch: all in a new order, over and over where an epoch is longer than that."""
        known = len(self._items.targets)
        rounds = [torch.randperm(known, generator=self._order) for _ in range(math.ceil(self._count / known))]
        return torch.cat(rounds)[: self._count]

    def _made(self, within: slice) -> Batch:
        recipe, items, index = self._lesson.recipe, self._items, self._epoch[within]
        drawn = [numbers[within] for numbers in self._drawn]
        inputs, targets = items.inputs[index], items.targets[index]
        if items.views == 1:
            return Batch(inputs, targets, index, index)
        # On stored items, before they are normalised: a crop's padding is black, as in the literature.
        if items.views == 2:
            (mirror,) = drawn
            return Batch(items.collate(flipped(inputs, mirror)), targets, index, index + len(items.targets) * mirror)
        inputs = augment(inputs, recipe.augment, recipe.crop_padding, drawn)
        return Batch(items.collate(inputs), targets, index)


def channels_last(inputs: Tensor) -> Tensor:
    """Images [N, C, H, W] with the channels innermost in memory, as convolutions are fastest; all else as it is."""
    return inputs.contiguous(memory_format=torch.channels_last) if inputs.ndim == 4 else inputs
