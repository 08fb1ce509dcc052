"""Networks trained elsewhere: those in another store, by what was trained, whatever trained it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kdbench.errors import UsageError
from kdbench.stage import MODULES, imported, without_place
from kdbench.store import Artefact, Store, content_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from kdbench.stage import Stage

KIND = "network"


def trained_elsewhere(root: Path, networks: Iterable[Stage], suite: str) -> dict[str, Artefact]:
    """The networks of stages, and those they need, in the store ``root``: by stage id.

    A network is what its spec says it is, trained by this kdbench's version of the stage, on any processor and by any
    torch; a student's teacher and start are the very ones that are found here.

    Raises:
        UsageError: one is not there, or there twice.
    """
    there = _Networks(Store(root))
    found: dict[str, Artefact] = {}
    lacking: dict[str, str] = {}

    def visit(stage: Stage) -> None:
        for need in stage.needs.values():
            visit(need)
        if stage.id in found or stage.id in lacking:
            return
        if any(need.id in lacking for need in stage.needs.values()):
            lacking[stage.id] = stage.title
            return
        alike = there.of(stage, {name: found[need.id].key for name, need in stage.needs.items()})
        if len(alike) > 1:
            raise UsageError(f"{root} has {len(alike)} networks to {stage.title}: {' and '.join(map(_by, alike))}")
        if alike:
            found[stage.id] = alike[0]
        else:
            lacking[stage.id] = stage.title

    for stage in networks:
        visit(stage)
    if lacking:
        total, first = len(found) + len(lacking), next(iter(lacking.values()))
        what = f"{root} lacks {len(lacking)} of {total} networks, such as that to {first}"
        raise UsageError(f"--trained: {what}; kdbench train {suite} --store ... makes them")
    return found


class _Networks:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, list[tuple[str, dict[str, str]]]] = {}
        for manifest in sorted((store.root / KIND).glob("*/*/artefact.json")):
            table = json.loads(manifest.read_text(encoding="utf-8"))
            self._known.setdefault(_what(table["spec"]), []).append((manifest.parent.name, table["inputs"]))

    def of(self, stage: Stage, inputs: Mapping[str, str]) -> list[Artefact]:
        """The whole networks that are what ``stage`` would train from ``inputs``, artefact keys by name."""
        keys = [key for key, fed in self._known.get(_what(stage.spec), ()) if fed == inputs]
        whole = [artefact for key in keys if (artefact := self._store.get(KIND, key)) is not None]
        return [one for one in whole if one.json("network.json").get("version") == imported(MODULES[KIND]).VERSION]


def _what(spec: Mapping[str, Any]) -> str:
    """What a spec says of a network, without what trains it."""
    recipe = {key: value for key, value in spec["recipe"].items() if key != "device"}
    return content_key({**without_place(spec), "recipe": recipe, "processor": ""})


def _by(network: Artefact) -> str:
    facts = network.json("network.json")
    return f"one by {facts['processor']} with torch {facts['torch']}"
