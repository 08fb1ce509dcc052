"""The proof of a program: it computes what its graph computes, and still says what the network said."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch.utils._pytree import tree_leaves

from kdbench.errors import StageError
from kdbench.lowering.export import Inputs, calm, contiguous, leaves
from kdbench.lowering.integer import Integers, settled
from kdbench.lowering.quiet import hushed, quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn
    from torch.fx import GraphModule

    from kdbench.lowering.target import Lowered, Target

with quiet():
    from executorch.extension.pybindings.portable_lib import _threadpool_get_thread_count, _unsafe_reset_threadpool
    from executorch.runtime import Runtime

Outputs = tuple["NDArray[np.float64]", ...]
"""One array per output of a method, each [items, ...]."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a healthy program may be off: see the fields of ``Parity``. ``graph_steps`` is for quantised outputs."""

    graph_error: float
    graph_steps: float
    network_error: float


SETTLED_STEPS = 0.02
"""``graph_steps`` over the items of which integer kernels can say but one thing: one output in 2,500 off by a step."""

_TINY = float(np.finfo(np.float32).tiny)

BOUNDS = {
    "fp32": Bounds(graph_error=1e-4, graph_steps=0, network_error=1e-3),
    "fp16": Bounds(graph_error=0.05, graph_steps=0, network_error=0.15),
    "bf16": Bounds(graph_error=0.05, graph_steps=0, network_error=0.15),
    "fp32-bf16": Bounds(graph_error=0.1, graph_steps=0, network_error=0.15),
    "int8": Bounds(graph_error=0.05, graph_steps=1.5, network_error=0.35),
    "int8-dynamic": Bounds(graph_error=0.05, graph_steps=0, network_error=0.15),
    "int8da8w": Bounds(graph_error=0.05, graph_steps=0, network_error=0.15),
    "int8da4w": Bounds(graph_error=0.05, graph_steps=0, network_error=0.6),
}
"""Per precision. Healthy programs of DS-CNNs and ResNets of 8 to 56 layers, trained and not, were seen to be off by at
most 1e-6 of the graph and 6e-6 of the network (fp32), 0.45 steps and 0.11 (int8; 1e-6 steps over items that are
settled); calibrated on items without normalisation, by 0.43 to 0.95 of the network. A wrong top byte in one weight cost
from nothing (the weight is hardly used) to 1e27 of the largest output (fp32) and to 255 steps in single outputs (int8).

fp16 rounds more the deeper a network is. 49 networks trained on Fashion-MNIST (DS-CNNs, a ResNet-20) were off by at
most 0.010 of graph and network; untrained ones with settled norms by at most 0.031 and 0.098 (ResNets to 110 layers,
WRNs, VGGs), but MobileNetV2 and the ShuffleNets by up to 0.10 and 0.12: those are refused. Of 681 wrong top bytes that
changed a prediction in six healthy programs 654 were caught; the others were smaller than the bounds.

The programs of suite ``targets`` (a DS-CNN, a perceptron, a ResNet-20) were off by at most this much of graph and
network: bf16 0 and 0.002, fp32-bf16 0.017 and 0.018, int8-dynamic 0.001 and 0.006, int8da8w 3e-7 and 0.004, int8da4w
0.002 and 0.09; int8 by 1.2 steps and 0.3, but for two of Core ML's quantiser, off by 0.40 and 0.45, which are refused.
Of wrong top bytes in digits' students that changed a test prediction all were caught: 80 of 80 in fp32, 80 of 80 in
fp16, 160 of 160 in int8."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How far a program is from the graph it was lowered from, and from the eager network, over real items.

    ``graph_error``: the largest absolute difference from the graph, over the largest absolute output of the graph.
    ``graph_steps``: the root mean square difference from the graph, computed in integers (``Integers``), in steps of
    the output's quantisation; None where an output is not quantised. Kernels round ties and sums of tensors otherwise:
    single outputs are off by a few steps in healthy programs of large networks, and none where nothing lies on a tie.
    ``network_error``: root mean square difference from the network over the spread of the network's outputs, which is
    the root mean square deviation from their mean over the items (1 is what a program gets that ignores its input),
    but at least a sixteenth of their range: a network that says the same of every item has no spread to speak of.
    ``network_max_error``: the largest absolute difference from the network. ``cosine``: mean cosine between an item's
    outputs of program and network. ``flips``: share of items with another prediction, None if nothing predicts.

    ``of`` says what was run: the ``program``; where nothing here can run it a ``reference``, which computes the same
    integers; or where there is none the ``graph`` alone, whose difference from itself is no figure.
    """

    items: int
    graph_error: float | None
    graph_steps: float | None
    network_error: float
    network_max_error: float
    cosine: float
    flips: float | None
    of: Literal["program", "reference", "graph"] = "program"


def prove(
    lowered: Lowered,
    network: nn.Module,
    items: Sequence[Inputs],
    target: Target,
    predictions: Callable[[NDArray[np.float32]], NDArray[np.integer]] | None = None,
) -> Parity:
    """How a program compares on ``items`` (batch 1 each), run by ExecuTorch in this process on one thread.

    A program that this machine cannot run is stood in for by its reference, and without one by its graph.
    ``predictions`` turns the first output [items, ...] into predictions.

    Raises:
        StageError: status ``parity-failed``: the program does not run, says something that is no number, or is off by
            more than the ``BOUNDS`` of the target's precision; the reason holds the figure and its bound.
    """
    fed = [contiguous(inputs) for inputs in items]
    step = _step(lowered.exported)
    say = lowered.exported if step is None else Integers(lowered.exported).run
    with calm():
        graph = _stacked([leaves(say(*inputs)) for inputs in fed])
        eager = _stacked([leaves(network(*inputs)) for inputs in fed])
    if not target.missing_on("host"):
        parity = compare(program := run_program(lowered.buffer, fed), graph, eager, step)
    elif lowered.reference is not None:
        with calm():
            program = _stacked([leaves(lowered.reference(*inputs)) for inputs in fed])
        parity = replace(compare(program, graph, eager, step), of="reference")
    else:
        parity = replace(compare(program := graph, graph, eager), graph_error=None, of="graph")
    if reason := refusal(parity, BOUNDS[target.precision]) or _unsettled(lowered, fed, program, graph, parity):
        raise StageError(reason, status="parity-failed")
    if predictions is None:
        return parity
    first, second = (predictions(outputs[0].astype(np.float32)) for outputs in (program, eager))
    return replace(parity, flips=float(np.mean(first != second)))


