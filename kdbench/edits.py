"""Edits: what of a suite's pairs, methods and recipes, and of the sources of its methods, changed between two runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kdbench.records import Run

SHOWN = 4
"""As many edits are told one by one."""


def edits_of(base: Run, new: Run) -> list[str]:
    """What was edited, a text each: ``resnet8-dscnn: student_options width 5 -> 6``; the rest of many is counted."""
    found = [*_named(base.suite, new.suite, "pairs", "name"), *_named(base.suite, new.suite, "methods", "label")]
    recipes, others = (suite.get("recipes", {}) for suite in (base.suite, new.suite))
    for kind in ("teacher", "student"):
        found += _changed(recipes.get(kind, {}), others.get(kind, {}), f"the {kind}'s recipe: ")
    found += _changed(base.suite.get("lowering", {}), new.suite.get("lowering", {}), "lowering: ")
    old, now = ({record.method: record.details.get("method_sha256") for record in run.records} for run in (base, new))
    uses = {method["label"]: method["use"] for method in new.suite.get("methods", ())}
    found += [
        f"the source of {uses.get(label, label)}"
        for label in now
        if old.get(label) and now[label] and old[label] != now[label]
    ]
    return found if len(found) <= SHOWN else [*found[: SHOWN - 1], f"{len(found) - SHOWN + 1} more edits of the suite"]


def _named(base: Mapping[str, Any], new: Mapping[str, Any], key: str, name: str) -> Iterable[str]:
    """The edits of tables that both suites have, by their names."""
    old, now = ({(table.get("data"), table.get(name)): table for table in suite.get(key, ())} for suite in (base, new))
    for each in now:
        if each in old:
            yield from _changed(old[each], now[each], f"{each[1]}: ")


def _changed(old: Mapping[str, Any], now: Mapping[str, Any], place: str) -> Iterable[str]:
    """What differs under the keys that both have: what an older kdbench did not write is no edit."""
    for key in now:
        if key not in old or old[key] == now[key]:
            continue
        if isinstance(old[key], dict) and isinstance(now[key], dict):
            for option in sorted(old[key].keys() | now[key].keys()):
                was, is_ = (table[key].get(option, "none") for table in (old, now))
                if was != is_:
                    yield f"{place}{key} {option} {was} -> {is_}"
        else:
            yield f"{place}{key} {old[key]} -> {now[key]}"
