"""Ranking: which method wins, by how much, and what these seeds could have shown.

Methods of one pair, target and device are compared seed by seed with three rivals: ``scratch``, ``kd`` and the best
reference method, which is chosen by validation accuracy, so that the test set judges no choice of its own.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kdbench import stats
from kdbench.errors import UsageError
from kdbench.likeness import apart
from kdbench.measures.metric import METRICS
from kdbench.spec import TEACHER, Tuned

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kdbench.records import Record, Run

CONTROLS = frozenset({"scratch", "label-smoothing", "longer-scratch", "random-teacher"})
"""Methods that show what a result would be without a teacher's knowledge; never the best reference."""

LEVEL = 0.05
"""How often the comparisons of one pair and rival, all true differences being nothing, may say that there is one."""

POWER = 0.8
"""How often the smallest lead that is named would have been shown."""

MIN_SEEDS = 3
"""From how many paired seeds on a lead is tested."""


@dataclass(frozen=True, slots=True)
class Lead:
    """How far a method is ahead of a rival, over the seeds that both have; in quality, more being better.

    ``interval``: of the mean, 95 %, Student's t, not corrected. ``p``: two-sided, paired t, and ``adjusted`` for all
    methods that are compared with this rival (Holm); both NaN below ``MIN_SEEDS``. ``detectable``: the smallest lead
    that these seeds would have shown, and ``seeds`` how many would show the lead that was asked for (None: over 1,000).
    """

    rival: str
    n: int
    interval: stats.Interval
    p: float
    adjusted: float
    detectable: float
    seeds: int | None

    @property
    def shown(self) -> bool:
        """Whether there is a difference beyond chance."""
        return self.adjusted <= LEVEL


@dataclass(frozen=True, slots=True)
class Standing:
    """A method among its rivals: its quality by seed, what it validated at, what it cost, and its leads by rival.

    ``agreement``: with the teacher's predictions; ``cost``: training time over that of ``kd``; NaN where unknown.
    ``tuned``: how its options were searched, empty where they were not.
    """

    method: str
    use: str
    quality: Mapping[int, float]
    failed: int
    validation: float
    agreement: float
    cost: float
    leads: Mapping[str, Lead]
    tuned: str = ""

    @property
    def mean(self) -> float:
        """The mean quality over the seeds that ended well; NaN without any."""
        return math.fsum(self.quality.values()) / len(self.quality) if self.quality else math.nan


@dataclass(frozen=True, slots=True)
class Ranking:
    """The methods of one pair, target and device, the best mean first. ``rivals`` are those that are there.

    ``best``: the label of the best reference method; empty where there is none, or none that says how it validated.
    ``wanted``: the lead that ``Lead.seeds`` is about. ``machine``: where the students were trained.
    """

    runs: tuple[str, ...]
    suite: str
    version: int
    pair: str
    target: str
    device: str
    metric: str
    wanted: float
    standings: tuple[Standing, ...]
    best: str
    machine: str = ""

    @property
    def rivals(self) -> tuple[str, ...]:
        """``scratch``, ``kd`` and the best reference, as far as they are there, each once."""
        labels = [standing.method for standing in self.standings]
        return tuple(dict.fromkeys(name for name in ("scratch", "kd", self.best) if name in labels))


def rankings(runs: Sequence[Run], wanted: float = 0.005) -> list[Ranking]:
    """The ranking of every pair, target and device of the runs, which add their methods to each other.

    A case that several runs have is that of the last one. ``wanted``: the lead in quality of which ``Lead.seeds`` tells
    how many seeds would show it.

    Raises:
        UsageError: runs of one suite that do not compare, or none with a student.
    """
    _check_alike(runs)
    cases: dict[tuple[str, str], tuple[Run, Record]] = {
        (run.name, record.case): (run, record) for run in runs for record in run.records if record.method != TEACHER
    }
    groups: dict[tuple[str, str, str, str], list[tuple[Run, Record]]] = defaultdict(list)
    for run, record in cases.values():
        groups[run.name, record.pair, record.target, record.device].append((run, record))
    if not groups:
        raise UsageError("the runs hold no students, so there is nothing to rank")
    return [_ranking(group, wanted) for group in groups.values()]


def _check_alike(runs: Sequence[Run]) -> None:
    first: dict[str, Run] = {}
    for run in runs:
        known = first.setdefault(run.name, run)
        why = apart(known.suite, run.suite)
        if not why and known.suite.get("recipes") != run.suite.get("recipes"):
            why = "their recipes differ"
        if why:
            raise UsageError(f"runs {known.id} and {run.id} cannot be ranked together: {why}")


