"""Published accuracies: the tables of the literature as data, each figure with its source and its epoch rule.

``cifar100.csv`` and ``imagenet.csv`` hold one figure a line: ``data`` and ``pair`` (TEACHER-STUDENT) as kdbench names
them, so that figures of one data set are never taken for another's; ``method`` by kdbench's name where it has one,
``teacher`` for the teacher's own accuracy; ``accuracy`` on the test set in percent, with the decimals that are printed;
``plus_minus`` in percentage points, where one is printed; ``epoch_rule``; ``epochs`` that the student was trained for,
empty where that is not known; ``source``, a name of ``sources.csv``, which has its address; ``notes``. Of several
figures of one pair and method the one that its authors give comes first.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, cast

Rule = Literal["last", "best", "unknown"]
"""Which epoch a figure is of: the last, as all of kdbench's, the best by accuracy on the test set, or nobody says."""

RULES: dict[Rule, str] = {
    "last": "last epoch",
    "best": "best epoch on the test set",
    "unknown": "which epoch is not said",
}

OPTIMISM = 0.3
"""How far the best epoch on the test set lies above the last, in percentage points: the mean over the 40 CIFAR-100
trainings whose logs the authors of LSKD ship is 0.32, from 0.11 to 0.92."""

_TABLES = ("cifar100.csv", "imagenet.csv")


@dataclass(frozen=True, slots=True)
class Published:
    """One line of a table: accuracies in percent; ``plus_minus`` is NaN and ``epochs`` 0 where there is none."""

    data: str
    pair: str
    method: str
    accuracy: float
    plus_minus: float
    rule: Rule
    epochs: int
    source: str
    notes: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where figures were read and ``what`` that is; ``url`` and the repository's ``commit`` may be empty."""

    name: str
    url: str
    commit: str
    what: str


@cache
def published() -> tuple[Published, ...]:
    """Every published figure, table by table in the order of the files."""
    return tuple(_figure(line) for table in _TABLES for line in _lines(table))


@cache
def sources() -> dict[str, Source]:
    """The sources of the figures by name."""
    return {
        line["source"]: Source(line["source"], line["url"], line["commit"], line["what"])
        for line in _lines("sources.csv")
    }


def _lines(table: str) -> list[dict[str, Any]]:
    text = files("kdbench").joinpath("published", table).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _figure(line: dict[str, Any]) -> Published:
    return Published(
        data=line["data"],
        pair=line["pair"],
        method=line["method"],
        accuracy=float(line["accuracy"]),
        plus_minus=float(line["plus_minus"] or math.nan),
        rule=cast("Rule", line["epoch_rule"]),
        epochs=int(line["epochs"] or 0),
        source=line["source"],
        notes=line["notes"],
    )
