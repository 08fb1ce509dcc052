"""A made-up but realistic run: two pairs, a teacher and three methods, three seeds, two targets, one failed case."""

import hashlib
import json
from pathlib import Path

import numpy as np

from kdbench.npz import Items
from kdbench.records import Curve, Machine, Network, Provenance, Record, Run, Speed
from kdbench.spec import Budget, MethodSpec, Pair, Recipe, Suite
from kdbench.store import content_key

N = 360
TARGETS = ("xnnpack-fp32", "xnnpack-int8")
PAIRS = {"digits:resnet8-dscnn": ("resnet8", 0), "digits:resnet20-dscnn": ("resnet20", 2)}
RIGHT = {"scratch": (301, 305, 298), "kd": (325, 331, 326), "fitnet": (312, 317, 313)}
INT8_LOST = {"scratch": (4, 2, 5), "kd": (1, 6, 2), "fitnet": (1, 2, 4), "teacher": (1,)}


def sha(*words):
    return hashlib.sha256(repr(words).encode()).hexdigest()


def suite(**changes):
    recipe = Recipe(kind="fast", epochs=30, batch_size=64, lr=0.05)
    pairs = tuple(Pair(teacher=teacher, student="dscnn", data="digits") for teacher, _ in PAIRS.values())
    return Suite(
        **{
            "name": "made",
            "version": 1,
            "seeds": (0, 1, 2),
            "pairs": pairs,
            "methods": tuple(MethodSpec(label=name, use=name) for name in RIGHT),
            "targets": TARGETS,
            "recipes": {"teacher": recipe, "student": recipe},
            "budgets": {"xnnpack-int8": (Budget(metric="accuracy", op=">=", limit=0.8),)},
            **changes,
        }
    )


def structure(network, target):
    return sha("structure", network, target)


def speed(network, target, median_ms):
    slow = 1 + 0.02 * (target == "xnnpack-int8")
    return Speed(
        structure=structure(network, target),
        device="host",
        runtime="native executorch-1.5.1 x86_64",
        threads=1,
        program_sha256=sha("program", network, target, 0),
        samples=3000,
        process_medians_ms=(median_ms * 0.99, median_ms, median_ms * 1.01 * slow),
        process_ratios=(median_ms / 0.0501, median_ms / 0.05, median_ms / 0.0499),
        metrics={
            "latency_ms": median_ms,
            "latency_p90_ms": median_ms * 1.1,
            "latency_p99_ms": median_ms * 1.4,
            "latency_ref": median_ms / 0.05,
            "load_program_ms": 0.08,
            "load_method_ms": 0.31,
            "first_ms": median_ms * 3,
            "peak_rss_bytes": 600_000 + 4_000_000 * median_ms,
        },
        flags=("noisy",) if (network, target) == ("dscnn", "xnnpack-int8") else (),
    )


SPEEDS = {
    ("resnet8", "xnnpack-fp32"): 0.0812,
    ("resnet8", "xnnpack-int8"): 0.0455,
    ("resnet20", "xnnpack-fp32"): 0.2391,
    ("resnet20", "xnnpack-int8"): 0.1302,
    ("dscnn", "xnnpack-fp32"): 0.00913,
    ("dscnn", "xnnpack-int8"): 0.0106,
}
SIZES = {
    ("resnet8", "xnnpack-fp32"): 313_008,
    ("resnet8", "xnnpack-int8"): 92_416,
    ("resnet20", "xnnpack-fp32"): 1_091_200,
    ("resnet20", "xnnpack-int8"): 298_752,
    ("dscnn", "xnnpack-fp32"): 12_416,
    ("dscnn", "xnnpack-int8"): 10_880,
}


