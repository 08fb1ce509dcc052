"""Forwards: what student and teacher say of a batch, with the features that the method asked for."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from kdbench.methods.method import Method, Output
from kdbench.models.network import features
from kdbench.training.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kdbench.methods.method import Batch
    from kdbench.training.feed import Items
    from kdbench.training.lesson import Networks
    from kdbench.training.trained import Trained

REMEMBERED_BYTES = 2**28
"""The most that a teacher's outputs for a training set may take to be kept from one epoch to the next."""


def computing(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """A context in which networks on the device compute in the recipe's precision."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


@contextmanager
def looked_into(network: nn.Module, taps: Sequence[str], precision: str) -> Iterator[Callable[[Tensor], Output]]:
    """A function from inputs [B, ...] to the network's output in float32, computed in the recipe's precision."""
    with features(network, taps) as seen:

        def run(inputs: Tensor) -> Output:
            with computing(inputs.device, precision):
                logits = network(inputs)
            return Output(logits.float(), {name: seen[name].float() for name in taps})

        yield run


@contextmanager
def beside(own: nn.Module, device: torch.device, precision: str, trained: Trained) -> Iterator[None]:
    """Inside the block the method's own whole networks, those that name their stages, run as student and teacher do.

    They compute in the recipe's precision and say in float32 what they found; their passes are counted.
    """
    entered: list[AbstractContextManager[object]] = []

    def enter(_network: nn.Module, _inputs: tuple[Any, ...]) -> None:
        entered.append(computing(device, precision))
        entered[-1].__enter__()

    def leave(_network: nn.Module, _inputs: tuple[Any, ...], output: Tensor | None) -> Tensor | None:
        entered.pop().__exit__(None, None, None)
        if output is None:  # the forward broke off
            return None
        trained.own_forwards += len(output)
        if output.requires_grad:
            trained.backwards += len(output)
        return output.float()

    whole = [module for module in own.modules() if hasattr(module, "stages")]
    handles = [module.register_forward_pre_hook(enter) for module in whole]
    handles += [module.register_forward_hook(leave, always_call=True) for module in whole]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Teacher:
    """A teacher to whom several students may listen: it is run once for every batch that they see together.

    A context manager: whoever listens says so before the first forward. ``live`` and ``once`` count the device's time,
    ``places`` the batches that were run live.
    """

    def __init__(self, network: nn.Module, precision: str, device: torch.device) -> None:
        self.network = network
        self._precision = precision
        self._taps: dict[str, None] = {}
        self._kept: dict[str, None] = {}
        self._hooks = ExitStack()
        self._run: Callable[[Tensor], Output] | None = None
        self._place = -1
        self._said: Output
        self._known: Output | None = None
        self.live, self.once = Clock(device), Clock(device)
        self.places = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hooks.close()

    def listen(self, taps: Sequence[str], *, remember: bool) -> None:
        """Announce the stages that somebody will ask for; ``remember``: for all items together."""
        assert self._run is None, "the teacher has begun"
        self._taps |= dict.fromkeys(taps)
        if remember:
            self._kept |= dict.fromkeys(taps)

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Output:
        """What the teacher says of inputs, with every stage that anybody listens to."""
        if self._run is None:
            self._run = self._hooks.enter_context(looked_into(self.network, list(self._taps), self._precision))
        return self._run(inputs)

    def shared(self, place: int, inputs: Tensor) -> Output:
        """What it says of the batch at a place of the feed: found out by the first who asks."""
        if place != self._place:
            with self.live.running():
                self._place, self._said = place, self.forward(inputs)
            self.places += 1
        return self._said

    def remembered(self, items: Items) -> Output:
        """What it says of all views, in their order: found out by the first who asks."""
        if self._known is None:
            with self.once.running():
                parts = [self.forward(part) for part in items.parts()]
                kept = {name: torch.cat([part.features[name] for part in parts]) for name in self._kept}
                self._known = Output(torch.cat([part.logits for part in parts]), kept)
        return self._known


class Teaching:
    """What one student hears of the teacher, without gradient; its forwards are counted in ``trained`` as if alone.

    Where an item has few views (no more than ``epochs``, those that have a teacher, and the method leaves them alone)
    and the outputs for all of them take at most ``REMEMBERED_BYTES``, the teacher is run once over the views, in their
    order, and remembered. Whether it is follows from recipe, method, data and networks, and so do the bits.
    """

    def __init__(
        self, teacher: Teacher, items: Items, method: Method, networks: Networks, trained: Trained, epochs: int
    ) -> None:
        self._teacher, self._items, self._taps, self._trained = teacher, items, networks.teacher_taps, trained
        self._remembers = (
            0 < items.views <= epochs
            and type(method).view is Method.view
            and 4 * items.views * len(items.targets) * networks.teacher_width <= REMEMBERED_BYTES
        )
        self._known: Output | None = None
        self._heard = 0
        teacher.listen(self._taps, remember=self._remembers)

    def of(self, batch: Batch, place: int | None) -> Output:
        """The teacher's output for a batch: the feed's at a place, or another one."""
        if self._remembers:
            if self._known is None:
                self._known = self._teacher.remembered(self._items)
                self._trained.teacher_forwards += self._items.views * len(self._items.targets)
            known, at = self._known, batch.view
            return Output(known.logits[at], {name: known.features[name][at] for name in self._taps})
        self._trained.teacher_forwards += len(batch.inputs)
        if place is None:
            said = self._teacher.forward(batch.inputs)
        else:
            said = self._teacher.shared(place, batch.inputs)
            self._heard += 1
        return Output(said.logits, {name: said.features[name] for name in self._taps})

    def seconds(self) -> float:
        """The device's time for what was heard together, in s, as if this student had been alone.

        All places take as long: who heard some of them, since a phase of its method has no teacher, spent their share.
        """
        if self._known is not None:
            return self._teacher.once.seconds()
        return self._teacher.live.seconds() * self._heard / max(self._teacher.places, 1)
