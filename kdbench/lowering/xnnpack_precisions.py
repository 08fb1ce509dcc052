"""XNNPACK's precisions: what each makes of a network before it is exported, or of its graph after."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from kdbench.lowering.export import refuse_training
from kdbench.lowering.half import Halved, half_convolutions
from kdbench.lowering.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

with quiet():
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.granularity import Granularity, PerAxis, PerGroup
    from torchao.quantization.quant_api import Int8DynamicActivationIntxWeightConfig, quantize_

GROUP = 32
"""Weights of 4 bits that share a scale."""

_WEIGHTS: dict[str, tuple[torch.dtype, Granularity]] = {
    "int8da8w": (torch.int8, PerAxis(0)),
    "int8da4w": (torch.int4, PerGroup(GROUP)),  # type: ignore[attr-defined]
}


class _StaticQuantizer(XNNPACKQuantizer):  # type: ignore[misc]
    """The quantiser without its patterns for training: a second less for each network, and the same bytes.

    Those four look for a batch norm behind a convolution, which post-training quantisation has folded by then; to look,
    each traces twelve small networks anew.
    """

    SUPPORTED_PATTERNS = tuple(pattern for pattern in XNNPACKQuantizer.SUPPORTED_PATTERNS if not pattern.is_qat)


def static_quantizer() -> XNNPACKQuantizer:
    """8-bit weights (symmetric, one scale a channel) and activations (one scale a tensor)."""
    return _StaticQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))


def dynamic_quantizer() -> XNNPACKQuantizer:
    """8-bit weights of linear layers (symmetric, one scale a channel), activations quantised in every inference."""
    return _StaticQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True))


QUANTIZERS: dict[str, Callable[[], XNNPACKQuantizer]] = {
    "int8": static_quantizer,
    "int8-dynamic": dynamic_quantizer,
}
"""The quantiser of each precision that quantises an exported graph (PT2E)."""


def partitioner(precision: str) -> Any:
    """What gives a graph to XNNPACK. bfloat16 is asked for: without that it would run, slowly, in portable kernels."""
    return XnnpackPartitioner(enable_bf16=True) if precision == "bf16" else XnnpackPartitioner()


@contextmanager
def prepared(network: nn.Module, precision: str) -> Iterator[nn.Module]:
    """What to export of a network that its precision changes before; the network itself is left as it was.

    Raises:
        UsageError: it is in training mode.
    """
    if precision == "fp16":
        with half_convolutions():
            yield Halved(network, torch.float16)
    elif precision == "bf16":
        yield Halved(network, torch.bfloat16)
    elif precision in _WEIGHTS:
        yield _linear_quantized(network, *_WEIGHTS[precision])
    else:
        yield network


def _linear_quantized(network: nn.Module, dtype: torch.dtype, granularity: Granularity) -> nn.Module:
    """A copy whose linear layers have integer weights, but those whose inputs are no whole number of groups."""
    refuse_training(network)
    changed = copy.deepcopy(network)
    config = Int8DynamicActivationIntxWeightConfig(weight_dtype=dtype, weight_granularity=granularity)
    group = granularity.group_size if isinstance(granularity, PerGroup) else 1
    quantize_(changed, config, lambda layer, _name: isinstance(layer, nn.Linear) and layer.in_features % group == 0)
    return changed
