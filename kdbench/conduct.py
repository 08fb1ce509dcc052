"""Conducting: stages run in the order of their needs, side by side, each found in the store before it is made."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from kdbench.stage import MODULES, Stage
from kdbench.store import Artefact, Store
from kdbench.worker import Done, Failed, Order, Told
from kdbench.workers import Workers


@dataclass(frozen=True, slots=True)
class Event:
    """What happens in a session, for whoever shows progress.

    ``stage`` is the kind of stage; ``done`` and ``total`` count stages; ``share`` in [0, 1] is how far this one is.
    """

    kind: Literal["found", "started", "told", "made", "failed", "skipped", "measuring"]
    title: str
    stage: str
    done: int
    total: int
    share: float = 0.0
    text: str = ""


LARGEST_PARTY = 16
"""Stages made side by side by one worker at most: all their networks are in its memory."""

Listener = Callable[[Event], None]
Outcome = Artefact | Failed


def conduct(
    stages: Iterable[Stage],
    store: Store,
    jobs: int,
    listen: Listener,
    known: Mapping[str, Outcome] = MappingProxyType({}),
) -> dict[str, Outcome]:
    """The outcome of every stage, and of those they need, by stage id; of some it is ``known`` already.

    What a failed stage fed fails with its status and reason; nothing else stops.

    Raises:
        KdbenchError: no further stage could succeed (the store cannot be written, bad input).
    """
    waiting = _with_needs(stages)
    total = len(waiting)
    ready: list[tuple[Stage, Order]] = []
    running: dict[str, Stage] = {}
    shares: dict[str, float] = {}
    outcomes: dict[str, Outcome] = {}

    def settle(stage: Stage, outcome: Outcome, kind: Literal["found", "made", "failed", "skipped"]) -> None:
        outcomes[stage.id] = outcome
        reason = outcome.reason if isinstance(outcome, Failed) else ""
        listen(Event(kind, stage.title, stage.kind, len(outcomes), total, 1.0, reason))

    with Workers(store, jobs) as workers:
        while waiting or ready or running:
            for stage in [stage for stage in waiting.values() if stage_is_ready(stage, outcomes)]:
                del waiting[stage.id]
                inputs = {name: outcomes[need.id] for name, need in stage.needs.items()}
                broken = next((outcome for outcome in inputs.values() if isinstance(outcome, Failed)), None)
                if broken is not None:
                    settle(stage, Failed(stage.id, broken.status, broken.reason), "skipped")
                    continue
                artefacts = {name: outcome for name, outcome in inputs.items() if isinstance(outcome, Artefact)}
                key = stage.key(artefacts)
                if outcome := known.get(stage.id) or store.get(stage.kind, key):
                    settle(stage, outcome, "failed" if isinstance(outcome, Failed) else "found")
                else:
                    ready.append((stage, Order(stage.id, stage.kind, MODULES[stage.kind], key, stage.spec, artefacts)))
            while ready and workers.free:
                under_way = sum(1 - shares.get(stage.id, 0.0) for stage in running.values() if stage.party)
                party = _party(ready, under_way, jobs)
                workers.start([order for _, order in party])
                taken = {stage.id: stage for stage, _ in party}
                ready = [(stage, order) for stage, order in ready if stage.id not in taken]
                running |= taken
                _tell_of(party, listen, len(outcomes), total)
            for report in workers.reports() if running else ():
                stage = running[report.id]
                if isinstance(report, Told):
                    shares[report.id] = report.done
                    listen(Event("told", stage.title, stage.kind, len(outcomes), total, report.done, report.text))
                    continue
                del running[report.id]
                if isinstance(report, Done):
                    settle(stage, report.artefact, "made")
                else:
                    settle(stage, report, "failed")
    return outcomes


def _party(ready: Sequence[tuple[Stage, Order]], under_way: float, jobs: int) -> list[tuple[Stage, Order]]:
    """What a free worker shall make at once: stages of one party, or one stage where none has a party.

    No more of a party than a worker's share of what is ready and ``under_way``, counted in stages, so that the workers
    end together. Parties are begun before all others, since they last longest.
    """
    parties = [stage.party for stage, _ in ready if stage.party]
    if not parties:
        return [ready[0]]
    most = min(math.ceil((len(parties) + under_way) / jobs), LARGEST_PARTY)
    return [(stage, order) for stage, order in ready if stage.party == parties[0]][:most]


def _tell_of(party: Iterable[tuple[Stage, Order]], listen: Listener, done: int, total: int) -> None:
    for stage, _ in party:
        listen(Event("started", stage.title, stage.kind, done, total))


def stage_is_ready(stage: Stage, outcomes: Mapping[str, Outcome]) -> bool:
    """Whether everything that ``stage`` needs has an outcome."""
    return all(need.id in outcomes for need in stage.needs.values())


def _with_needs(stages: Iterable[Stage]) -> dict[str, Stage]:
    """The stages and all they need, each once, needs first."""
    ordered: dict[str, Stage] = {}

    def visit(stage: Stage) -> None:
        for need in stage.needs.values():
            visit(need)
        ordered.setdefault(stage.id, stage)

    for stage in stages:
        visit(stage)
    return ordered
