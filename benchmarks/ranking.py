"""Does ``kdbench rank`` say what is true? Its rules where the truth is known (``results/ranking.md``).

``python benchmarks/ranking.py``: fields of eight methods beside ``scratch``, over 3, 5 and 10 paired seeds, whose noise is

- Gaussian;
- real: differences between methods and ``scratch``, seed by seed, of the kept runs of digits and fashion-mnist-full, each
  method's mean taken off (times sqrt(n / (n - 1)), which the taking off costs), drawn with replacement.

Of each it counts how often a field in which no method differs has one that is shown to (claimed: at most 5 %), how often the
95 % interval of a lead holds the true one (claimed: at least 95 %), and how often a method that truly leads by what *could
show* promises of such noise is shown to (claimed for Gaussian noise: 80 %). A claim is broken if a binomial test says so at 1 %.

Last a method that cannot work, KD from a teacher whose answers are shuffled (``examples/shuffled_teacher.py``), is trained
beside ``scratch`` on digits with thirty seeds: three suites of ten seeds each are ranked, and 10,000 choices of three seeds
among the thirty; it may be shown to be ahead in at most 2.5 % of them. Exit code 1 if a claim is broken.
"""

from __future__ import annotations

import datetime
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from kdbench.machine import libraries, machine
from kdbench.ranking import LEVEL, MIN_SEEDS, POWER, Ranking, Standing, leads_on, rankings
from kdbench.records import read_run
from kdbench.results import find_run
from kdbench.stats import detectable_mean, paired_t

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"
FIELDS, METHODS, SEEDS = 1000, 8, (3, 5, 10)
REAL = ("digits", "fashion-mnist-full")
CHANCE = 0.01
"""How often a true claim may be called broken."""


def standing(method: str, quality: np.ndarray) -> Standing:
    return Standing(method, method, dict(enumerate(quality.tolist())), 0, math.nan, math.nan, math.nan, {})


def of_runs() -> dict[str, np.ndarray]:
    """What a method and scratch differ by at a seed, without the method's mean, of the kept runs."""
    found = {}
    for suite in REAL:
        residuals = []
        for ranking in rankings([read_run(find_run(suite, RESULTS))]):
            known = {one.method: one for one in ranking.standings if one.method != "random-teacher"}
            scratch = known.pop("scratch").quality
            for one in known.values():
                shared = sorted(one.quality.keys() & scratch.keys())
                differences = np.array([one.quality[seed] - scratch[seed] for seed in shared])
                if len(shared) >= MIN_SEEDS and np.ptp(differences) < 0.1:  # a collapsed student is no seed noise
                    residuals.append((differences - differences.mean()) * math.sqrt(len(shared) / (len(shared) - 1)))
        found[suite] = np.concatenate(residuals)
    return found


def field(noise: np.ndarray | None, seeds: int, lead: float, generator: np.random.Generator) -> list[Standing]:
    """scratch and methods that differ from it by noise alone; the first of them leads by ``lead``."""
    if noise is None:
        drawn = 0.004 * generator.standard_normal((METHODS, seeds))
    else:
        drawn = generator.choice(noise, (METHODS, seeds))
    scratch = 0.9 + 0.003 * generator.standard_normal(seeds)
    drawn[0] += lead
    return [standing("scratch", scratch), *(standing(f"m{i}", scratch + row) for i, row in enumerate(drawn))]


def simulated(title: str, noise: np.ndarray | None, seeds: int) -> dict[str, object]:
    generator = np.random.default_rng([seeds, len(title)])
    deviation = 0.004 if noise is None else float(noise.std())
    lead = detectable_mean(deviation, seeds, LEVEL / 2 / METHODS, POWER)
    wrong = held = ahead = 0
    for _ in range(FIELDS):
        leads = leads_on((null := field(noise, seeds, 0.0, generator))[0], null, 0.005)
        wrong += any(one.shown for one in leads.values())
        held += sum(one.interval.low <= 0 <= one.interval.high for one in leads.values())
        true = field(noise, seeds, lead, generator)
        first = leads_on(true[0], true, 0.005)["m0"]
        ahead += first.shown and first.interval.estimate > 0
    intervals = FIELDS * METHODS
    return {
        "noise": title,
        "seeds": seeds,
        "lead": lead,
        "wrong": wrong / FIELDS,
        "held": held / intervals,
        "power": ahead / FIELDS,
        "wrong_holds": binomtest(wrong, FIELDS, LEVEL, "greater").pvalue > CHANCE,
        "held_holds": binomtest(held, intervals, 0.95, "less").pvalue > CHANCE,
        "power_holds": binomtest(ahead, FIELDS, POWER).pvalue > CHANCE if noise is None else None,
    }


