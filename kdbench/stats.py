"""Statistics: pure functions on arrays. Whatever draws random numbers is handed its generator."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the ends of its confidence interval."""

    estimate: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval tells the estimate from nothing."""
        return self.low > 0 or self.high < 0


def t_half_width(values: ArrayLike, confidence: float = 0.95) -> float | None:
    """The half-width of Student's t interval for the mean of ``values`` [n]; None below two values.

    Student, "The probable error of a mean", Biometrika 6 (1908).
    """
    array = _vector(values)
    if len(array) < 2:
        return None
    return _t_quantile(len(array) - 1, confidence) * float(array.std(ddof=1)) / math.sqrt(len(array))


def wilson(share: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a proportion ``share`` seen in ``n`` independent items, within [0, 1].

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927), recommended
    for small n by Brown, Cai and DasGupta, Statistical Science 16 (2001).
    """
    if not 0 <= share <= 1 or n < 1:
        raise ValueError(f"no proportion: {share} of {n}")
    z = float(special.ndtri(0.5 + confidence / 2))
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    middle = share + z * z / (2 * n)
    scale = 1 + z * z / n
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def wilson_half_width(share: float, n: int, confidence: float = 0.95) -> float:
    """Half the length of ``wilson``'s interval."""
    low, high = wilson(share, n, confidence)
    return (high - low) / 2


def paired_t(a: ArrayLike, b: ArrayLike, confidence: float = 0.95, resolution: float = 0.0) -> Interval | None:
    """The mean of ``a - b`` over the same seeds [n], with Student's t interval; None below two seeds.

    The deviation is ``paired_deviation``'s.
    """
    difference = _difference(a, b)
    n = len(difference)
    if n < 2:
        return None
    half = _t_quantile(n - 1, confidence) * paired_deviation(a, b, resolution) / math.sqrt(n)
    mean = float(difference.mean())
    return Interval(mean, mean - half, mean + half)


def paired_deviation(a: ArrayLike, b: ArrayLike, resolution: float = 0.0) -> float:
    """The standard deviation of ``a - b`` over the same seeds [n >= 2].

    ``resolution`` is the step in which ``a`` and ``b`` can differ, one test item for an accuracy. The deviation is
    never taken for less than the rounding of both values alone gives, resolution / sqrt(6) (Sheppard's correction: a
    uniform error has variance step^2 / 12), else two equal differences would prove anything.
    """
    return max(float(_difference(a, b).std(ddof=1)), resolution / math.sqrt(6))


def dominated(points: ArrayLike, better: Sequence[Better]) -> NDArray[np.bool_]:
    """Which rows of ``points`` [n, d] another row beats: at least as good in every column and better in one.

    Equal rows do not dominate each other. A row with a NaN neither dominates nor is dominated.
    """
    array = np.atleast_2d(np.asarray(points, dtype=np.float64))
    if array.shape[1] != len(better):
        raise ValueError(f"{array.shape[1]} columns, but {len(better)} directions")
    costs = array * np.array([-1.0 if side == "higher" else 1.0 for side in better])
    as_good = (costs[:, None, :] <= costs[None, :, :]).all(axis=2)
    better_once = (costs[:, None, :] < costs[None, :, :]).any(axis=2)
    result: NDArray[np.bool_] = (as_good & better_once).any(axis=0)  # no comparison with a NaN holds
    return result


def paired_drop_high(lost: int, gained: int, items: int, confidence: float = 0.95) -> float:
    """The upper end of the one-sided interval for how much a share fell, judged on the same ``items`` before and after.

    ``lost`` of them were right before alone, ``gained`` after alone. Laplace-adjusted Wald: D. G. Bonett and R. M.
    Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on paired data", Journal
    of Educational and Behavioral Statistics 37 (2012).
    """
    fell, rose = (lost + 1) / (items + 2), (gained + 1) / (items + 2)
    error = math.sqrt((fell + rose - (fell - rose) ** 2) / (items + 2))
    return float(fell - rose + special.ndtri(confidence) * error)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """The p-values [n] adjusted for the number of tests: compare them with the level as they are.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).
    """
    p = _vector(p_values)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def mcnemar(lost: int, gained: int) -> float:
    """The exact one-sided p-value that a share fell, judged on the same items before and after.

    ``lost`` of them were right before alone, ``gained`` after alone. Q. McNemar, "Note on the sampling error of the
    difference between correlated proportions or percentages", Psychometrika 12 (1947), by the binomial's own tail.
    """
    return float(special.betainc(lost, gained + 1, 0.5)) if lost else 1.0


def detectable_drop(changed: int, items: int, level: float, power: float = 0.8) -> float:
    """The smallest fall of a share that ``mcnemar`` at this level would have shown with this probability.

    ``changed`` of the items were right on one side alone. R. J. Connor, "Sample size for testing differences in
    proportions for the paired-sample design", Biometrics 43 (1987), without its square of the drop under the root;
    where the drop would be larger than the share that changed, that share is taken to be the drop.
    """
    z = float(special.ndtri(1 - level) + special.ndtri(power))
    share = (changed + 2) / (items + 2)
    return max(z * math.sqrt(share / items), z * z / items)


def paired_t_below(a: ArrayLike, b: ArrayLike, resolution: float = 0.0) -> float:
    """The one-sided p-value that the mean of ``a - b`` over the same seeds [n >= 2] is below zero (Student's t)."""
    difference = _difference(a, b)
    n = len(difference)
    error = paired_deviation(a, b, resolution) / math.sqrt(n)
    mean = float(difference.mean())
    return float(special.stdtr(n - 1, mean / error)) if error else float(mean >= 0)


def paired_t_p(a: ArrayLike, b: ArrayLike, resolution: float = 0.0) -> float:
    """The two-sided p-value that the mean of ``a - b`` over the same seeds [n >= 2] is another than zero."""
    below, above = paired_t_below(a, b, resolution), paired_t_below(b, a, resolution)
    return min(2 * min(below, above), 1.0)


def detectable_mean(deviation: float, n: int, level: float, power: float = 0.8) -> float:
    """The smallest mean of n >= 2 differences that a one-sided t test at this level would have shown so often.

    ``deviation``: of the differences. By the noncentral t: J. Cohen, "Statistical Power Analysis for the Behavioral
    Sciences" (1988), chapter 2.
    """
    apart = float(special.nctdtrinc(n - 1, 1 - power, special.stdtrit(n - 1, 1 - level)))
    return apart * deviation / math.sqrt(n)


def needed(deviation: float, mean: float, level: float, power: float = 0.8, most: int = 1000) -> int | None:
    """From how many differences of this deviation on ``detectable_mean`` is at most ``mean``; None above ``most``."""
    counts = range(2, most + 1)
    place = bisect_left(counts, True, key=lambda n: detectable_mean(deviation, n, level, power) <= mean)
    return counts[place] if place < len(counts) else None


def _t_quantile(freedom: int, confidence: float) -> float:
    return float(special.stdtrit(freedom, 0.5 + confidence / 2))


def _vector(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or np.isnan(array).any():
        raise ValueError("statistics want one row of numbers, none of them NaN")
    return array


def _difference(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    one, other = _vector(a), _vector(b)
    if one.shape != other.shape:
        raise ValueError(f"{len(one)} values cannot be paired with {len(other)}")
    return one - other
