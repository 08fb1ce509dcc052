"""Stages: pure functions from a spec and artefacts to files, run once and found again by anyone."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol, cast

from kdbench.store import Artefact, content_key

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from kdbench.party import Position

Tell = Callable[[float, str], None]
"""How a running stage reports: the share done in [0, 1], and a few words such as ``epoch 3/30 loss 0.41``."""

Steps = Callable[[Mapping[str, Any], Mapping[str, Artefact], "Path", Tell], "Generator[Position]"]
"""A stage's run in steps, with the arguments of ``StageModule.run``."""


class StageModule(Protocol):
    """What the module of a stage offers.

    ``VERSION`` is raised by hand whenever the same spec and inputs give other bits; ``LIBRARIES`` are the installed
    packages whose versions decide them; ``CONTENT`` are its files that are made of those bits: later stages are keyed
    by them alone, so that a time written beside them changes no key.
    """

    VERSION: int
    LIBRARIES: tuple[str, ...]
    CONTENT: tuple[str, ...]

    def run(self, spec: Mapping[str, Any], inputs: Mapping[str, Artefact], out: Path, tell: Tell) -> None:
        """Write the artefact's files (no folders) into ``out``. Raises StageError with the status of the case."""
        ...


class PartyModule(StageModule, Protocol):
    """What the module of stages with a ``party`` offers besides.

    ``together(count)`` is a context in which so many stages of one party are run: it gives a function like ``run`` that
    yields a position before each of its steps (``kdbench.party``).
    """

    def together(self, count: int) -> AbstractContextManager[Steps]:
        """The context of ``count`` stages."""
        ...


MODULES = {
    "network": "kdbench.training.network",
    "eager": "kdbench.training.eager",
    "reference": "kdbench.lowering.reference",
    "program": "kdbench.lowering.stage",
    "outputs": "kdbench.devices.outputs",
    "stand-in": "kdbench.lowering.stand_in",
}


def imported(module: str) -> StageModule:
    """The stage module of that name."""
    return cast("StageModule", importlib.import_module(module))


@dataclass(frozen=True)
class Stage:
    """One step of the way of a case: its kind, its spec (JSON-able) and the stages whose artefacts it needs.

    Stages of one ``party`` share work when one worker makes them; what they make is the same either way.
    """

    kind: str
    title: str
    spec: Mapping[str, Any]
    needs: Mapping[str, Stage] = field(default_factory=dict)
    party: str = ""

    @cached_property
    def id(self) -> str:
        """What tells stages of a plan apart before any of them has run."""
        needs = {name: stage.id for name, stage in self.needs.items()}
        return content_key({"kind": self.kind, "spec": self.spec, "needs": needs})

    def key(self, inputs: Mapping[str, Artefact]) -> str:
        """The content key: version, spec, the *content* of the inputs, the libraries that decide the bits."""
        code = imported(MODULES[self.kind])
        return content_key(
            {
                "kind": self.kind,
                "version": code.VERSION,
                "spec": without_place(self.spec),
                "inputs": {name: _content(artefact) for name, artefact in inputs.items()},
                "libraries": {library: version(library) for library in code.LIBRARIES},
            },
        )


def _content(artefact: Artefact) -> dict[str, str]:
    return {name: artefact.files[name] for name in imported(MODULES[artefact.kind]).CONTENT}


def without_place(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with a plug-in known by its file's hash and not by where the file lies."""
    method = spec.get("method")
    if method and method["digest"]:
        return {**spec, "method": {**method, "use": method["use"].rpartition(":")[2]}}
    return dict(spec)
