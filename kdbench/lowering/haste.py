"""Haste: what torch does again and again while a network is lowered, done once."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch._export import utils
from torch.export import decomp_utils, exported_program
from torch.fx import traceback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TORCH = "2.13."
"""The versions whose inner functions are known here; under any other nothing is hastened."""

_OPERATORS = ("_collect_all_valid_cia_ops", "_collect_all_valid_cia_ops_for_aten_namespace")


@contextmanager
def hastened() -> Iterator[None]:
    """Inside the block graphs are made faster, and are the same to the byte.

    The history of a node, what it came from in every pass before, is shared instead of copied in depth at each pass: it
    is only ever read. The operators that can be decomposed are looked for once, instead of at every decomposition.
    """
    if not torch.__version__.startswith(TORCH):
        yield
        return
    known = {name: _once(getattr(utils, name)) for name in _OPERATORS}
    replaced: list[tuple[Any, str, Any]] = [(traceback, "copy", SimpleNamespace(copy=copy.copy, deepcopy=list))]
    replaced += [(module, name, known[name]) for module in (decomp_utils, exported_program) for name in known]
    before = [(module, name, getattr(module, name)) for module, name, _ in replaced if hasattr(module, name)]
    for module, name, value in replaced:
        if hasattr(module, name):
            setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def _once(find: Callable[[], set[Any]]) -> Callable[[], set[Any]]:
    """A function that looks once and gives a set of its own to everybody who asks."""
    found = cache(find)
    return lambda: set(found())
