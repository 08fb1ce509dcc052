"""kdbench: benchmarks of distilled models as the programs that ship."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdbench.counted_profiles import CountedProfile, counted_profile
    from kdbench.lowering.shipped import Shipped, lower
    from kdbench.measurement import Measurement, measure
    from kdbench.profiles import Profile, profile
    from kdbench.runs import StoredRun, compare, load_run, report, run

__version__ = "0.1.0"
__all__ = [
    "CountedProfile",
    "Measurement",
    "Profile",
    "Shipped",
    "StoredRun",
    "__version__",
    "compare",
    "counted_profile",
    "load_run",
    "lower",
    "measure",
    "profile",
    "report",
    "run",
]

_HOMES = {
    "CountedProfile": "counted_profiles",
    "counted_profile": "counted_profiles",
    "Measurement": "measurement",
    "measure": "measurement",
    "Profile": "profiles",
    "profile": "profiles",
    "Shipped": "lowering.shipped",
    "lower": "lowering.shipped",
    "StoredRun": "runs",
    "compare": "runs",
    "load_run": "runs",
    "report": "runs",
    "run": "runs",
}
"""Where each public name lives: it is imported when it is first asked for."""


def __getattr__(name: str) -> Any:
    """A public name, whose module may import torch."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"kdbench.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
