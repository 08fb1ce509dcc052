"""Ethos-U: Arm's NPUs for microcontrollers. Compiled by Vela, whose estimates are the figures; run on the NPU alone."""

from __future__ import annotations

import contextlib
import copy
import csv
import io
import tempfile
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.errors import StageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from kdbench.lowering.export import Inputs
    from kdbench.lowering.target import Lowered

_DUMP = "vela"
"""Where Vela leaves its figures, below a scratch folder. The program holds this name, so it is always the same."""

_KIB = 1024


@dataclass(frozen=True, slots=True)
class EthosU:
    """One NPU, by Vela's name for it; 8-bit integers by static post-training quantisation."""

    name: str
    precision: str = "int8"
    backend: str = "ethos-u"
    calibrates: bool = True
    stand_in: str = "Arm's reference model of TOSA"
    libraries: tuple[str, ...] = ("ethos-u-vela", "tosa-tools")
    tied: bool = False

    def missing(self) -> str:
        """Vela and the TOSA tools."""
        if find_spec("ethosu") and find_spec("tosa_serializer"):
            return ""
        return "it needs Arm's Vela and TOSA tools; python -m pip install 'kdbench[ethos-u]'"

    def missing_on(self, device: str) -> str:
        """The NPU."""
        return f"{device} has no Ethos-U: its programs run on that NPU"

    def lower(self, network: nn.Module, example: Inputs, calibration: Sequence[Inputs] = ()) -> Lowered:
        """The program of ``network``; see ``Target.lower``.

        Its estimates are Vela's, for the memory and clock that ExecuTorch takes for each NPU. Its reference runs what
        Vela compiled by Arm's reference model of TOSA, to the integer.

        Raises:
            StageError: also where the NPU cannot take the network in one piece.
        """
        from kdbench.lowering.export import Steps, calm, contiguous, delegated, integers, written
        from kdbench.lowering.quiet import quiet

        with quiet():
            from executorch.backends.arm.ethosu import EthosUCompileSpec, EthosUPartitioner
            from executorch.backends.arm.quantizer import EthosUQuantizer, get_symmetric_quantization_config

            from kdbench.lowering.tosa import Tosa

        steps = Steps(self.name)
        with tempfile.TemporaryDirectory(prefix="kdbench-ethos-u-") as scratch, contextlib.chdir(scratch), calm():
            spec = EthosUCompileSpec(self.name).dump_intermediate_artifacts_to(_DUMP)
            quantizer = EthosUQuantizer(spec).set_global(get_symmetric_quantization_config())
            exported, graph = integers(steps, self, network, contiguous(example), quantizer, calibration)
            with contextlib.redirect_stdout(io.StringIO()):  # Vela tells its figures there too
                edge = delegated(steps, exported, [EthosUPartitioner(spec)])
            parts = sorted(Path(_DUMP).glob("*tag*.tosa"))
            if len(parts) != 1:
                raise StageError(f"{self.name}: the network falls into {len(parts)} parts for the NPU, expected 1")
            [figures] = Path(_DUMP, "output").glob("out_summary_*.csv")
            estimates = _estimates(figures.read_text(encoding="utf-8"))
            reference = Tosa(copy.deepcopy(edge.exported_program()), parts[0].read_bytes())
            lowered = written(steps, edge, graph, self.precision)
        return replace(lowered, reference=reference, estimates=estimates)


def _estimates(table: str) -> Mapping[str, float]:
    """Vela's figures, a table of one row, by metric id."""
    [row] = csv.DictReader(table.splitlines())
    return {
        "npu_cycles": float(row["cycles_total"]),
        "npu_ms": 1000 * float(row["inference_time"]),
        "npu_sram_bytes": _KIB * float(row["sram_memory_used"]),
        "npu_flash_bytes": _KIB * (float(row["on_chip_flash_memory_used"]) + float(row["off_chip_flash_memory_used"])),
    }


U55_128 = EthosU("ethos-u55-128")
"""Ethos-U55 with 128 MACs a cycle, in 8-bit integers: an NPU beside a microcontroller."""

U85_256 = EthosU("ethos-u85-256")
"""Ethos-U85 with 256 MACs a cycle, in 8-bit integers: a larger NPU beside a microcontroller."""
