"""Ranks: which method comes where over many pairs, by mean ranks and their critical difference.

Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7 (2006), section 3.2: the methods are
ranked within each pair (equal ones share their ranks), Friedman's test asks whether the mean ranks differ at all, and
Nemenyi's says from which difference on two of them do. Both are the library autorank's.
"""

from __future__ import annotations

import io
import math
import warnings
from collections import defaultdict
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pandas as pd

from kdbench.measures.metric import metric_of
from kdbench.ranking import LEVEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kdbench.ranking import Ranking

MIN_PAIRS = 5
"""From how many pairs on ranks are compared."""

MIN_METHODS = 3
"""From how many methods on: two are compared seed by seed."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """Mean ranks on one target and device, the best (1 is first) first.

    ``mean_ranks``: by method; ``pairs``: those that they are over, as ``SUITE/PAIR``; ``left_out``: the methods that
    not every pair has; ``p``: of Friedman's test; ``critical``: the difference of two mean ranks from which on they
    differ at ``ranking.LEVEL``. ``found`` is what autorank draws.
    """

    target: str
    device: str
    pairs: tuple[str, ...]
    mean_ranks: dict[str, float]
    left_out: tuple[str, ...]
    p: float
    critical: float
    found: Any

    @property
    def differ(self) -> bool:
        """Whether the mean ranks differ beyond chance at all."""
        return self.p <= LEVEL


def can_rank() -> bool:
    """Whether the library that compares ranks is installed (extra ``rank``)."""
    return find_spec("autorank") is not None


def ranks(rankings: Sequence[Ranking]) -> list[Ranks]:
    """The ranks of each target and device that has enough pairs with enough methods in common, the fullest set of them.

    Methods are one where they are called alike. Pairs of one data set are no independent witnesses: a difference that
    is shown over them is shown for that data set.
    """
    fields: dict[tuple[str, str], list[Ranking]] = defaultdict(list)
    for ranking in rankings:
        fields[ranking.target, ranking.device].append(ranking)
    found = (_ranks(*place, field) for place, field in fields.items())
    return [one for one in found if one is not None]


def _ranks(target: str, device: str, field: Sequence[Ranking]) -> Ranks | None:
    known = {
        f"{one.suite}/{one.pair}": {s.method: s.mean for s in one.standings if not math.isnan(s.mean)} for one in field
    }
    common = [method for method in next(iter(known.values())) if all(method in means for means in known.values())]
    if len(known) < MIN_PAIRS or len(common) < MIN_METHODS:
        return None
    higher = metric_of(field[0].metric).better == "higher"
    means = pd.DataFrame({method: [of[method] for of in known.values()] for method in common})
    from autorank import autorank

    # It prints which tests were asked for, and its test for normality, which is not used, warns of equal figures.
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = autorank(means, alpha=LEVEL, order="descending" if higher else "ascending", force_mode="nonparametric")
    placed = result.rankdf["meanrank"].sort_values(kind="stable")
    left_out = tuple(dict.fromkeys(name for of in known.values() for name in of if name not in common))
    mean_ranks = {str(method): float(rank) for method, rank in placed.items()}
    return Ranks(target, device, tuple(known), mean_ranks, left_out, float(result.pvalue), float(result.cd), result)


def told(one: Ranks) -> list[str]:
    """Ranks in two lines: the mean ranks, and what of them is beyond chance."""
    order = ", ".join(f"{method} {rank:.2f}" for method, rank in one.mean_ranks.items())
    lines = [f"mean ranks over {len(one.pairs)} pairs, {one.target} on {one.device}: {order}"]
    p = "<0.001" if one.p < 0.001 else f"{one.p:.3f}"
    if not one.differ:
        return [*lines, f"they do not differ beyond chance (Friedman, p = {p})"]
    apart = [
        f"{better} before {worse}"
        for place, (better, rank) in enumerate(one.mean_ranks.items())
        for worse, other in list(one.mean_ranks.items())[place + 1 :]
        if other - rank > one.critical
    ]
    shown = ", ".join(apart) or "no two of them"
    return [*lines, f"they differ (Friedman, p = {p}), by more than {one.critical:.2f} (Nemenyi): {shown}"]
