"""Haste: what torch does again and again while a network is lowered, done once, or when it is asked for."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch._export import utils
from torch.export import decomp_utils, exported_program
from torch.fx import GraphModule, traceback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TORCH = "2.13."
"""The versions of torch whose inner functions are known here; with any other nothing is hastened."""

_OPERATORS = ("_collect_all_valid_cia_ops", "_collect_all_valid_cia_ops_for_aten_namespace")


@contextmanager
def hastened() -> Iterator[None]:
    """Inside the block graphs are made faster, and are the same to the byte.

    - The history of a node, what it came from in every pass before, is shared instead of copied in depth at each pass:
      it is only ever read.
    - The operators that can be decomposed are looked for once, instead of at every decomposition.
    - A graph's Python code is written when the graph is first called: most graphs are interpreted, and then passed on.
    """
    if not torch.__version__.startswith(TORCH):
        yield
        return
    replaced: list[tuple[Any, str, Any]] = [
        (traceback, "copy", SimpleNamespace(copy=copy.copy, deepcopy=list)),
        (GraphModule, "recompile", _later(GraphModule.recompile)),
    ]
    for name in _OPERATORS:
        found = _once(getattr(utils, name))
        replaced += [(module, name, found) for module in (decomp_utils, exported_program) if hasattr(module, name)]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in replaced]
    for owner, name, value in replaced:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def _once(find: Callable[[], set[Any]]) -> Callable[[], set[Any]]:
    """A function that looks once and gives a set of its own to everybody who asks."""
    found = cache(find)
    return lambda: set(found())


def _later(recompile: Callable[[GraphModule], Any]) -> Callable[[GraphModule], None]:
    """A ``recompile`` that leaves the work to the module's first call. Each graph module is of a class of its own."""

    def first(module: GraphModule, *inputs: Any, **named: Any) -> Any:
        recompile(module)
        return type(module).forward(module, *inputs, **named)

    def note(module: GraphModule) -> None:
        type(module).forward = first
        module._code = "# written when it is called"  # noqa: SLF001 - ExecuTorch prints it for nobody
        pytree = getattr(module.graph._codegen, "pytree_info", None)  # noqa: SLF001 - as recompile itself does
        if pytree is not None:
            module._in_spec, module._out_spec = pytree.in_spec, pytree.out_spec  # noqa: SLF001

    return note
