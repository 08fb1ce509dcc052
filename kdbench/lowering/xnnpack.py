"""XNNPACK: the CPU backend of most phones. Programs that run whole in its delegate, as floats or as small integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from kdbench.lowering.export import Inputs
    from kdbench.lowering.target import Lowered


@dataclass(frozen=True, slots=True)
class Xnnpack:
    """XNNPACK at one precision.

    ``fp32``; ``fp16`` and ``bf16``, 16-bit floats between casts (the latter for linear layers alone); ``int8``, static
    post-training quantisation of weights, by channel, and activations; and three for linear layers alone, whose
    activations are quantised as they come: ``int8-dynamic`` by PT2E, ``int8da8w`` and ``int8da4w`` by torchao, with
    weights of 8 bits by channel, or of 4 bits by groups of 32.
    """

    name: str
    precision: str
    backend: str = "xnnpack"
    stand_in: str = ""
    libraries: tuple[str, ...] = ()
    tied: bool = False

    @property
    def calibrates(self) -> bool:
        """Whether calibration inputs decide the program."""
        return self.precision == "int8"

    def missing(self) -> str:
        """Nothing: ExecuTorch's wheel brings XNNPACK."""
        return ""

    def missing_on(self, device: str) -> str:
        """Nothing: every device's runtime is built with XNNPACK."""
        del device
        return ""

    def lower(self, network: nn.Module, example: Inputs, calibration: Sequence[Inputs] = ()) -> Lowered:
        """The program of ``network``; see ``Target.lower``."""
        from kdbench.lowering import xnnpack_precisions as at
        from kdbench.lowering.export import as_it_is, quantized

        partitioners = [at.partitioner(self.precision)]
        if self.precision in at.QUANTIZERS:
            quantizer = at.QUANTIZERS[self.precision]()
            return quantized(self, network, example, partitioners, quantizer, calibration)
        with at.prepared(network, self.precision) as ready:
            return as_it_is(self, ready, example, partitioners)


FP32 = Xnnpack("xnnpack-fp32", "fp32")
"""XNNPACK in 32-bit floats: the network as it was trained, on most phones' CPU."""

FP16 = Xnnpack("xnnpack-fp16", "fp16")
"""XNNPACK in 16-bit floats: weights of half the size. How fast they are is up to the CPU's instructions for them."""

BF16 = Xnnpack("xnnpack-bf16", "bf16")
"""XNNPACK in bfloat16, linear layers alone: weights of half the size."""

INT8 = Xnnpack("xnnpack-int8", "int8")
"""XNNPACK in 8-bit integers: static, one scale a channel, calibrated on training items."""

INT8_DYNAMIC = Xnnpack("xnnpack-int8-dynamic", "int8-dynamic")
"""XNNPACK's linear layers in 8-bit integers (PT2E), activations quantised as they come: no calibration."""

INT8DA8W = Xnnpack("xnnpack-int8da8w", "int8da8w")
"""XNNPACK's linear layers with 8-bit weights (torchao), activations quantised as they come: no calibration."""

INT8DA4W = Xnnpack("xnnpack-int8da4w", "int8da4w")
"""XNNPACK's linear layers with 4-bit weights in groups of 32 (torchao), 8-bit activations: no calibration."""
