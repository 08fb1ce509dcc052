"""Vulkan: the GPU of Android phones. Lowered, sized and checked for delegation here; run on a phone."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from kdbench.lowering.export import Inputs
    from kdbench.lowering.target import Lowered


@dataclass(frozen=True, slots=True)
class Vulkan:
    """Vulkan at one precision: ``fp32``, or ``fp16``, where the backend halves every float by itself."""

    name: str
    precision: str
    backend: str = "vulkan"
    calibrates: bool = False
    stand_in: str = ""
    libraries: tuple[str, ...] = ()
    tied: bool = False

    def missing(self) -> str:
        """Nothing: ExecuTorch's wheel brings the shaders."""
        return ""

    def missing_on(self, device: str) -> str:
        """A runtime with the Vulkan backend, which ExecuTorch's wheel for this machine does not bring."""
        return f"{device} has no Vulkan backend: ExecuTorch's wheel brings none, an Android build of it does"

    def lower(self, network: nn.Module, example: Inputs, calibration: Sequence[Inputs] = ()) -> Lowered:
        """The program of ``network``; see ``Target.lower``. Calibration inputs are not looked at."""
        from kdbench.lowering.export import as_it_is
        from kdbench.lowering.quiet import quiet

        del calibration
        root = logging.getLogger()
        level = root.level
        with quiet():
            from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanPartitioner
        root.setLevel(level)  # importing it lets the whole process log at INFO
        options = {"force_fp16": True} if self.precision == "fp16" else {}
        return as_it_is(self, network, example, [VulkanPartitioner(options)])


FP32 = Vulkan("vulkan-fp32", "fp32")
"""Vulkan in 32-bit floats, for the GPU of Android phones."""

FP16 = Vulkan("vulkan-fp16", "fp16")
"""Vulkan in 16-bit floats, for the GPU of Android phones: weights of half the size."""
