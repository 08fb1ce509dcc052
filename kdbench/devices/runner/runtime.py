"""The runtime that a program brings with it: which of executorch's libraries it calls, and those that they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_CORE = "executorch"
_THREADS = "executorch_threadpool"
_NEEDED: dict[str, tuple[str, ...]] = {
    "XnnpackBackend": ("executorch_backend_xnnpack", _THREADS),
    "executorch_prim": (),
    "aten": ("executorch_kernels_optimized", _THREADS),
    "dim_order_ops": ("executorch_kernels_optimized", _THREADS),
    "et_copy": ("executorch_kernels_optimized", _THREADS),
    "quantized_decomposed": ("executorch_kernels_quantized", _THREADS),
}
"""The libraries of executorch 1.5 besides the core that have a backend, or the operators with a name before ``::``.

The pool of threads is what those name as needed (``readelf -d``).
"""


def runtime_libraries(calls: Iterable[str], package: Path) -> tuple[Path, ...] | str:
    """The libraries in the executorch package that a program needs which calls these backends and operators.

    A reason where one of them is in none of these libraries: OpenVINO's backend is but the door to another product.
    """
    names = {_CORE: None}
    for call in calls:
        needed = _NEEDED.get(call.partition("::")[0])
        if needed is None:
            return f"{call} is in none of executorch's own libraries"
        names |= dict.fromkeys(needed)
    found = [next(iter(sorted((package / "lib").glob(f"lib{name}.*"))), None) for name in sorted(names)]
    return tuple(path for path in found if path) if all(found) else "the executorch package lacks some of its libraries"
