"""How long the digits suite takes: from an empty store, quick, and from a warm store, measuring included.

``python benchmarks/suites.py`` runs ``kdbench run digits`` as a person would, in scratch folders, and prints wall times.
The claims, on two cores: 150 s from an empty store, 45 s for ``--quick`` from an empty store, 45 s from a warm one. Exit code
1 if one is broken. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kdbench.machine import libraries, machine

HERE = Path(__file__).parent
CLAIMS = {"cold": 150.0, "warm": 45.0, "quick": 45.0}


def seconds(place: Path, *words: str) -> tuple[float, str]:
    """The wall time of one ``kdbench run digits`` and the line that says what was made."""
    command = ["run", "digits", *words, "--store", str(place / "store"), "--results", str(place / "results")]
    start = time.perf_counter()
    done = subprocess.run(
        [str(Path(sys.executable).parent / "kdbench"), *command], check=True, capture_output=True, text=True
    )
    taken = time.perf_counter() - start
    return taken, next(line for line in done.stdout.splitlines() if line.startswith("trained"))


def main() -> int:
    with (
        tempfile.TemporaryDirectory(prefix="kdbench-full-") as full,
        tempfile.TemporaryDirectory(prefix="kdbench-quick-") as quick,
    ):
        runs = {
            "cold": seconds(Path(full)),
            "warm": seconds(Path(full)),
            "quick": seconds(Path(quick), "--quick"),
        }
    here = machine()
    result = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": here.slug,
        "cores": here.cores,
        "libraries": libraries(),
        "runs": {
            name: {"seconds": round(taken, 1), "claim_s": CLAIMS[name], "made": made}
            for name, (taken, made) in runs.items()
        },
    }
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "suites.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for name, (taken, made) in runs.items():
        print(f"{name:<6} {taken:6.1f} s, claim {CLAIMS[name]:.0f} s: {made}")
    return 0 if all(taken <= CLAIMS[name] for name, (taken, _) in runs.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
