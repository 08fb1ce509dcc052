"""How long kdbench takes to say something: whole processes, from start to end.

``python benchmarks/startup.py`` runs each command in fresh processes, one after the other in turn, and prints the median
and range of the wall time. The claims: ``kdbench --help`` within 0.3 s; ``kdbench list methods`` and
``pytest --collect-only suites/digits.toml`` within 1 s. Exit code 1 if a median breaks its claim.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from kdbench.machine import libraries, machine

HERE = Path(__file__).parent
CLAIMS = {
    "kdbench --help": 0.3,
    "kdbench list methods": 1.0,
    "pytest --collect-only -q suites/digits.toml": 1.0,
}


def seconds(command: str) -> float:
    """The wall time of one process of the command, which is the one installed beside this Python."""
    program, *words = command.split()
    start = time.perf_counter()
    subprocess.run(
        [str(Path(sys.executable).parent / program), *words], check=True, capture_output=True, cwd=HERE.parent
    )
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15, help="fresh processes of each command")
    given = parser.parse_args()
    for command in CLAIMS:
        seconds(command)  # compiles what was never imported
    times = {command: [] for command in CLAIMS}
    for _ in range(given.runs):
        for command, taken in times.items():
            taken.append(seconds(command))
    rows = [
        {
            "command": command,
            "median_s": round(float(np.median(taken)), 3),
            "min_s": round(min(taken), 3),
            "max_s": round(max(taken), 3),
            "claim_s": CLAIMS[command],
        }
        for command, taken in times.items()
    ]
    result = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine().slug,
        "libraries": libraries(),
        "runs": given.runs,
        "commands": rows,
    }
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "startup.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        print(
            f"{row['command']:<45} {row['median_s']:.2f} s ({row['min_s']:.2f} to {row['max_s']:.2f}), claim {row['claim_s']} s"
        )
    return 0 if all(row["median_s"] <= row["claim_s"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
