"""Quantisation-aware training: a student that learns while its numbers are rounded as 8-bit integers would be.

Jacob et al. 2018 (section 3): in the forward pass weights and activations are rounded to the grid that an integer
program will have, in the backward pass the rounding is left out (the straight-through estimator of Bengio et al. 2013).

Weights: symmetric, one scale a channel, which a batch norm behind the layer scales with, so that folding it changes
nothing. Activations: what enters each convolution and linear layer, and what its classifier says; affine, one
scale a tensor, whose range is a moving average over batches. What is added or pooled in between is rounded where it
enters the next layer.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from kdbench.models.network import classifier

if TYPE_CHECKING:
    from collections.abc import Iterator

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear)
_LOW, _HIGH = -128, 127
_MOMENTUM = 0.01
"""The weight of a batch in the moving average of a range, as in PyTorch's observers."""

_TINY = torch.finfo(torch.float32).tiny


@contextmanager
def rounded(network: nn.Module) -> Iterator[None]:
    """Inside the block the network computes with weights and activations rounded to 8-bit integers' grids.

    Of a method that ships more than the student the student's own layers alone are rounded. Its parameters stay floats,
    are the same objects and go on learning; afterwards nothing is left of the rounding. In eval mode the ranges stay as
    they are.
    """
    layers = [module for module in network.modules() if isinstance(module, _LAYERS)]
    with ExitStack() as undo:
        for layer in layers:
            undo.callback(_ordered, layer, list(layer._parameters))  # noqa: SLF001 - nothing else keeps their order
            parametrize.register_parametrization(layer, "weight", _Weights())
            undo.callback(parametrize.remove_parametrizations, layer, "weight", leave_parametrized=False)
            undo.callback(layer.register_forward_pre_hook(_Activations().enter).remove)
        last = network.get_submodule(classifier(network))
        undo.callback(last.register_forward_hook(_Activations().leave).remove)
        yield


def _ordered(layer: nn.Module, names: list[str]) -> None:
    """Put a layer's parameters back into their order, which decides that of the network's."""
    for name in names:
        layer.register_parameter(name, layer._parameters.pop(name))  # noqa: SLF001


class _Weights(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        """A weight [C, ...] rounded to 255 steps a channel."""
        largest = weight.detach().abs().flatten(1).amax(1)
        scale = (largest / _HIGH).clamp_min(_TINY)
        zero = torch.zeros_like(scale)  # whole numbers would be looked at, for which a GPU is waited for
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -_HIGH, _HIGH)


class _Activations:
    """One place's range, a moving average that holds zero, and the rounding to 256 steps of it."""

    def __init__(self) -> None:
        self._range: Tensor | None = None

    def enter(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self._rounded(inputs[0], learns=layer.training), *inputs[1:])

    def leave(self, network: nn.Module, _inputs: Any, outputs: Tensor) -> Tensor:
        return self._rounded(outputs, learns=network.training)

    def _rounded(self, values: Tensor, *, learns: bool) -> Tensor:
        if learns or self._range is None:
            seen = torch.stack(values.detach().float().aminmax())
            self._range = seen if self._range is None else torch.lerp(self._range, seen, _MOMENTUM)
        low, high = self._range.clamp(max=0)[0], self._range.clamp(min=0)[1]
        scale = ((high - low) / (_HIGH - _LOW)).clamp_min(_TINY)
        zero = (_LOW - low / scale).round().clamp(_LOW, _HIGH).to(torch.int32)
        return torch.fake_quantize_per_tensor_affine(values.float(), scale, zero, _LOW, _HIGH).to(values.dtype)
