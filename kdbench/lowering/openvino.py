"""OpenVINO: Intel's processors, those of laptops and industrial boards. Programs for the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from kdbench.lowering.export import Inputs
    from kdbench.lowering.target import Lowered


@dataclass(frozen=True, slots=True)
class OpenVino:
    """OpenVINO's plug-in for CPUs at one precision: ``fp32-bf16`` or, by static post-training quantisation, ``int8``.

    The former stores 32-bit floats and computes in bfloat16 where the CPU can, which nothing here can forbid. A program
    holds what OpenVINO compiled for this CPU: neither the same bytes twice nor for other machines. OpenVINO decides by
    itself how many threads it runs on.
    """

    name: str
    precision: str
    backend: str = "openvino"
    stand_in: str = ""
    libraries: tuple[str, ...] = ("openvino", "nncf")
    tied: bool = True

    @property
    def calibrates(self) -> bool:
        """Whether calibration inputs decide the program."""
        return self.precision == "int8"

    def missing(self) -> str:
        """OpenVINO and NNCF, whose quantiser ExecuTorch's backend imports for every precision."""
        if find_spec("openvino") and find_spec("nncf"):
            return ""
        return "it needs OpenVINO and NNCF; python -m pip install 'kdbench[openvino]'"

    def missing_on(self, device: str) -> str:
        """OpenVINO's library, which the runtime loads when it meets such a program; the host has what is installed."""
        return "" if device == "host" else f"{device} has no OpenVINO: its programs run where they were compiled"

    def lower(self, network: nn.Module, example: Inputs, calibration: Sequence[Inputs] = ()) -> Lowered:
        """The program of ``network``; see ``Target.lower``."""
        from kdbench.lowering.export import Steps, as_it_is, calm, contiguous, finish, integers
        from kdbench.lowering.quiet import quiet

        with quiet():
            from executorch.backends.openvino.partitioner import OpenvinoPartitioner
            from executorch.backends.openvino.quantizer.quantizer import OpenVINOQuantizer, QuantizationMode
            from executorch.exir.backend.backend_details import CompileSpec

        partitioners = [OpenvinoPartitioner([CompileSpec("device", b"CPU")])]
        if not self.calibrates:
            return as_it_is(self, network, example, partitioners)
        steps, quantizer = Steps(self.name), OpenVINOQuantizer(mode=QuantizationMode.INT8_SYM)
        with calm():
            # OpenVINO makes the integers itself, from the scales.
            exported, graph = integers(steps, self, network, contiguous(example), quantizer, calibration, fold=False)
            return finish(steps, exported, graph, partitioners, self.precision)


FP32 = OpenVino("openvino-fp32", "fp32-bf16")
"""OpenVINO for CPUs: 32-bit floats, computed in bfloat16 where the CPU can."""

INT8 = OpenVino("openvino-int8", "int8")
"""OpenVINO for CPUs in 8-bit integers: static, calibrated on training items."""
