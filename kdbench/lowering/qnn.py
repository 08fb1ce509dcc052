"""QNN: the NPU of Qualcomm's Snapdragons. Only where Qualcomm's SDK is installed; nothing is ever downloaded."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from kdbench.lowering.export import Inputs
    from kdbench.lowering.target import Lowered

_SDK = "QNN_SDK_ROOT"


@dataclass(frozen=True, slots=True)
class Qnn:
    """Qualcomm's AI Engine Direct on the NPU (HTP) of one ``chip``, at ``fp16`` or, statically quantised, ``int8``.

    ExecuTorch's backend downloads an SDK of its own accord where ``QNN_SDK_ROOT`` is not set, so it is not touched
    then. Lowering has not been tried: no SDK was at hand.
    """

    name: str
    precision: str
    chip: str = "SM8650"
    backend: str = "qnn"
    stand_in: str = ""
    libraries: tuple[str, ...] = ()
    tied: bool = False

    @property
    def calibrates(self) -> bool:
        """Whether calibration inputs decide the program."""
        return self.precision == "int8"

    def missing(self) -> str:
        """Qualcomm's SDK, where ``QNN_SDK_ROOT`` says that it is."""
        root = os.environ.get(_SDK, "")
        if not root:
            return f"it needs Qualcomm's AI Engine Direct SDK; install it and set {_SDK}"
        if not (Path(root) / "lib").is_dir():
            return f"{_SDK}={root} holds no SDK: it has no folder lib"
        return ""

    def missing_on(self, device: str) -> str:
        """The NPU."""
        return f"{device} has no Hexagon NPU: its programs run on Snapdragon phones"

    def lower(self, network: nn.Module, example: Inputs, calibration: Sequence[Inputs] = ()) -> Lowered:
        """The program of ``network``; see ``Target.lower``."""
        from kdbench.errors import StageError
        from kdbench.lowering.export import Steps, calm, contiguous, export, integers, written
        from kdbench.lowering.quiet import quiet

        if why := self.missing():
            raise StageError(f"cannot lower to {self.name}: {why}", status="not-applicable")
        with quiet():
            from executorch.backends.qualcomm.quantizer.quantizer import QnnQuantizer
            from executorch.backends.qualcomm.serialization.qc_schema import QcomChipset
            from executorch.backends.qualcomm.utils.utils import (
                generate_htp_compiler_spec,
                generate_qnn_executorch_compiler_spec,
                to_edge_transform_and_lower_to_qnn,
            )

        chip, steps, example = QcomChipset[self.chip], Steps(self.name), contiguous(example)
        npu = generate_htp_compiler_spec(use_fp16=not self.calibrates)
        specs = generate_qnn_executorch_compiler_spec(soc_model=chip, backend_options=npu)
        with calm():
            if self.calibrates:
                _, graph = integers(steps, self, network, example, QnnQuantizer(soc_model=chip), calibration)
            else:
                with steps("export"):
                    graph = export(network, example).module(check_guards=False)
            with steps("delegate"):
                edge = to_edge_transform_and_lower_to_qnn(graph, example, specs)
            return written(steps, edge, graph, self.precision)


FP16 = Qnn("qnn-fp16", "fp16")
"""The NPU of a Snapdragon 8 Gen 3 in 16-bit floats; wants Qualcomm's SDK."""

INT8 = Qnn("qnn-int8", "int8")
"""The NPU of a Snapdragon 8 Gen 3 in 8-bit integers, static; wants Qualcomm's SDK."""
