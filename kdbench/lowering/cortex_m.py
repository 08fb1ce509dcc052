"""Cortex-M: Arm's microcontrollers, by the kernels of CMSIS-NN. Lowered, sized and, by stand-ins, judged here."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from kdbench.lowering.export import Inputs
    from kdbench.lowering.target import Lowered


@dataclass(frozen=True, slots=True)
class CortexM:
    """CMSIS-NN on one ``core``, 8-bit integers by static post-training quantisation; no delegate, a kernel an operator.

    The planned arena holds the activations and the kernels' scratch memory: all that a program works in. The program
    takes its input with the channels last.
    """

    name: str
    core: str
    precision: str = "int8"
    backend: str = "cortex-m"
    calibrates: bool = True
    stand_in: str = "ExecuTorch's reference operators for CMSIS-NN"
    libraries: tuple[str, ...] = ("tosa-tools",)
    tied: bool = False

    def missing(self) -> str:
        """The TOSA tools, which ExecuTorch's backends for Arm import."""
        if find_spec("tosa_serializer"):
            return ""
        return "it needs Arm's TOSA tools; python -m pip install 'kdbench[ethos-u]'"

    def missing_on(self, device: str) -> str:
        """A Cortex-M."""
        return f"{device} has no CMSIS-NN kernels: its programs run on a Cortex-M"

    def lower(self, network: nn.Module, example: Inputs, calibration: Sequence[Inputs] = ()) -> Lowered:
        """The program of ``network``; see ``Target.lower``.

        Its reference are ExecuTorch's own operators in Python, which compute what the kernels of CMSIS-NN compute.
        """
        import torch

        from kdbench.lowering.export import Steps, calm, integers
        from kdbench.lowering.quiet import quiet
        from kdbench.lowering.structure import structure_of
        from kdbench.lowering.target import Lowered

        with quiet():
            from executorch.backends.cortex_m.edge_compile_config import cortex_m_edge_compile_config
            from executorch.backends.cortex_m.passes.cortex_m_pass_manager import CortexMPassManager
            from executorch.backends.cortex_m.quantizer.quantizer import CortexMQuantizer
            from executorch.backends.cortex_m.target_config import CortexM as Core
            from executorch.backends.cortex_m.target_config import CortexMTargetConfig
            from executorch.exir import EdgeProgramManager, ExecutorchBackendConfig, to_edge

        def laid_out(values: Inputs) -> Inputs:
            # The kernels want channels last; a convolution that is laid out otherwise would be left to others.
            return tuple(_channels_last(value) for value in values)

        steps, config = Steps(self.name), cortex_m_edge_compile_config()
        with calm():
            shaped = copy.deepcopy(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            exported, graph = integers(steps, self, shaped, laid_out(example), CortexMQuantizer(), calibration)
            with steps("delegate"):
                edge = to_edge(exported, compile_config=config).exported_program()
                chosen = CortexMTargetConfig(cpu=Core[self.core])
                program = CortexMPassManager(edge, target_config=chosen).transform()
                structure = structure_of(program, self.name, self.precision)
                reference = copy.deepcopy(program).module()  # what follows rewrites the program in place
            with steps("write"):
                whole = EdgeProgramManager(program, compile_config=config)
                written = whole.to_executorch(ExecutorchBackendConfig(extract_delegate_segments=False))
                buffer = bytes(written.buffer)

        def run(*inputs: Tensor) -> Any:
            return reference(*laid_out(inputs))

        return Lowered(buffer, graph, structure, 0.0, dict(steps.seconds), reference=run)


def _channels_last(value: Tensor) -> Tensor:
    import torch

    value = value.detach().contiguous()
    return value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value


M55 = CortexM("cortex-m", "M55")
"""CMSIS-NN on a Cortex-M55, in 8-bit integers: a microcontroller without an NPU."""
