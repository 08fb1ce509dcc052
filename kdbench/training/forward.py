"""Forwards: what student and teacher say of a batch, with the features that the method asked for."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from kdbench.methods.method import Method, Output
from kdbench.models.network import features

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kdbench.methods.method import Batch
    from kdbench.training.feed import Feed
    from kdbench.training.trained import Trained

REMEMBERED_BYTES = 2**28
"""The most that a teacher's outputs for a training set may take to be kept from one epoch to the next."""

_BATCH = 256


@contextmanager
def looked_into(network: nn.Module, taps: Sequence[str], precision: str) -> Iterator[Callable[[Tensor], Output]]:
    """A function from inputs [B, ...] to the network's output in float32, computed in the recipe's precision."""
    with features(network, taps) as seen:

        def run(inputs: Tensor) -> Output:
            with torch.autocast(inputs.device.type, torch.bfloat16) if precision == "bf16" else nullcontext():
                logits = network(inputs)
            return Output(logits.float(), {name: seen[name].float() for name in taps})

        yield run


@contextmanager
def counted(own: nn.Module, trained: Trained) -> Iterator[None]:
    """Inside the block the passes of the method's own whole networks, those that name their stages, are counted."""

    def count(_network: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> None:
        trained.own_forwards += len(output)
        if output.requires_grad:
            trained.backwards += len(output)

    handles = [module.register_forward_hook(count) for module in own.modules() if hasattr(module, "stages")]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Teaching:
    """What the teacher says of batches, without gradient; its forwards are counted in ``trained``.

    Where an item looks the same in every epoch (no augmentation, and the method leaves the view alone) and the outputs
    for all items take at most ``REMEMBERED_BYTES``, the teacher is run once over the training set, in the set's order,
    and remembered. Whether it is follows from recipe, method, data and networks, and so do the bits.
    """

    def __init__(self, run: Callable[[Tensor], Output], feed: Feed, method: Method, trained: Trained) -> None:
        self._run = run
        self._trained = trained
        self._known: Output | None = None
        if feed.steady and type(method).view is Method.view and self._bytes(feed) <= REMEMBERED_BYTES:
            self._known = self._all(feed)

    def __call__(self, batch: Batch) -> Output:
        """The teacher's output for a batch."""
        if self._known is None:
            return self._forward(batch.inputs)
        features = {name: known[batch.index] for name, known in self._known.features.items()}
        return Output(self._known.logits[batch.index], features)

    @torch.no_grad()
    def _forward(self, inputs: Tensor) -> Output:
        self._trained.teacher_forwards += len(inputs)
        return self._run(inputs)

    def _bytes(self, feed: Feed) -> int:
        with torch.no_grad():
            one = self._run(feed.inputs[:1])
        floats = one.logits.numel() + sum(feature.numel() for feature in one.features.values())
        return 4 * floats * len(feed.inputs)

    def _all(self, feed: Feed) -> Output:
        parts = [self._forward(part) for part in torch.split(feed.inputs, _BATCH)]
        names = parts[0].features
        features = {name: torch.cat([part.features[name] for part in parts]) for name in names}
        return Output(torch.cat([part.logits for part in parts]), features)