def _unsettled(lowered: Lowered, fed: Sequence[Inputs], program: Outputs, graph: Outputs, parity: Parity) -> str:
    """Why a program is broken that says otherwise than its graph where integer kernels have no choice; else empty."""
    if parity.of != "program" or parity.graph_steps is None:
        return ""
    with calm():
        places = [place for place, inputs in enumerate(fed) if settled(lowered.exported, inputs)]
    if not places:
        return ""
    ours, theirs = (tuple(outputs[places] for outputs in side) for side in (program, graph))
    found = compare(ours, theirs, theirs, _step(lowered.exported))
    return refusal(replace(found, network_error=0.0), Bounds(graph_error=0, graph_steps=SETTLED_STEPS, network_error=0))


def run_program(buffer: bytes, items: Sequence[Inputs]) -> Outputs:
    """The outputs of a program's ``forward`` for each item, by ExecuTorch's runtime in this process on one thread.

    Raises:
        StageError: status ``parity-failed``: the program cannot be loaded or run here.
    """
    with hushed():
        return _stacked(_ran(buffer, items))


def _ran(buffer: bytes, items: Sequence[Inputs]) -> list[list[Tensor]]:
    try:
        # The method reads the program's memory, and neither keeps the other alive.
        program = Runtime.get().load_program(buffer)
        if _threadpool_get_thread_count() != 1:
            _unsafe_reset_threadpool(1)
        method = program.load_method("forward")
        return [[value.clone() for value in leaves(method.execute(list(inputs)))] for inputs in items]
    except RuntimeError as error:
        said = str(error).strip().partition("\n")[0]
        raise StageError(f"the program does not run: {said}", status="parity-failed") from error


def compare(program: Outputs, graph: Outputs, network: Outputs, step: float | None = None) -> Parity:
    """The figures of ``Parity`` (without flips) from outputs of the same items, all outputs of a method together.

    Raises:
        StageError: status ``parity-failed``: the outputs differ in number or shape, or some are no numbers.
    """
    for name, others in (("graph", graph), ("network", network)):
        found, expected = [each.shape for each in program], [each.shape for each in others]
        if found != expected:
            reason = f"the program's outputs have shapes {found}, those of the {name} {expected}"
            raise StageError(reason, status="parity-failed")
    p, g, n = (
        np.concatenate([each.reshape(len(each), -1) for each in side], axis=1) for side in (program, graph, network)
    )
    for name, side in (("network", n), ("quantised or exported graph", g), ("program", p)):
        if bad := int(np.sum(~np.isfinite(side).all(axis=1))):
            raise StageError(f"the {name} says NaN or infinity of {bad} of {len(side)} items", status="parity-failed")
    spread = max(_rms(n - n.mean(axis=0)), float(np.ptp(n)) / 16, _TINY)
    lengths = np.linalg.norm(p, axis=1) * np.linalg.norm(n, axis=1)
    return Parity(
        items=len(p),
        graph_error=float(np.max(np.abs(p - g))) / max(float(np.max(np.abs(g))), _TINY),
        graph_steps=None if step is None else _rms(p - g) / step,
        network_error=_rms(p - n) / spread,
        network_max_error=float(np.max(np.abs(p - n))),
        cosine=float(np.mean(np.sum(p * n, axis=1) / np.maximum(lengths, _TINY))),
        flips=None,
    )


def refusal(parity: Parity, bounds: Bounds) -> str:
    """Why a program with these figures is broken, or the empty string."""
    if parity.graph_steps is not None:
        if parity.graph_steps > bounds.graph_steps:
            return (
                f"the program is not its graph: off by {parity.graph_steps:.3g} quantisation steps, "
                f"at most {bounds.graph_steps:g} is rounding"
            )
    elif parity.graph_error is not None and parity.graph_error > bounds.graph_error:
        return (
            f"the program is not its graph: off by {parity.graph_error:.3g} of the largest output, "
            f"at most {bounds.graph_error:g} is rounding"
        )
    if parity.network_error > bounds.network_error:
        return (
            f"the program is not its network: off by {parity.network_error:.3g} of the outputs' spread, "
            f"at most {bounds.network_error:g} is allowed"
        )
    return ""


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _stacked(outputs: Sequence[Sequence[Tensor]]) -> Outputs:
    """Per output one float64 array [items, ...] from each item's outputs."""
    return tuple(np.stack([value.double().numpy() for value in column]) for column in zip(*outputs, strict=True))


def _step(graph: GraphModule) -> float | None:
    """The largest quantisation step among the graph's outputs; None if one of them is not quantised."""
    output = next(node for node in graph.graph.nodes if node.op == "output")
    scales: list[Any] = []
    for node in tree_leaves(output.args):
        if "dequantize_per_tensor" not in str(getattr(node, "target", "")):
            return None
        scales.append(node.args[1])
    return float(max(scales)) if scales else None
