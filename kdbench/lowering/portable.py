"""ExecuTorch's portable kernels: plain C++ that runs anywhere, some hundred times slower than a tuned backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from kdbench.lowering.export import Inputs
    from kdbench.lowering.target import Lowered


@dataclass(frozen=True, slots=True)
class Portable:
    """The portable kernels at one precision; nothing is delegated."""

    name: str
    precision: str
    backend: str = "portable"
    calibrates: bool = False
    stand_in: str = ""
    libraries: tuple[str, ...] = ()
    tied: bool = False

    def missing(self) -> str:
        """Nothing: every ExecuTorch runtime has them."""
        return ""

    def missing_on(self, device: str) -> str:
        """Nothing, on any device."""
        del device
        return ""

    def lower(self, network: nn.Module, example: Inputs, calibration: Sequence[Inputs] = ()) -> Lowered:
        """The program of ``network``; see ``Target.lower``. Calibration inputs are not looked at."""
        from kdbench.lowering.export import as_it_is

        del calibration
        return as_it_is(self, network, example, [])


FP32 = Portable("portable-fp32", "fp32")
"""ExecuTorch's portable kernels in 32-bit floats: runs on anything, slowly."""
