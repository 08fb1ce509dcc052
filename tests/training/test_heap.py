"""A step's memory is the next step's: seen in the page faults of a fresh process."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource
import torch
from kdbench.training.heap import pages_kept

def step():
    tensors = [torch.ones(2**20) for _ in range(8)]  # 32 MiB, 8,192 pages

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    return int(open("/proc/self/statm").read().split()[1])

with pages_kept():
    for _ in range(5):
        step()
    before = faults()
    for _ in range(5):
        step()
    print(faults() - before, resident())
print(resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator of another system")
def test_pages_are_kept_inside_and_given_back_after():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    again, inside, after = (int(word) for word in done.stdout.split())
    assert again < 500
    assert after < inside - 7000
