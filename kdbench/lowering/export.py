"""What the targets share: export, delegation and writing of a program, each step timed and its failure named."""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from kdbench.errors import KdbenchError, StageError, UsageError
from kdbench.lowering.quiet import quiet
from kdbench.lowering.structure import delegated_share, structure_of
from kdbench.lowering.target import Lowered

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch.export import ExportedProgram
    from torch.fx import GraphModule

with quiet():
    from executorch.exir import to_edge_transform_and_lower

Inputs = tuple[Tensor, ...]


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
        with quiet(), torch.no_grad(), torch.random.fork_rng(devices=[]):
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


def finish(
    steps: Steps,
    exported: ExportedProgram,
    graph: GraphModule,
    partitioners: Sequence[Any],
    precision: str,
) -> Lowered:
    """The program of an exported graph, delegated to ``partitioners``; ``graph`` is what to compare it with."""
    with steps("delegate"):
        edge = to_edge_transform_and_lower(exported, partitioner=list(partitioners))
        lowered = edge.exported_program()
        structure = structure_of(lowered, steps.target, precision)
        delegated = delegated_share(lowered)
    with steps("write"):
        buffer = bytes(edge.to_executorch().buffer)
    return Lowered(buffer, graph, structure, delegated, dict(steps.seconds))
