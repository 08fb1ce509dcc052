"""The processor that trains: which one, and everything global that decides the bits it makes."""

from __future__ import annotations

import os
import platform
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.utils import deterministic

from kdbench.errors import UsageError
from kdbench.machine import cpu_name

if TYPE_CHECKING:
    from collections.abc import Iterator


def processor(device: str = "cpu") -> str:
    """The kind of processor, as far as it decides the bits of a training: part of a network's key.

    Of a CPU: the architecture, the instruction set that torch uses, the maker's name of it and, where the system tells
    them, family and model (virtual machines hide the name), since the libraries below torch choose their kernels, and
    with them the order of summation, by these. Of a GPU: its name and compute capability.

    Raises:
        UsageError: no such device here.
    """
    if device_of(device).type == "cuda":
        major, minor = torch.cuda.get_device_capability()
        return f"cuda {torch.cuda.get_device_name()} sm_{major}{minor}"
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} {cpu_name()}{_family()}"


def simd() -> str:
    """The instruction set that torch computes with on this CPU, such as ``AVX512``."""
    return torch.backends.cpu.get_cpu_capability()


def device_of(name: str) -> torch.device:
    """The device called ``cpu`` or ``cuda``.

    Raises:
        UsageError: another name, or no usable GPU.
    """
    if name not in {"cpu", "cuda"}:
        raise UsageError(f"unknown training device {name!r}; known: cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("training device 'cuda': torch finds no usable GPU here; train with 'cpu'")
    return torch.device(name)


@contextmanager
def pinned(device: torch.device, threads: int) -> Iterator[None]:
    """Inside the block torch computes with ``threads`` threads and deterministic kernels; afterwards as before.

    On a GPU also without TF32 and without choosing kernels by timing them.
    """
    if device.type == "cuda":
        # Read when the first cuBLAS handle is made: the workspace that makes its matrix products repeatable.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), _switches())
    filled = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]  # a property of the module
    try:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(mode=True)
        # Else every new tensor is first filled with NaN, for the sake of code that reads what it has not written.
        deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        _switch(benchmark=False, convolution_tf32=False, product_tf32=False)
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(mode=before[1])
        deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
        _switch(**before[2])


def _family() -> str:
    """Family and model of an x86 CPU, such as `` 25-17``; empty where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = [re.search(rf"^{key}\s*:\s*(\d+)$", text, re.MULTILINE) for key in ("cpu family", "model")]
    numbers = [match[1] for match in found if match]
    return " " + "-".join(numbers) if numbers else ""


def _switches() -> dict[str, bool]:
    return {
        "benchmark": torch.backends.cudnn.benchmark,
        "convolution_tf32": torch.backends.cudnn.allow_tf32,
        "product_tf32": torch.backends.cuda.matmul.allow_tf32,
    }


def _switch(*, benchmark: bool, convolution_tf32: bool, product_tf32: bool) -> None:
    torch.backends.cudnn.benchmark = benchmark
    torch.backends.cudnn.allow_tf32 = convolution_tf32
    torch.backends.cuda.matmul.allow_tf32 = product_tf32
