"""Checkpoint hashes of every method in a process of its own, as JSON; with ``--write`` they become the golden ones.

python tests/training/golden.py --write     # after raising VERSION in kdbench/training/network.py, on purpose only
"""

import json
import sys
import tempfile
from pathlib import Path

import torch

from kdbench.catalog import entries, find
from kdbench.data.digits import digits
from kdbench.stage import Stage
from kdbench.store import Store, file_sha256
from kdbench.training import network
from kdbench.training.processor import processor

GOLDEN = Path(__file__).parent.parent / "golden" / "bits.json"
METHODS = sorted(entries("methods"))
RECIPE = {"kind": "fast", "epochs": 2, "batch_size": 64, "lr": 0.05, "augment": ["crop"], "crop_padding": 1}
TEACHER = {"name": "resnet8", "options": {"widths": [4, 4, 8, 16]}}
STUDENT = {"name": "dscnn", "options": {"width": 4, "growth": 2.0}}


def name() -> str:
    return f"{processor()} torch {torch.__version__}"


def spec(method: str, *, role: str = "student", taught: bool = True) -> dict:
    return {
        "role": role,
        "task": "classification",
        "data": {"name": "digits", "sha256": digits().sha256},
        "architecture": TEACHER if role == "teacher" else STUDENT,
        "teacher": TEACHER if taught else None,
        "recipe": RECIPE,
        "method": {"use": method, "options": {}, "digest": ""},
        "seed": 0,
        "processor": processor(),
    }


def trained(store: Store, table: dict, **inputs):
    key = Stage("network", "train", table).key(inputs)
    with store.making("network", key, table, {which: artefact.key for which, artefact in inputs.items()}) as out:
        network.run(table, inputs, out, lambda _done, _text: None)
    return store.get("network", key)


def hashes() -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        teacher = trained(store, spec("scratch", role="teacher", taught=False))
        made = {"teacher": teacher}
        for method in METHODS:
            made_by = find("methods", method).load()
            table = spec(method, taught=made_by.needs_teacher or made_by.weighs_teacher)
            made[method] = trained(store, table, **{"teacher": teacher} if made_by.needs_teacher else {})
        return {method: file_sha256(artefact.path("weights.safetensors")) for method, artefact in made.items()}


if __name__ == "__main__":
    told = {"name": name(), "version": network.VERSION, "hashes": hashes()}
    if "--write" in sys.argv:
        known = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
        known[told["name"]] = {"version": told["version"], "hashes": told["hashes"]}
        GOLDEN.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    print(json.dumps(told))
