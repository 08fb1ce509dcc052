"""The host with either runner, programs of several inputs, outputs and types, and runners asked directly."""

import re
import subprocess
import sys

import pytest
from jobs import TYPES

from kdbench.devices.host import Host, host
from kdbench.devices.wire import write_job

LOGGED = re.compile(r"[A-Z] \d\d:\d\d:\d\d\.\d+ executorch:|\[\w+\.(cpp|cc):\d+\] ")


@pytest.fixture(params=["native", "python"])
def either(request):
    """The host with each of its two runners."""
    return Host("host", request.param)


@pytest.fixture
def native(monkeypatch):
    monkeypatch.delenv("KDBENCH_RUNNER", raising=False)
    return host("host")


@pytest.fixture(scope="session")
def typed_program(tiny_folder):
    """One input [1, 3] of every type; as many outputs [2, 3], each its input twice."""
    import torch

    from kdbench.lowering.portable import FP32

    class Twice(torch.nn.Module):
        def forward(self, *inputs):
            return tuple(torch.cat([each, each]) for each in inputs)

    example = tuple(torch.ones(1, 3, dtype=getattr(torch, name)) for name in TYPES)
    path = tiny_folder / "typed.pte"
    path.write_bytes(FP32.lower(Twice().eval(), example).buffer)
    return path


@pytest.fixture(scope="session")
def mixed_program(tiny_folder):
    """Two inputs, float32 [1, 6] and int64 [1], and two outputs: [1, 6] multiplied, and their sum [1]."""
    import torch

    from kdbench.lowering.portable import FP32

    class Mixed(torch.nn.Module):
        def forward(self, values, factor):
            scaled = values * factor.to(torch.float32)
            return scaled, scaled.sum(1)

    path = tiny_folder / "mixed.pte"
    path.write_bytes(FP32.lower(Mixed().eval(), (torch.ones(1, 6), torch.ones(1, dtype=torch.int64))).buffer)
    return path


def _own_words(said):
    """What a runner says without ExecuTorch's log: lines that start with a level and a time."""
    return "".join(line for line in said.splitlines(keepends=True) if not LOGGED.match(line))


@pytest.fixture
def answer(tmp_path):
    """A function: write a job, let ``change`` spoil its text, and return the runner's exit code and what it said."""

    def run(kind, job, change=lambda text: text, **options):
        from kdbench.devices.runner.build import runner

        write_job(job, tmp_path)
        file = tmp_path / "job.txt"
        file.write_text(change(file.read_text()))
        command = [str(runner())] if kind == "native" else [sys.executable, "-m", "kdbench.devices.python_runner"]
        done = subprocess.run(
            [*command, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60, **options
        )
        assert (done.returncode == 0) == (tmp_path / "result.json").exists()
        return done.returncode, _own_words(done.stderr)

    return run
