"""What the targets share: export, quantisation, delegation and writing of a program, each step timed and named."""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from kdbench.errors import KdbenchError, StageError, UsageError
from kdbench.lowering.haste import hastened
from kdbench.lowering.quiet import quiet
from kdbench.lowering.structure import delegated_share, structure_of
from kdbench.lowering.target import Lowered

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from executorch.exir import EdgeProgramManager
    from torch.export import ExportedProgram
    from torch.fx import GraphModule
    from torchao.quantization.pt2e.quantizer import Quantizer

    from kdbench.lowering.target import Target

with quiet():
    from executorch.exir import to_edge_transform_and_lower
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

Inputs = tuple[Tensor, ...]

LEAST_CALIBRATION = 32
"""Fewer inputs than this leave observers with ranges that clip: 8 of them cost a small MLP a third of its output."""


class Steps:
    """The steps of one lowering: what each took, and whose fault a failure is."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time a step called ``name``.

        Raises:
            StageError: the step raised anything; the reason is target, step and the error's first line.
        """
        start = time.perf_counter()
        try:
            yield
        except KdbenchError:
            raise
        except Exception as error:
            said = str(error).strip().partition("\n")[0]
            raise StageError(f"{self.target}: {name} failed: {type(error).__name__}: {said}") from error
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


@contextmanager
def calm() -> Iterator[None]:
    """Where lowering happens: one thread (sums have one order), no gradients, no known noise, no garbage collection.

    Lowering allocates some millions of small objects that live until it ends. Collecting them meanwhile takes a fifth
    of its time and frees nothing; the collector is switched on again at the end.
    """
    threads, collecting = torch.get_num_threads(), gc.isenabled()
    torch.set_num_threads(1)
    gc.disable()
    try:
        with quiet(), hastened(), torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            yield
    finally:
        torch.set_num_threads(threads)
        if collecting:
            gc.enable()


def contiguous(inputs: Inputs) -> Inputs:
    """The inputs as contiguous tensors in the default dimension order; a program reads any other silently wrong."""
    return tuple(value.detach().contiguous() for value in inputs)


def leaves(outputs: Any) -> list[Tensor]:
    """The tensors of a network's or graph's outputs, in the order in which a program returns them."""
    return [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]


def export(network: nn.Module, example: Inputs) -> ExportedProgram:
    """The graph of ``network`` for inputs of the shapes of ``example``.

    Raises:
        UsageError: the network is in training mode, whose batch norm and dropout no program can have.
    """
    refuse_training(network)
    return torch.export.export(network, example)


def refuse_training(network: nn.Module) -> None:
    """Do nothing if all of a network is in eval mode.

    Raises:
        UsageError: it is not.
    """
    if any(module.training for module in network.modules()):
        raise UsageError(f"{type(network).__name__} is in training mode; call .eval() before lowering it")


def as_it_is(target: Target, network: nn.Module, example: Inputs, partitioners: Sequence[Any]) -> Lowered:
    """The program of a network in the floats that it has, or that it is given by its backend."""
    steps = Steps(target.name)
    with calm():
        with steps("export"):
            exported = export(network, contiguous(example))
            graph = exported.module()
        return finish(steps, exported, graph, partitioners, target.precision)


def quantized(
    target: Target,
    network: nn.Module,
    example: Inputs,
    partitioners: Sequence[Any],
    quantizer: Quantizer,
    calibration: Sequence[Inputs],
) -> Lowered:
    """The program of a network in integers: ``integers``, delegated to ``partitioners``.

    Raises:
        UsageError: see ``integers``.
    """
    steps = Steps(target.name)
    with calm():
        exported, graph = integers(steps, target, network, contiguous(example), quantizer, calibration)
        return finish(steps, exported, graph, partitioners, target.precision)


def integers(
    steps: Steps,
    target: Target,
    network: nn.Module,
    example: Inputs,
    quantizer: Quantizer,
    calibration: Sequence[Inputs],
    *,
    fold: bool = True,
) -> tuple[ExportedProgram, GraphModule]:
    """The graph of a network that ``quantizer`` turns into integers after its training (PT2E), exported and callable.

    Ranges of activations are observed while ``calibration`` runs through the graph, one input after the other, where
    the target calibrates; where it does not, they are found anew in every inference. ``fold``: whether weights are
    stored as integers already, or the backend is to make them so.

    Raises:
        UsageError: fewer than ``LEAST_CALIBRATION`` inputs.
    """
    if target.calibrates and (found := len(calibration)) < LEAST_CALIBRATION:
        raise UsageError(f"{target.name}: found {found} calibration inputs, expected at least {LEAST_CALIBRATION}")
    with steps("export"):
        # The guards would be a module that the quantisers of some backends do not know.
        graph = export(network, example).module(check_guards=False)
    with steps("quantize"):
        prepared = prepare_pt2e(graph, quantizer)
        for inputs in calibration if target.calibrates else [example]:
            prepared(*contiguous(inputs))
        converted: GraphModule = convert_pt2e(prepared, fold_quantize=fold)
    with steps("export"):
        return torch.export.export(converted, example), converted


def finish(
    steps: Steps,
    exported: ExportedProgram,
    graph: GraphModule,
    partitioners: Sequence[Any],
    precision: str,
) -> Lowered:
    """The program of an exported graph, delegated to ``partitioners``; ``graph`` is what to compare it with."""
    return written(steps, delegated(steps, exported, partitioners), graph, precision)


def delegated(steps: Steps, exported: ExportedProgram, partitioners: Sequence[Any]) -> EdgeProgramManager:
    """An exported graph with the parts that ``partitioners`` take compiled by their backends."""
    with steps("delegate"):
        return to_edge_transform_and_lower(exported, partitioner=list(partitioners))


def written(steps: Steps, edge: EdgeProgramManager, graph: GraphModule, precision: str) -> Lowered:
    """The program of a delegated graph, which is not to be used after; ``graph`` is what to compare it with."""
    with steps("write"):
        lowered = edge.exported_program()
        structure, share = structure_of(lowered, steps.target, precision), delegated_share(lowered)
        buffer = bytes(edge.to_executorch().buffer)
    return Lowered(buffer, graph, structure, share, dict(steps.seconds))
