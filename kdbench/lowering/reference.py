"""The reference program: one fixed network that every session times beside its own, the ruler of ``latency_ref``."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.lowering.stage import write
from kdbench.lowering.target import LIBRARIES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from kdbench.lowering.shipped import Shipped
    from kdbench.stage import Tell
    from kdbench.store import Artefact

VERSION = 1
CONTENT = ("input.npy", "program.pte")

SHAPE = (1, 3, 32, 32)
"""The shape of its one input."""

__all__ = ["CONTENT", "LIBRARIES", "SHAPE", "VERSION", "reference_input", "reference_program", "run"]


def reference_program() -> Shipped:
    """The reference network as an XNNPACK program in fp32, byte for byte the same with the same libraries."""
    import torch

    from kdbench.lowering.shipped import ship
    from kdbench.lowering.xnnpack import FP32

    items = [(item,) for item in torch.from_numpy(reference_input(4)).chunk(4)]
    return ship(FP32, _network(), items, ())


def reference_input(items: int = 1) -> NDArray[np.float32]:
    """Inputs for it, float32 [items, 3, 32, 32], different for each item."""
    return _numbers((items, *SHAPE[1:]), start=1)


def run(spec: Mapping[str, Any], inputs: Mapping[str, Artefact], out: Path, tell: Tell) -> None:
    """Write ``program.pte``, ``program.json`` and ``input.npy`` (float32 [1, 3, 32, 32]) into ``out``."""
    del spec, inputs
    tell(0.0, "lower the reference program")
    write(reference_program(), out)
    np.save(out / "input.npy", reference_input(), allow_pickle=False)


def _network() -> nn.Module:
    """Four convolutions, a depthwise-separable pair, a mean and a linear layer: what small vision programs run."""
    import torch
    from torch import nn

    network = nn.Sequential(
        OrderedDict(
            first=nn.Conv2d(3, 16, 3, padding=1),
            relu1=nn.ReLU(),
            second=nn.Conv2d(16, 32, 3, stride=2, padding=1),
            relu2=nn.ReLU(),
            depthwise=nn.Conv2d(32, 32, 3, padding=1, groups=32),
            relu3=nn.ReLU(),
            pointwise=nn.Conv2d(32, 64, 1),
            relu4=nn.ReLU(),
            third=nn.Conv2d(64, 64, 3, padding=1),
            relu5=nn.ReLU(),
            fourth=nn.Conv2d(64, 64, 3, padding=1),
            relu6=nn.ReLU(),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            linear=nn.Linear(64, 10),
        ),
    )
    with torch.no_grad():
        for place, parameter in enumerate(network.parameters()):
            # Powers of two keep the numbers exact; they shrink with the fan-in, so that activations stay near 1.
            fan_in = parameter[0].numel()
            numbers = _numbers(tuple(parameter.shape), start=place * 1_000_003)
            parameter.copy_(torch.from_numpy(numbers) * 2.0 ** -(fan_in.bit_length() // 2))
    return network.eval()


def _numbers(shape: tuple[int, ...], start: int) -> NDArray[np.float32]:
    """Numbers in [-1, 1) that follow from their places by integer arithmetic alone: the same on every machine.

    The finaliser of MurmurHash3 (Appleby, public domain) of the place, its top 16 bits as a fraction.
    """
    mask = np.uint64(0xFFFFFFFF)
    hashed = np.arange(start, start + int(np.prod(shape)), dtype=np.uint64)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        hashed ^= hashed >> np.uint64(shift)
        hashed = (hashed * np.uint64(factor)) & mask
    top = (hashed >> np.uint64(16)).astype(np.float32)
    return (top / np.float32(32768) - np.float32(1)).reshape(shape)
