"""Core ML: Apple's CPU, GPU and Neural Engine. Lowered, sized, checked for delegation here; run on Apple's devices."""

from __future__ import annotations

import gc
import hashlib
import json
import platform
import re
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from kdbench.errors import StageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import nn

    from kdbench.lowering.export import Inputs
    from kdbench.lowering.target import Lowered

_MANIFEST = re.compile(rb'\{\n {4}"fileFormatVersion".*?\n\}', re.DOTALL)
_NAME = re.compile(rb"executorch_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class CoreML:
    """Core ML at one precision, for iOS 17 and later: ``fp16``, or ``int8`` by static post-training quantisation."""

    name: str
    precision: str
    backend: str = "coreml"
    stand_in: str = ""
    libraries: tuple[str, ...] = ("coremltools",)
    tied: bool = False

    @property
    def calibrates(self) -> bool:
        """Whether calibration inputs decide the program."""
        return self.precision == "int8"

    def missing(self) -> str:
        """Core ML Tools, which come with ExecuTorch on macOS and on Linux for x86-64."""
        if find_spec("coremltools"):
            return ""
        here = f"{platform.system()} for {platform.machine()}"
        return f"it needs Core ML Tools, which ExecuTorch brings on macOS and on Linux for x86-64, not on {here}"

    def missing_on(self, device: str) -> str:
        """One of Apple's devices."""
        return f"{device} has no Core ML: its programs run on Apple's devices"

    def lower(self, network: nn.Module, example: Inputs, calibration: Sequence[Inputs] = ()) -> Lowered:
        """The program of ``network``; see ``Target.lower``."""
        from kdbench.lowering.export import as_it_is, quantized
        from kdbench.lowering.quiet import quiet

        with quiet():
            import coremltools as ct
            from coremltools.optimize.torch.quantization import LinearQuantizerConfig
            from executorch.backends.apple.coreml.compiler import CoreMLBackend
            from executorch.backends.apple.coreml.partition import CoreMLPartitioner
            from executorch.backends.apple.coreml.quantizer import CoreMLQuantizer
        half, ios17 = ct.precision.FLOAT16, ct.target.iOS17
        specs = CoreMLBackend.generate_compile_specs(compute_precision=half, minimum_deployment_target=ios17)
        partitioners = [CoreMLPartitioner(compile_specs=specs)]
        with quiet(), _without_bars():
            if self.calibrates:
                scheme = {"quantization_scheme": "symmetric", "weight_per_channel": True}
                quantizer = CoreMLQuantizer(LinearQuantizerConfig.from_dict({"global_config": scheme}))
                lowered = quantized(self, network, example, partitioners, quantizer, calibration)
            else:
                lowered = as_it_is(self, network, example, partitioners)
            gc.collect()  # Core ML Tools leave folders to the collector, which else would warn of them anywhere
        return replace(lowered, buffer=settled(lowered.buffer))


def settled(buffer: bytes) -> bytes:
    """A program with the random ids that Core ML Tools draw for it replaced by ones that follow from its content.

    They name a package's files, and the model where a device caches what it compiled. The length stays the same.
    """
    buffer = _MANIFEST.sub(lambda match: _numbered(match[0]), buffer)
    names = dict.fromkeys(_NAME.findall(buffer))
    digest = hashlib.sha256(_NAME.sub(b"", buffer)).hexdigest()
    for place, name in enumerate(names):
        buffer = buffer.replace(name, f"executorch_{uuid.uuid5(uuid.NAMESPACE_OID, f'{digest} {place}')}".encode())
    return buffer


def _numbered(manifest: bytes) -> bytes:
    """The manifest of a package with its files' ids counted from 1, in the order of their paths."""
    table = json.loads(manifest)
    entries = sorted(table["itemInfoEntries"].items(), key=lambda entry: entry[1]["path"])
    ids = {key: str(uuid.UUID(int=place)) for place, (key, _) in enumerate(entries, 1)}
    table["itemInfoEntries"] = {ids[key]: value for key, value in entries}
    table["rootModelIdentifier"] = ids[table["rootModelIdentifier"]]
    text = json.dumps(table, indent=4, separators=(",", ": ")).encode()
    if len(text) != len(manifest):
        raise StageError(
            "Core ML Tools write a package's manifest otherwise than version 9 does; its ids cannot be settled"
        )
    return text


@contextmanager
def _without_bars() -> Iterator[None]:
    """Inside the block Core ML Tools draw no progress bars."""
    from coremltools.converters.mil.frontend.torch import ops
    from coremltools.converters.mil.mil.passes import pass_pipeline

    bars = pass_pipeline.tqdm
    pass_pipeline.tqdm = ops._tqdm = partial(bars, disable=True)  # noqa: SLF001 - they offer no switch
    try:
        yield
    finally:
        pass_pipeline.tqdm = ops._tqdm = bars  # noqa: SLF001


FP16 = CoreML("coreml-fp16", "fp16")
"""Core ML in 16-bit floats, what Apple's Neural Engine computes in."""

INT8 = CoreML("coreml-int8", "int8")
"""Core ML in 8-bit integers: static, one scale a channel, calibrated on training items."""