def shuffled() -> dict[str, object]:
    """The shuffled teacher against scratch on digits, thirty seeds."""
    with tempfile.TemporaryDirectory(prefix="kdbench-ranking-") as folder:
        words = ["-m", "kdbench", "run", "digits", "--seeds", "0-29", "--results", folder]
        words += ["--method", f"{HERE.parent / 'examples' / 'shuffled_teacher.py'}:ShuffledTeacher"]
        words += ["--only", "method=scratch,method=ShuffledTeacher", "--only", "target=xnnpack-fp32"]
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        run = read_run(find_run("digits", Path(folder)))
    three = []
    for start in (0, 10, 20):
        part = run.model_copy(update={"records": tuple(r for r in run.records if start <= r.seed < start + 10)})
        three.append(said(rankings([part])[0]))
    (scratch,) = [one for one in rankings([run])[0].standings if one.method == "scratch"]
    (other,) = [one for one in rankings([run])[0].standings if one.method == "ShuffledTeacher"]
    mine, base = (np.array([one.quality[seed] for seed in range(30)]) for one in (other, scratch))
    generator, ahead, choices = np.random.default_rng(0), 0, 10_000
    for _ in range(choices):
        few = generator.choice(30, 3, replace=False)
        rival = standing("scratch", base[few])
        lead = leads_on(rival, [rival, standing("s", mine[few])], 0.005, resolution=1 / 540)["s"]
        ahead += lead.shown and lead.interval.estimate > 0
    whole = paired_t(mine, base)
    return {
        "three": three,
        "all": {"lead": whole.estimate, "low": whole.low, "high": whole.high},
        "ahead": ahead / choices,
        "holds": binomtest(ahead, choices, LEVEL / 2, "greater").pvalue > CHANCE
        and not any(one["shown"] and one["lead"] > 0 for one in three),
        "differences": (mine - base).tolist(),
    }


def said(ranking: Ranking) -> dict[str, object]:
    (lead,) = [one.leads["scratch"] for one in ranking.standings if one.method == "ShuffledTeacher"]
    half = lead.interval.high - lead.interval.estimate
    return {"seeds": lead.n, "lead": lead.interval.estimate, "half": half, "p": lead.p, "shown": lead.shown}


def table(result: dict[str, object]) -> str:
    lines = [
        "| noise | seeds | one shown where none differs | intervals that hold the truth | true lead | shown |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in result["simulated"]:
        marks = {key: "" if row[f"{key}_holds"] in (True, None) else " (broken)" for key in ("wrong", "held", "power")}
        lines.append(
            f"| {row['noise']} | {row['seeds']} | {row['wrong']:.1%}{marks['wrong']} | {row['held']:.1%}{marks['held']} "
            f"| {row['lead'] * 100:.2f} pt | {row['power']:.0%}{marks['power']} |"
        )
    found = result["shuffled"]
    lines += ["", "A shuffled teacher against scratch on digits, ten seeds each:", ""]
    lines += ["| seeds | lead | p | shown |", "|---|---:|---:|---|"]
    for start, one in zip((0, 10, 20), found["three"], strict=True):
        lead = f"{one['lead'] * 100:+.2f} ±{one['half'] * 100:.2f} pt"
        lines.append(f"| {start} to {start + 9} | {lead} | {one['p']:.3f} | {'yes' if one['shown'] else 'no'} |")
    half = found["all"]["high"] - found["all"]["lead"]
    lines += [
        "",
        (
            f"Over all thirty it leads by {found['all']['lead'] * 100:+.2f} ±{half * 100:.2f} pt. Of 10,000 choices of three "
            f"seeds it is shown to be ahead in {found['ahead']:.1%} (at most {LEVEL / 2:.1%})."
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    noises: dict[str, np.ndarray | None] = {"Gaussian": None, **of_runs()}
    rows = [simulated(title, noise, seeds) for title, noise in noises.items() for seeds in SEEDS]
    result = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": machine().slug,
        "libraries": libraries(),
        "simulated": rows,
        "shuffled": shuffled(),
    }
    (HERE / "results" / "ranking.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    head = f"# Rankings where the truth is known\n\n{result['date']}; {FIELDS:,} fields of {METHODS} methods a row.\n\n"
    (HERE / "results" / "ranking.md").write_text(head + table(result), encoding="utf-8")
    print(table(result), end="")
    held = [row[key] in (True, None) for row in rows for key in ("wrong_holds", "held_holds", "power_holds")]
    return 0 if all(held) and result["shuffled"]["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