def record(pair, method, target, seed):
    teacher, bonus = PAIRS[pair]
    taught = method != "teacher"
    network = "dscnn" if taught else teacher
    eager = (RIGHT[method][seed] + bonus * (method != "scratch") if taught else 357) / N
    accuracy = eager - (INT8_LOST[method][seed] / N if target == "xnnpack-int8" else 0)
    size = SIZES[network, target]
    timing = speed(network, target, SPEEDS[network, target])
    metrics = {
        "accuracy": round(accuracy * N) / N,
        "accuracy_eager": eager,
        "accuracy_drop": (round(eager * N) - round(accuracy * N)) / N,
        "flips": 6 / N if target == "xnnpack-int8" else 0.0,
        "agreement": round(accuracy * N - 1) / N if taught else None,
        "kl_teacher": 0.4 - 0.1 * (method == "kd") + 0.01 * seed if taught else None,
        "ece": 0.031,
        "params": 506.0 if network == "dscnn" else 77_850.0,
        "macs": 15_120.0 if network == "dscnn" else 1_250_000.0,
        "size_bytes": float(size),
        "download_bytes": float(size * 3 // 4 + seed),
        "weight_bytes": float(size // 2),
        "arena_bytes": 4_096.0,
        "delegated": 1.0,
        "quantized_share": float(target == "xnnpack-int8"),
        **timing.metrics,
        "train_s": 2.5 + 0.25 * seed,
        "student_steps": 480.0,
        "student_forwards": 30_720.0,
        "teacher_forwards": 30_720.0 * (taught and method != "scratch"),
        "own_forwards": 0.0,
        "backwards": 30_720.0,
    }
    return Record(
        case=f"{pair}/{method}/{target}/s{seed}/host",
        pair=pair,
        teacher=teacher,
        student="dscnn",
        method=method,
        options={},
        seed=seed,
        target=target,
        device="host",
        checkpoint_sha256=sha("checkpoint", pair if taught else teacher, method, seed),
        program_sha256=sha("program", pair if taught else teacher, method, target, seed),
        structure=structure(network, target),
        metrics=metrics,
        reasons={} if taught else {"agreement": "the teacher is not compared with itself"},
        details={"test_items": N, "quality": "accuracy"},
    )


def failed(whole, status="crashed", reason="signal 11 (SIGSEGV)"):
    return whole.model_copy(
        update={"status": status, "reason": reason, "program_sha256": "", "structure": "", "metrics": {}, "reasons": {}}
    )


def run(*, broken=True, **changes):
    records = []
    for pair in PAIRS:
        for method, seeds in (("teacher", (0,)), *((method, (0, 1, 2)) for method in RIGHT)):
            for seed in seeds:
                for target in TARGETS:
                    whole = record(pair, method, target, seed)
                    bad = broken and (pair, method, target, seed) == (next(iter(PAIRS)), "fitnet", TARGETS[1], 1)
                    records.append(failed(whole) if bad else whole)
    table = suite().model_dump(mode="json")
    machine = Machine(
        slug="amd-epyc-linux-x86-64",
        fingerprint=sha("machine"),
        system="Linux",
        architecture="x86_64",
        cpu="AMD EPYC",
        cores=2,
        memory_bytes=8 << 30,
        simd="AVX2",
        python="3.11.9",
    )
    network = Network(
        checkpoint_sha256=sha("checkpoint", "digits:resnet8-dscnn", "kd", 0),
        architecture="dscnn",
        recipe_sha256=sha("recipe"),
        teacher_sha256=sha("checkpoint", "resnet8", "teacher", 0),
        curves=(Curve(name="validation_accuracy", values=(0.1, 0.7, 0.9)),),
        steps=480,
        seconds=2.5,
        device="cpu",
        threads=1,
        precision="fp32",
    )
    facts = {
        "id": "20261124T040506Z-00ab",
        "suite": table,
        "suite_sha256": content_key(table),
        "partial": False,
        "records": tuple(records),
        "networks": (network,),
        "speeds": tuple(speed(*key, median) for key, median in SPEEDS.items()),
        "provenance": Provenance(
            kdbench="0.1.0",
            commit="0123456789abcdef0123456789abcdef01234567",
            dirty=False,
            libraries={"torch": "2.13.0", "executorch": "1.5.1", "torchao": "0.18.0"},
            machine=machine,
            started="2026-11-24T04:02:00+00:00",
            finished="2026-11-24T04:05:06+00:00",
            command=("kdbench", "run", "made"),
        ),
        **changes,
    }
    return Run(**facts)


STANDARD = {"digits:resnet8-dscnn": ("resnet56", "resnet20"), "digits:resnet20-dscnn": ("vgg13", "mobilenetv2")}
"""The pairs of ``standard_run`` by those of ``run``."""


def standard_run(*, kind="reference", epochs=240, data="cifar100", options=None, **pair):
    """The made-up run as one of two standard pairs, with ``dkd`` for ``fitnet``, a fifth of all items less right.

    ``options``: of the methods by name; ``pair``: more keys of each pair.
    """
    recipe = Recipe(kind=kind, epochs=epochs, batch_size=64, lr=0.05)
    table = suite(
        name="standard",
        pairs=tuple(Pair(teacher=t, student=s, data=data, **pair) for t, s in STANDARD.values()),
        methods=tuple(
            MethodSpec(label=name, use=name, options=(options or {}).get(name, {})) for name in ("scratch", "kd", "dkd")
        ),
        recipes={"teacher": recipe, "student": recipe},
    ).model_dump(mode="json")
    records = []
    for rec in run().records:
        teacher, student = STANDARD[rec.pair]
        name, method = f"{data}:{teacher}-{student}", {"fitnet": "dkd"}.get(rec.method, rec.method)
        less = {key: rec.metrics[key] - 0.2 for key in ("accuracy", "accuracy_eager") if key in rec.metrics}
        facts = {"pair": name, "teacher": teacher, "student": student, "method": method}
        case = rec.case.replace(f"{rec.pair}/{rec.method}", f"{name}/{method}")
        records.append(rec.model_copy(update={**facts, "case": case, "metrics": rec.metrics | less}))
    return run(suite=table, suite_sha256=content_key(table), records=tuple(records))


def budgeted(whole, *budgets):
    """The run under these budgets for xnnpack-int8."""
    return whole.model_copy(update={"suite": suite(budgets={"xnnpack-int8": budgets}).model_dump(mode="json")})


def with_record(whole, case, **changes):
    """The run with changes to one case; ``metrics`` are laid over the case's."""
    assert any(rec.case == case for rec in whole.records)
    return whole.model_copy(
        update={"records": tuple(_changed(rec, changes) if rec.case == case else rec for rec in whole.records)}
    )


def _changed(rec, changes):
    metrics = rec.metrics | changes.get("metrics", {})
    return rec.model_copy(update={**changes, "metrics": metrics})


def samples(whole):
    return {f"{s.structure[:12]}/host/0": np.arange(1, 2001, dtype=np.int64) * 4 for s in whole.speeds}


def items(whole):
    generator = np.random.default_rng(0)
    return {case: Items(generator.integers(0, 10, N), correct) for case, correct in right(whole).items()}


def with_programs(whole, store):
    """The run with programs that are in ``store``: files of the size that each structure's first record says."""
    records = []
    for rec in whole.records:
        records.append(rec)
        if rec.structure:
            data = (rec.program_sha256 * 20_000).encode()[: int(rec.metrics["size_bytes"])]
            digest = hashlib.sha256(data).hexdigest()
            if store.find("program", "program.pte", digest) is None:
                with store.making("program", digest, {}, {}) as out:
                    (out / "program.pte").write_bytes(data)
            records[-1] = rec.model_copy(update={"program_sha256": digest})
    return whole.model_copy(update={"records": tuple(records)})


def right(whole):
    """Which items the program of each case has right: as many as its accuracy says."""
    bits = {}
    for rec in whole.records:
        if rec.status == "ok":
            share = rec.metrics["accuracy"]
            bits[rec.case] = np.random.default_rng(1).permutation(N) < round(share * N)
    return bits


def on_disk(folder, whole):
    """``whole`` as a scratch run of the results folder ``folder``."""
    from kdbench.results import save

    return save(whole, samples(whole), items(whole), folder)


def table(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


FIXTURES = Path(__file__).parent / "fixtures"
GOLDEN = Path(__file__).parent / "golden" / "tables"
RENDERED = {
    "terminal-120.txt": ("terminal", {"width": 120}),
    "terminal-80.txt": ("terminal", {"width": 80}),
    "markdown.md": ("markdown", {}),
    "table.csv": ("csv", {}),
    "table.tex": ("latex", {}),
    "table.json": ("json", {}),
    "published.txt": ("terminal", {"width": 120}),
    "published.md": ("markdown", {}),
    "published.csv": ("csv", {}),
    "published.tex": ("latex", {}),
    "published.json": ("json", {}),
}
"""The golden tables; ``published`` ones are of ``standard_run`` with published figures beside it."""


def rendered(name):
    """What the golden file of this name should hold."""
    from kdbench.formats import render, rows_of

    form, options = RENDERED[name]
    published = name.startswith("published")
    return render(rows_of([standard_run() if published else run()], published=published), form, **options)


if __name__ == "__main__":  # writes the golden tables anew; read the diff before you commit it
    for file in RENDERED:
        (GOLDEN / file).write_text(rendered(file), encoding="utf-8")
