"""Checkpoints bit by bit: golden hashes on processors that have some, two fresh processes on others."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("golden.py")
GOLDEN = Path(__file__).parent.parent / "golden" / "bits.json"


def fresh():
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_checkpoints_are_the_golden_ones_or_at_least_the_same_in_every_process():
    told = fresh()
    golden = json.loads(GOLDEN.read_text()).get(told["name"])
    if golden is None:
        golden = fresh()
    changed = [name for name, digest in golden["hashes"].items() if told["hashes"].get(name) != digest]
    assert told["version"] == golden["version"], "VERSION was raised: run tests/training/golden.py --write"
    assert not changed, "bits have changed: raise VERSION in kdbench/training/network.py, then golden.py --write"


def test_every_method_has_bits_of_its_own():
    for golden in json.loads(GOLDEN.read_text()).values():
        assert len(set(golden["hashes"].values())) == len(golden["hashes"])
