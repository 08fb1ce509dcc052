"""How long suite digits' lowering takes, every program of it, and where the time goes.

``python benchmarks/lowering.py`` trains the suite's networks into a scratch store, which is not timed, and then conducts
all its program stages on every core, as ``kdbench run digits`` does: export, quantisation, delegation, writing and the proof
of each. The claim: at most 40 s on two cores. Then one student and its teacher are lowered once more to either target in this
process, under cProfile, whose functions of the most own time are listed. Exit code 1 if the claim is broken. Run it on a
machine that does nothing else. ``python benchmarks/lowering.py NAME`` writes ``results/lowering-NAME.json`` instead, to keep
what was before a change.
"""

from __future__ import annotations

import cProfile
import datetime
import json
import pstats
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from kdbench.conduct import conduct
from kdbench.data.named import dataset_named
from kdbench.machine import libraries, machine, usable_cores
from kdbench.plan import Ground, cases_of, stages_of
from kdbench.stage import imported
from kdbench.store import Artefact, Store
from kdbench.suite_file import read_suite, suite_path
from kdbench.training.processor import processor

HERE = Path(__file__).parent
CLAIM_S = 40.0
TOP = 15


def stages() -> tuple[list, list]:
    """The networks and the programs of suite digits, as stages."""
    suite = read_suite(suite_path("digits"))
    data = suite.pairs[0].data
    ground = Ground(
        {data: dataset_named(data).sha256}, dict.fromkeys(("teacher", "student"), processor()), {"host": "none"}
    )
    found = [stages_of(case, suite, ground) for case in cases_of(suite)]
    return [each.network for each in found], [each.program for each in found]


def conducted(wanted: list, store: Store) -> tuple[float, list[Artefact]]:
    """Seconds until all these stages are made, and what they left."""
    start = time.perf_counter()
    outcomes = conduct(wanted, store, usable_cores(), lambda _event: None)
    taken = time.perf_counter() - start
    made = [outcomes[stage.id] for stage in wanted]
    assert all(isinstance(each, Artefact) for each in made), made
    return taken, made


def profiled(programs: list, store: Store) -> list[dict]:
    """The functions of the most own time while a teacher and a student are lowered to every target."""
    module = imported("kdbench.lowering.stage")
    chosen = [programs[0], programs[1], programs[2], programs[-1]]
    networks = [stage.needs["network"] for stage in chosen]
    outcomes = conduct(networks, store, 1, lambda _event: None)
    made = [outcomes[network.id] for network in networks]

    def lower() -> None:
        for stage, network in zip(chosen, made, strict=True):
            with tempfile.TemporaryDirectory() as out:
                module.run(stage.spec, {"network": network}, Path(out), lambda _done, _text: None)

    lower()  # imports, and what is made once a process
    profile = cProfile.Profile()
    profile.runcall(lower)
    stats = pstats.Stats(profile).stats
    rows = sorted(((own, total, calls, where) for where, (_, calls, own, total, _) in stats.items()), reverse=True)
    whole = sum(own for own, *_ in rows)
    return [
        {
            "function": f"{Path(file).parent.name}/{Path(file).name}:{name}" if file != "~" else name,
            "own share": round(own / whole, 4),
            "with what it calls": round(total / whole, 4),
            "calls": calls,
        }
        for own, total, calls, (file, _, name) in rows[:TOP]
    ]


def main() -> int:
    networks, programs = stages()
    with tempfile.TemporaryDirectory(prefix="kdbench-lowering-") as root:
        store = Store(Path(root))
        conducted(networks, store)
        taken, made = conducted(programs, store)
        steps: Counter[str] = Counter()
        for each in made:
            steps.update(each.json("program.json")["seconds"])
        functions = profiled(programs, store)
        sha256 = sorted({each.json("program.json")["sha256"] for each in made})
    here = machine()
    result = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": here.slug,
        "cores": here.cores,
        "libraries": libraries(),
        "programs": len(made),
        "different": len(sha256),
        "seconds": round(taken, 1),
        "claim_s": CLAIM_S,
        "seconds of all workers by step": {name: round(spent, 1) for name, spent in steps.most_common()},
        "profile": functions,
    }
    name = "-".join(["lowering", *sys.argv[1:2]])
    (HERE / "results" / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{len(made)} programs in {taken:.1f} s, claim {CLAIM_S:.0f} s")
    for step, spent in steps.most_common():
        print(f"  {step:<9} {spent:6.1f} s of all workers")
    for row in functions:
        print(f"  {row['own share']:6.1%} {row['with what it calls']:6.1%} {row['calls']:>9,} {row['function']}")
    return 0 if taken <= CLAIM_S else 1


if __name__ == "__main__":
    sys.exit(main())
