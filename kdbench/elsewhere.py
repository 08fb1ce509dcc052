"""Networks trained elsewhere: those in another machine's store, by what was trained, whatever trained it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kdbench.errors import UsageError
from kdbench.stage import MODULES, imported, without_place
from kdbench.store import Artefact, Store, content_key
from kdbench.worker import Failed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kdbench.conduct import Outcome
    from kdbench.stage import Stage

KIND = "network"

_UNSAID = 3
"""The version of trainings that did not say theirs yet."""

LACKING = "not among the networks that --trained names: kdbench train makes it there"


def trained_elsewhere(there: Store, here: Store, networks: Iterable[Stage]) -> dict[str, Outcome]:
    """The networks of stages, and those they need, by stage id: brought from ``there``, which stays as it is.

    A network is what its spec says it is, trained by this kdbench's version of the stage, on any processor and by any
    torch; a student's teacher and start are the very ones that are found. What is not there has failed.

    Raises:
        UsageError: none is there, or one twice.
        MeasureError: the store ``here`` cannot be written.
    """
    known = _Known(there)
    found: dict[str, Artefact] = {}
    outcomes: dict[str, Outcome] = {}

    def visit(stage: Stage) -> None:
        for need in stage.needs.values():
            visit(need)
        if stage.id in outcomes:
            return
        outcomes[stage.id] = Failed(stage.id, "failed", LACKING)
        if all(need.id in found for need in stage.needs.values()):
            inputs = {name: found[need.id].key for name, need in stage.needs.items()}
            alike = known.of(stage, inputs)
            if len(alike) > 1:
                twice = " and ".join(str(one.folder) for one in alike)
                raise UsageError(f"--trained: there are {len(alike)} networks to {stage.title}: {twice}; move one away")
            if alike:
                theirs = {"processor": alike[0].spec["processor"], "recipe": alike[0].spec["recipe"]}
                found[stage.id] = outcomes[stage.id] = here.adopt(alike[0], {**stage.spec, **theirs})

    for stage in networks:
        visit(stage)
    if not found:
        raise UsageError(f"--trained: {there.root} holds none of these networks; kdbench train makes them")
    return outcomes


class _Known:
    """What a store holds, by what was trained. Nothing in it is changed, whatever is wrong with it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys: dict[str, list[str]] = {}
        for manifest in sorted((store.root / KIND).glob("*/*/artefact.json")):
            try:
                what = _what(json.loads(manifest.read_text(encoding="utf-8"))["spec"])
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue  # cut off on its way, or none of ours: the network is lacking
            self._keys.setdefault(what, []).append(manifest.parent.name)

    def of(self, stage: Stage, inputs: Mapping[str, str]) -> list[Artefact]:
        """The whole networks that are what ``stage`` would train from ``inputs``, artefact keys by name."""
        whole = [self._store.whole(KIND, key) for key in self._keys.get(_what(stage.spec), ())]
        return [one for one in whole if one is not None and one.inputs == inputs and _is(stage, one)]


def _is(stage: Stage, network: Artefact) -> bool:
    """Whether a network's files are those of this version of the training, and hold what its spec says."""
    code = imported(MODULES[KIND])
    if not {*code.CONTENT, "network.json"} <= network.files.keys():
        return False
    architecture = network.json("architecture.json")["architecture"]
    version = network.json("network.json").get("version", _UNSAID)
    return bool(version == code.VERSION and architecture == stage.spec["architecture"])


def _what(spec: Mapping[str, Any]) -> str:
    """What a spec says of a network, without what trains it."""
    recipe = {key: value for key, value in spec["recipe"].items() if key != "device"}
    return content_key({**without_place(spec), "recipe": recipe, "processor": ""})
