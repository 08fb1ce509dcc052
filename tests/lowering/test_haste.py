import copy

import pytest
import torch
from lowering.conftest import Tiny, items
from torch.export import exported_program
from torch.fx import traceback

from kdbench.lowering import haste, vulkan, xnnpack
from kdbench.lowering.haste import hastened


@pytest.mark.parametrize("target", [xnnpack.FP32, xnnpack.FP16, xnnpack.INT8, vulkan.FP16])
def test_the_bytes_and_the_structure_are_those_without(target, monkeypatch):
    calibration = items(32)
    hasty = target.lower(Tiny(seed=0), calibration[0], calibration)
    monkeypatch.setattr(haste, "TORCH", "no version")
    plain = target.lower(Tiny(seed=0), calibration[0], calibration)
    assert plain.buffer == hasty.buffer
    assert plain.structure == hasty.structure


def test_torch_is_as_it_was_afterwards_an_error_or_not():
    collect, recompile = exported_program._collect_all_valid_cia_ops, torch.fx.GraphModule.recompile
    with pytest.raises(ValueError, match="x"), hastened():  # noqa: PT012
        assert exported_program._collect_all_valid_cia_ops is not collect
        assert traceback.copy is not copy
        assert torch.fx.GraphModule.recompile is not recompile
        raise ValueError("x")
    assert exported_program._collect_all_valid_cia_ops is collect
    assert traceback.copy is copy
    assert torch.fx.GraphModule.recompile is recompile


def test_the_operators_are_those_that_torch_finds_and_nobody_elses():
    with hastened():
        first = exported_program._collect_all_valid_cia_ops()
        assert first == torch._export.utils._collect_all_valid_cia_ops()
        first.clear()
        assert exported_program._collect_all_valid_cia_ops()


def test_a_graph_is_compiled_when_it_is_called_and_as_it_then_is():
    class Twice(torch.nn.Module):
        def forward(self, x):
            return x + x

    with hastened():
        graph = torch.fx.symbolic_trace(Twice())
        assert "return" not in graph.code
        (add,) = [node for node in graph.graph.nodes if node.op == "call_function"]
        add.target = torch.mul
        graph.recompile()
    assert graph(torch.tensor(3.0)) == 9
    assert "mul" in graph.code
