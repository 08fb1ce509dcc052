"""Likeness: whether two runs may be compared, what else changed between them, and which programs may run otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kdbench.edits import edits_of
from kdbench.spec import Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kdbench.devices.device import Device
    from kdbench.records import Run


def suspects_of(base: Run, new: Run) -> tuple[str, ...]:
    """What else changed between two runs and may have moved a fact: libraries, suite and methods, machine, commit."""
    before, after = base.provenance, new.provenance
    old, now = dict(before.libraries), dict(after.libraries)
    old |= {"kdbench": before.kdbench, "python": before.machine.python}
    now |= {"kdbench": after.kdbench, "python": after.machine.python}
    names = sorted(old.keys() | now.keys())
    moved = [
        f"{name} {old.get(name, 'none')} -> {now.get(name, 'none')}" for name in names if old.get(name) != now.get(name)
    ]
    moved += edits_of(base, new)
    if before.machine.fingerprint != after.machine.fingerprint:
        moved.append(f"machine {before.machine.slug} -> {after.machine.slug}")
    moved += _boards(base, new)
    if before.commit != after.commit:
        moved.append(f"commit {before.commit[:10] or 'none'} -> {after.commit[:10] or 'none'}")
    elif before.dirty or after.dirty:
        moved.append("uncommitted changes")
    return tuple(moved)


def _boards(base: Run, new: Run) -> list[str]:
    """What changed of devices that are another machine."""
    old, now = ({record.device: record.machine for record in run.records if record.machine} for run in (base, new))
    return [
        f"{device} {key} {old[device].get(key)} -> {now[device].get(key)}"
        for device in sorted(old.keys() & now.keys())
        for key in ("cpu", "cores", "kernel", "governor", "model", "android", "runner_sha256")
        if old[device].get(key) != now[device].get(key)
    ]


SAMPLING = {"processes", "memory_processes", "min_runs", "min_seconds", "max_seconds", "timeout_seconds", "seed"}
"""What of a protocol says how often and how long things are timed: how sure a figure is, not what it is."""


def apart(base: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Why the figures of two suites, as runs hold them, cannot be compared at all; empty where they can."""
    if base["name"] != new["name"]:
        return f"suite {base['name']!r} and suite {new['name']!r} are different suites"
    if base["version"] != new["version"]:
        versions = f"version {base['version']} to {new['version']}"
        return f"suite {base['name']!r} went from {versions}: its figures are no longer comparable"
    # What an older kdbench did not know, it did as is done by default.
    default = Protocol().model_dump(mode="json")
    protocols = default | base.get("protocol", {}), default | new.get("protocol", {})
    keys = sorted((protocols[0].keys() | protocols[1].keys()) - SAMPLING)
    differ = [key for key in keys if _differ(*protocols, key)]
    return f"the measuring protocols differ in {', '.join(differ)}" if differ else ""


def _differ(one: Mapping[str, Any], other: Mapping[str, Any], key: str) -> bool:
    return bool(one.get(key) != other.get(key))


def met_structures(base: Run, new: Run) -> dict[tuple[str, str, str], str]:
    """Which structure stands where another stood: (old structure, new structure, device), and the first such case."""
    old = {record.case: record.structure for record in base.records}
    met: dict[tuple[str, str, str], str] = {}
    for record in new.records:
        known = old.get(record.case)
        if known and record.structure:
            met.setdefault((known, record.structure, record.device), record.case)
    return met


def moved_structures(base: Run, new: Run) -> dict[tuple[str, str, str], str]:
    """The programs whose speed or memory may have changed, as ``met_structures``.

    Programs of one structure run alike, whatever their weights; so all others are proven to run as before. A structure
    does not say how a program was written out: one that plans another arena than the base's, or has another size from
    the same checkpoint, was written otherwise. Under another executorch, installed here or in a device's own runner,
    every program may run otherwise.
    """
    met, installed = met_structures(base, new), (run.provenance.libraries.get("executorch") for run in (base, new))
    old, now = runtimes_of(base), runtimes_of(new)
    if len(set(installed)) > 1:
        return met
    changed = {device for device in old.keys() & now.keys() if old[device] != now[device]}
    rewritten = _rewritten(base, new)
    return {key: case for key, case in met.items() if key[0] != key[1] or key[2] in changed or key in rewritten}


def _rewritten(base: Run, new: Run) -> set[tuple[str, str, str]]:
    """The keys of programs that have the base's structure and were written out otherwise."""
    old = {record.case: record for record in base.records}
    pairs = ((old[record.case], record) for record in new.records if record.case in old)
    return {
        (was.structure, now.structure, now.device)
        for was, now in pairs
        if was.structure == now.structure
        and (
            was.metrics.get("arena_bytes") != now.metrics.get("arena_bytes")
            or (
                was.checkpoint_sha256 == now.checkpoint_sha256
                and was.metrics.get("size_bytes") != now.metrics.get("size_bytes")
            )
        )
    }


def runtimes_of(run: Run) -> dict[str, str]:
    """What ran the programs of a run, by device; where it does not say so (an older one), what timed them."""
    return run.runtimes or {speed.device: speed.runtime for speed in run.speeds if speed.runtime}


ONE_RUNTIME = "both on the executorch that is installed"
"""What served both sides of whatever was run."""


def served(runtime: Device | None) -> str:
    """What served both sides where ``runtime``, if any, runs base's programs, in words."""
    if runtime is None:
        return ONE_RUNTIME
    return f"base's by {runtime.runtime}, new ones by the executorch that is installed, processes taking turns"


def speed_note(base: Run, new: Run, judged: int = 0, by: str = ONE_RUNTIME) -> str:
    """What can be said of speed and memory where ``judged`` structures were run ``by`` what, in words."""
    moved = len(moved_structures(base, new))
    others = len(met_structures(base, new)) - max(moved, judged)
    same = f"; {others} others are the base's, so they run alike" if others > 0 else ""
    if judged:
        left = f"; {moved - judged} are on devices that count and cannot time" if moved > judged else ""
        return f"{judged} structures were run beside the base's, {by}{left}{same}"
    if not moved:
        return "speed and memory need no judging: every structure is the base's, on the same executorch"
    return f"speed and memory of {moved} changed structures are not judged{same}"