def _ranking(group: Sequence[tuple[Run, Record]], wanted: float) -> Ranking:
    run, record = group[0]
    by_method: dict[str, list[tuple[Run, Record]]] = defaultdict(list)
    for each in group:
        by_method[each[1].method].append(each)
    metric = record.quality
    bare = [_standing(method, cases, metric) for method, cases in by_method.items()]
    known = [one for one in bare if one.use not in CONTROLS and ":" not in one.use and not math.isnan(one.validation)]
    sign = 1 if metric not in METRICS or METRICS[metric].better == "higher" else -1
    best = max(known, key=lambda one: sign * one.validation).method if known else ""
    items = max(record.test_items for _, record in group)
    resolution = 1 / items if items and metric == "accuracy" else 0.0
    leads: dict[str, dict[str, Lead]] = {one.method: {} for one in bare}
    for rival in dict.fromkeys(("scratch", "kd", best)):
        against = next((one for one in bare if one.method == rival), None)
        if against is not None:
            for method, lead in leads_on(against, bare, wanted, sign=sign, resolution=resolution).items():
                leads[method][rival] = lead
    standings = [replace(one, leads=leads[one.method]) for one in bare]
    standings.sort(key=lambda one: math.inf if math.isnan(one.mean) else -sign * one.mean)
    ids = tuple(dict.fromkeys(run.id for run, _ in group))
    place = (run.name, int(run.suite["version"]), record.pair, record.target, record.device)
    machine = " + ".join(dict.fromkeys(run.provenance.machine.slug for run, _ in group))
    return Ranking(ids, *place, metric, wanted, tuple(standings), best, machine)


def _standing(method: str, cases: Sequence[tuple[Run, Record]], metric: str) -> Standing:
    """What is known of a method by itself."""
    well = [record for _, record in cases if record.status == "ok" and record.metrics.get(metric) is not None]
    run = cases[0][0]
    spec: Mapping[str, Any] = next((one for one in run.suite.get("methods", ()) if one["label"] == method), {})
    tuned = spec.get("tuned")
    return Standing(
        method=method,
        use=str(spec.get("use", method)),
        quality={record.seed: float(record.metrics[metric] or 0.0) for record in well},
        failed=len(cases) - len(well),
        validation=_mean(validation(run, record) for run, record in cases),
        agreement=_mean(record.metrics.get("agreement") for record in well),
        cost=_mean(record.metrics.get("train_cost") for record in well),
        leads={},
        tuned=Tuned.model_validate(tuned).told(spec["options"]) if tuned else "",
    )


def validation(run: Run, record: Record) -> float | None:
    """The quality at which the student of a case validated in its last epoch; None where its run does not say."""
    network = next((one for one in run.networks if one.checkpoint_sha256 == record.checkpoint_sha256), None)
    curves = network.curves if network else ()
    name = f"validation_{record.quality}"
    return next((curve.values[-1] for curve in curves if curve.name == name and curve.values), None)


def _mean(values: Iterable[float | None]) -> float:
    """The mean of values that are all there; NaN where one is missing, since what is left would be another sample."""
    known = list(values)
    there = [value for value in known if value is not None]
    return math.fsum(there) / len(there) if there and len(there) == len(known) else math.nan


def leads_on(
    rival: Standing, standings: Sequence[Standing], wanted: float, *, sign: int = 1, resolution: float = 0.0
) -> dict[str, Lead]:
    """The lead on ``rival`` of every other method that shares two seeds with it, p-values corrected over all tested.

    ``wanted``: see ``rankings``; ``sign``: -1 where less quality is better; ``resolution``: see ``stats.paired_t``.
    """
    pairs: dict[str, tuple[list[float], list[float]]] = {}
    for one in standings:
        seeds = sorted(one.quality.keys() & rival.quality.keys())
        if one is not rival and len(seeds) > 1:
            pairs[one.method] = [sign * one.quality[s] for s in seeds], [sign * rival.quality[s] for s in seeds]
    tested = [name for name, (mine, _) in pairs.items() if len(mine) >= MIN_SEEDS]
    p = {name: stats.paired_t_p(*pairs[name], resolution) for name in tested}
    adjusted = dict(zip(tested, stats.holm([p[name] for name in tested]).tolist(), strict=True)) if tested else {}
    level = LEVEL / 2 / max(len(tested), 1)  # what Holm asks of the first, on one side
    found = {}
    for name, (mine, theirs) in pairs.items():
        interval = stats.paired_t(mine, theirs, resolution=resolution)
        assert interval is not None  # two seeds at least
        deviation = stats.paired_deviation(mine, theirs, resolution)
        found[name] = Lead(
            rival=rival.method,
            n=len(mine),
            interval=interval,
            p=p.get(name, math.nan),
            adjusted=adjusted.get(name, math.nan),
            detectable=stats.detectable_mean(deviation, len(mine), level, POWER),
            seeds=stats.needed(deviation, wanted, level, POWER),
        )
    return found
