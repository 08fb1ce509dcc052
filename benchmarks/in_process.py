"""What people do without kdbench: pytest-benchmark around ExecuTorch's Python runtime, in one process.

``PROGRAM=file.pte INPUT=item.npy RUNS=600 pytest in_process.py --benchmark-json FILE``; what ``overhead.py`` compares
with the bare loop.
"""

import os

import numpy as np
import torch
from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
from executorch.runtime import Runtime


def test_execute(benchmark):
    _unsafe_reset_threadpool(1)
    method = Runtime.get().load_program(os.environ["PROGRAM"]).load_method("forward")
    item = torch.from_numpy(np.load(os.environ["INPUT"]))
    benchmark.pedantic(method.execute, args=([item],), rounds=int(os.environ["RUNS"]), warmup_rounds=20, iterations=1)
