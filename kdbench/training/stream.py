"""Random streams: one a purpose, all derived from the seed, so that no one's draws shift another's."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


def derive(seed: int, role: str, purpose: str) -> int:
    """A 63-bit seed for one purpose (``init``, ``order``, ``augment`` ...) of a network in a role (teacher, student).

    Equal for every method and independent between seeds, roles and purposes: students of one seed start from the same
    weights and see the same items in the same order, whatever adapters their methods draw.
    """
    digest = hashlib.sha256(f"kdbench/{seed}/{role}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream(seed: int, role: str, purpose: str) -> torch.Generator:
    """A generator of its own for one purpose, on the CPU whatever device is trained on."""
    return torch.Generator().manual_seed(derive(seed, role, purpose))


@contextmanager
def seeded(seed: int, role: str, purpose: str) -> Iterator[None]:
    """Inside the block torch's global CPU generator is seeded for the purpose; afterwards it is as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, role, purpose))
        yield
