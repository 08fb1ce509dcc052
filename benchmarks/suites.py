"""How long suites take: digits from an empty store, quick, and from a warm store; fashion-mnist quick. Measuring included.

``python benchmarks/suites.py`` runs ``kdbench run SUITE`` as a person would, in scratch folders, and prints wall times.
The claims, on two cores: ``digits`` 150 s from an empty store, 45 s from a warm one, 45 s for ``--quick`` from an empty
store; ``fashion-mnist --quick`` 180 s from an empty store. Fashion-MNIST's files lie where ``KDBENCH_DATA`` says. Exit code
1 if a claim is broken. Run it on a machine that does nothing else.
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
CLAIMS = {"digits": 150.0, "digits, warm": 45.0, "digits --quick": 45.0, "fashion-mnist --quick": 180.0}


def seconds(place: Path, *words: str) -> tuple[float, str]:
    """The wall time of one ``kdbench run WORDS`` and the line that says what was made."""
    command = ["run", *words, "--store", str(place / "store"), "--results", str(place / "results")]
    start = time.perf_counter()
    done = subprocess.run(
        [str(Path(sys.executable).parent / "kdbench"), *command], check=True, capture_output=True, text=True
    )
    taken = time.perf_counter() - start
    return taken, next(line for line in done.stdout.splitlines() if line.startswith("trained"))


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="kdbench-suites-") as scratch:
        full, quick, fashion = (Path(scratch) / name for name in ("full", "quick", "fashion"))
        runs = {
            "digits": seconds(full, "digits"),
            "digits, warm": seconds(full, "digits"),
            "digits --quick": seconds(quick, "digits", "--quick"),
            "fashion-mnist --quick": seconds(fashion, "fashion-mnist", "--quick"),
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
        print(f"{name:<21} {taken:6.1f} s, claim {CLAIMS[name]:.0f} s: {made}")
    return 0 if all(taken <= CLAIMS[name] for name, (taken, _) in runs.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
