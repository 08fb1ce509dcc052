"""Small real programs, lowered once a session and only where a test asks for one."""

import hashlib
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest


def pytest_configure():
    """Let Ctrl-C reach what tests start, also where the shell that started them has it ignored (``&`` in a script)."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def outside_of_github(monkeypatch):
    """These tests may run in a job of GitHub Actions, whose summary is not theirs."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


@dataclass(frozen=True)
class Tiny:
    """A program of one input float32 [1, 3, 8, 8] and one output [1, 4], and four items for it [4, 1, 3, 8, 8]."""

    path: Path
    items: np.ndarray

    @property
    def inputs(self):
        return (self.items,)

    @property
    def sha256(self):
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


def tiny_items():
    return np.random.default_rng(0).standard_normal((4, 1, 3, 8, 8)).astype(np.float32)


def lower_tiny(target, seed, path, width=8):
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, 4),
        )
    path.write_bytes(target.lower(network.eval(), (torch.from_numpy(tiny_items()[0]),)).buffer)
    return Tiny(path, tiny_items())


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A folder whose name has a space, as people's have."""
    return tmp_path_factory.mktemp("tiny programs")


@pytest.fixture(scope="session")
def tiny_program(tiny_folder):
    """A small convolutional network as an XNNPACK program in fp32."""
    from kdbench.lowering.xnnpack import FP32

    return lower_tiny(FP32, 0, tiny_folder / "tiny fp32.pte")


@pytest.fixture(scope="session")
def other_program(tiny_folder):
    """``tiny_program`` with another seed's weights."""
    from kdbench.lowering.xnnpack import FP32

    return lower_tiny(FP32, 1, tiny_folder / "other fp32.pte")


@pytest.fixture(scope="session")
def portable_program(tiny_folder):
    """``tiny_program`` on the portable kernels, with another width."""
    from kdbench.lowering.portable import FP32

    return lower_tiny(FP32, 0, tiny_folder / "tiny portable.pte", width=16)


@pytest.fixture(scope="session")
def broken_program(tiny_program, tiny_folder):
    """``tiny_program`` for a backend that no runtime has."""
    data = tiny_program.path.read_bytes()
    assert b"XnnpackBackend" in data
    path = tiny_folder / "broken.pte"
    path.write_bytes(data.replace(b"XnnpackBackend", b"MissingBackend"))
    return Tiny(path, tiny_program.items)
