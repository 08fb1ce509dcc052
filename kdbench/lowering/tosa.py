"""TOSA: a delegated graph run on this machine by Arm's reference model, to the integer what an NPU computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import tosa_reference_model
from torch.fx import Interpreter

from kdbench.errors import StageError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram


class Tosa:
    """A lowered graph with one delegate, callable with its inputs; ``tosa`` is the delegate as Arm's flatbuffer."""

    def __init__(self, program: ExportedProgram, tosa: bytes) -> None:
        self._program = program
        self._tosa = tosa

    def __call__(self, *inputs: Tensor) -> Any:
        """The graph's outputs for inputs as the program takes them."""
        given = iter(inputs)
        state = {**self._program.state_dict, **self._program.constants}
        graph = self._program.graph_module
        values = [
            next(given) if spec.kind.name == "USER_INPUT" else state[spec.target]
            for spec in self._program.graph_signature.input_specs
        ]
        return _Delegate(graph, self._tosa).run(*values)


class _Delegate(Interpreter):
    """Runs a graph node by node, its delegate by the reference model."""

    def __init__(self, graph: torch.fx.GraphModule, tosa: bytes) -> None:
        super().__init__(graph)
        self._tosa = tosa

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if "executorch_call_delegate" not in str(target):
            return super().call_function(target, args, kwargs)
        arrays = [np.ascontiguousarray(value.numpy()) for value in args[1:]]
        outputs, status = tosa_reference_model.run(self._tosa, arrays, verbosity="LOW")
        if status != tosa_reference_model.GraphStatus.TOSA_VALID:
            raise StageError("Arm's reference model refuses the graph that was compiled", status="parity-failed")
        return [torch.from_numpy(np.asarray(output)) for output in outputs]
