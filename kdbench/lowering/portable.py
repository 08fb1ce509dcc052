"""ExecuTorch's portable kernels: plain C++ that runs anywhere, some hundred times slower than a tuned backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdbench.lowering.export import Inputs, Steps, calm, contiguous, export, finish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from kdbench.lowering.target import Lowered


@dataclass(frozen=True, slots=True)
class Portable:
    """The portable kernels at one precision; nothing is delegated."""

    name: str
    precision: str
    backend: str = "portable"
    calibrates: bool = False

    def missing(self) -> str:
        """Nothing: every ExecuTorch runtime has them."""
        return ""

    def lower(self, network: nn.Module, example: Inputs, calibration: Sequence[Inputs] = ()) -> Lowered:
        """The program of ``network``; see ``Target.lower``. Calibration inputs are not looked at."""
        del calibration
        steps = Steps(self.name)
        with calm():
            with steps("export"):
                exported = export(network, contiguous(example))
                graph = exported.module()
            return finish(steps, exported, graph, [], self.precision)


FP32 = Portable("portable-fp32", "fp32")
"""ExecuTorch's portable kernels in 32-bit floats: runs on anything, slowly."""
