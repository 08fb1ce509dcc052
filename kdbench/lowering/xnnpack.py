"""XNNPACK: the CPU backend of most phones. Programs that run whole in its delegate, as floats or as 8-bit integers."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from kdbench.errors import UsageError
from kdbench.lowering.export import Inputs, Steps, calm, contiguous, export, finish
from kdbench.lowering.half import Halved, half_convolutions
from kdbench.lowering.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn
    from torch.fx import GraphModule

    from kdbench.lowering.target import Lowered

with quiet():
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

LEAST_CALIBRATION = 32
"""Fewer inputs than this leave observers with ranges that clip: 8 of them cost a small MLP a third of its output."""


class _StaticQuantizer(XNNPACKQuantizer):  # type: ignore[misc]
    """The quantiser without its patterns for training: a second less for each network, and the same bytes.

    Those four look for a batch norm behind a convolution, which post-training quantisation has folded by then; to look,
    each traces twelve small networks anew.
    """

    SUPPORTED_PATTERNS = tuple(pattern for pattern in XNNPACKQuantizer.SUPPORTED_PATTERNS if not pattern.is_qat)


@dataclass(frozen=True, slots=True)
class Xnnpack:
    """XNNPACK at one precision: ``fp32``, ``fp16``, or ``int8`` by static post-training quantisation."""

    name: str
    precision: str
    backend: str = "xnnpack"

    @property
    def calibrates(self) -> bool:
        """Whether calibration inputs decide the program."""
        return self.precision == "int8"

    def missing(self) -> str:
        """Nothing: ExecuTorch's wheel brings XNNPACK."""
        return ""

    def lower(self, network: nn.Module, example: Inputs, calibration: Sequence[Inputs] = ()) -> Lowered:
        """The program of ``network``; see ``Target.lower``."""
        steps = Steps(self.name)
        example = contiguous(example)
        half = self.precision == "fp16"
        with calm(), half_convolutions() if half else nullcontext():
            with steps("export"):
                exported = export(Halved(network) if half else network, example)
                graph = exported.module()
            if self.calibrates:
                with steps("quantize"):
                    graph = quantize(graph, calibration, self.name)
                with steps("export"):
                    exported = torch.export.export(graph, example)
            return finish(steps, exported, graph, [XnnpackPartitioner()], self.precision)


def quantize(graph: GraphModule, calibration: Sequence[Inputs], target: str) -> GraphModule:
    """The graph with 8-bit integer weights (symmetric, one scale a channel) and activations (one scale a tensor).

    PT2E static quantisation: ranges of activations are observed while ``calibration`` runs through the graph, one
    input after the other.

    Raises:
        UsageError: fewer than ``LEAST_CALIBRATION`` inputs.
    """
    if (found := len(calibration)) < LEAST_CALIBRATION:
        raise UsageError(f"{target}: found {found} calibration inputs, expected at least {LEAST_CALIBRATION}")
    quantizer = _StaticQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(graph, quantizer)
    for inputs in calibration:
        prepared(*contiguous(inputs))
    converted: GraphModule = convert_pt2e(prepared)
    return converted


FP32 = Xnnpack("xnnpack-fp32", "fp32")
"""XNNPACK in 32-bit floats: the network as it was trained, on most phones' CPU."""

FP16 = Xnnpack("xnnpack-fp16", "fp16")
"""XNNPACK in 16-bit floats: weights of half the size. How fast they are is up to the CPU's instructions for them."""

INT8 = Xnnpack("xnnpack-int8", "int8")
"""XNNPACK in 8-bit integers: static, one scale a channel, calibrated on training items."""
