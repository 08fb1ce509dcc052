"""kdbench: benchmarks of distilled models as the programs that ship."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdbench.measurement import Measurement, measure

__version__ = "0.1.0"
__all__ = ["Measurement", "__version__", "measure"]


def __getattr__(name: str) -> Any:
    """``kdbench.measure`` and ``kdbench.Measurement``, imported when they are first asked for."""
    if name in {"Measurement", "measure"}:
        from kdbench import measurement

        return getattr(measurement, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
