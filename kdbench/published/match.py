"""Published figures beside a run's rows: where data, networks and method are the same, flagged where rules differ."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from kdbench.published.figure import OPTIMISM, RULES, Published, published, sources
from kdbench.spec import TEACHER, Pair

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from kdbench.records import Run

PUBLISHED = "published"
"""The column of the figure itself; those beside it begin with its name."""

PUBLISHED_RULE = (
    "published: accuracy that others report of eager networks, for the same data set, teacher, student and method; the "
    "note says where"
)
FLAGGED_RULE = "published under other rules than ours, which the note names: not like with like"

_COPIES = {"cifar10-jpeg": "CIFAR-10"}
"""Data sets made from another by a lossy encoding, whose figures are not theirs."""

_VALIDATED = "ours learns from nine tenths of the training items and validates on the others, theirs from all"
"""All of the literature's trainings that are listed use every training item; ours never do (``data.splits``)."""

_HARMLESS = ("teacher", "student", "data", "name", "student_recipe")
"""What may stand in a pair without making it another one; a recipe's kind and epochs are compared by themselves."""


@dataclass(frozen=True, slots=True)
class Match:
    """What stands beside the rows of a pair and method: the figure, or NaN and in ``note`` the reason.

    ``published``: accuracy as a fraction, like ours; ``published_spread``: the ± that is printed with it, whatever that
    means there; ``published_rule``: ``last``, ``best`` or ``unknown`` epoch; ``published_epochs``: how long the student
    was trained; ``published_flags``: joined by commas, how their rules differ from ours: ``epoch-rule``, ``recipe``
    (ours is not a reference recipe), ``epochs``, ``options`` (our method has other options than its defaults), ``data``
    (they hold no validation items out).
    """

    published: float = math.nan
    published_spread: float = math.nan
    published_rule: str = ""
    published_epochs: float = math.nan
    published_source: str = ""
    published_url: str = ""
    published_flags: str = ""
    published_note: str = ""


COLUMNS = tuple(field.name for field in fields(Match))
"""The columns that ``beside`` adds."""


def beside(rows: pd.DataFrame, runs: Sequence[Run]) -> pd.DataFrame:
    """``rows``, a ``frame.summary`` of ``runs``, with ``COLUMNS``: what is published for each row's pair and method."""
    known = {(run.id, pair, method): match for run in runs for (pair, method), match in matches(run).items()}
    keys = zip(rows["run"], rows["pair"], rows["method"], strict=True)
    found = [known.get(key, Match()) for key in keys]
    return rows.assign(**{column: [getattr(match, column) for match in found] for column in COLUMNS})


def matches(run: Run) -> dict[tuple[str, str], Match]:
    """What is published for each pair and method of a run, by the pair's id and the method's name in tables."""
    pairs = {f"{pair['data']}:{pair['name']}": pair for pair in run.suite["pairs"]}
    methods = {TEACHER: {"use": TEACHER, "options": {}}, **{method["label"]: method for method in run.suite["methods"]}}
    met = dict.fromkeys((record.pair, record.method) for record in run.records)
    return {
        (pair, label): _match(pairs[pair], methods[label], _recipe(run, pairs[pair], label))
        for pair, label in met
        if pair in pairs and label in methods
    }


def _recipe(run: Run, pair: Mapping[str, Any], label: str) -> dict[str, Any]:
    recipes = run.suite["recipes"]
    return dict(recipes["teacher"]) if label == TEACHER else recipes["student"] | pair.get("student_recipe", {})


def _match(pair: Mapping[str, Any], method: Mapping[str, Any], recipe: Mapping[str, Any]) -> Match:
    of_pair = _of_pair(pair)
    if isinstance(of_pair, str):
        return _none(of_pair)
    # Our own rule first; sorting is stable, so that the authors' figure leads among the others.
    figures = sorted(
        (found for found in of_pair if found.method == method["use"]), key=lambda found: found.rule != "last"
    )
    if not figures:
        return _none("none of a method of your own" if ".py:" in method["use"] else "none of this method for this pair")
    figure, others = figures[0], figures[1:]
    aware = {"qat_epochs": qat} if (qat := method.get("qat_epochs")) else {}
    differs = _differences(figure, method["options"] | aware, recipe)
    return Match(
        published=round(figure.accuracy / 100, 6),  # 69.09 / 100 is 0.6909000000000001
        published_spread=round(figure.plus_minus / 100, 6),
        published_rule=figure.rule,
        published_epochs=float(figure.epochs or math.nan),
        published_source=figure.source,
        published_url=sources()[figure.source].url,
        published_flags=",".join(differs),
        published_note="; ".join([_told(figure), *differs.values(), *_also(others)]),
    )


def _of_pair(pair: Mapping[str, Any]) -> list[Published] | str:
    """The figures of a pair, or why there are none."""
    data, networks = pair["data"], f"{pair['teacher']}-{pair['student']}"
    of_data = [figure for figure in published() if figure.data == data]
    own = [key for key, value in pair.items() if key not in _HARMLESS and value != _usual(key)]
    if data in _COPIES:
        return f"none of {data}, and those of {_COPIES[data]} are of other pictures"
    if not of_data:
        return f"none of data set {data}"
    if own:
        return f"none of a pair with {', '.join(own)}"
    return [figure for figure in of_data if figure.pair == networks] or f"none of {networks} on {data}"


def _usual(key: str) -> Any:
    return Pair.model_fields[key].get_default() if key in Pair.model_fields else None


def _none(reason: str) -> Match:
    return Match(published_note=f"published: {reason}")


def _differences(figure: Published, options: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, str]:
    """How a figure's rules differ from those of our row: what to say by flag."""
    told = {}
    if figure.rule != "last":
        above = f", usually about {OPTIMISM:g} points below the best" if figure.rule == "best" else ""
        told["epoch-rule"] = f"ours is the last epoch{above}"
    if recipe["kind"] != "reference":
        told["recipe"] = f"ours is a {recipe['kind']} recipe"
    if figure.epochs and figure.epochs != recipe["epochs"]:
        told["epochs"] = f"ours trains for {recipe['epochs']}"
    if options:
        told["options"] = "ours has " + ", ".join(f"{key} = {value}" for key, value in options.items())
    return told | {"data": _VALIDATED}


def _told(figure: Published) -> str:
    parts = [figure.source, RULES[figure.rule]]
    if figure.epochs:
        parts.append(f"{figure.epochs} epochs")
    if not math.isnan(figure.plus_minus):
        parts.append(f"±{figure.plus_minus:.2f}")
    return "published: " + ", ".join(parts) + (f" ({figure.notes})" if figure.notes else "")


def _also(figures: Sequence[Published]) -> list[str]:
    told = [f"{figure.accuracy:.2f} ({figure.source}, {RULES[figure.rule]})" for figure in figures]
    return [f"also {', '.join(told)}"] if told else []
