"""Intervals for the few seeds that experiments have, and for proportions: every table and verdict quotes these.

SciPy is imported only when a quantile is asked for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from commons.checks import finite, number, refuse

POWERED = 1.96 + 0.84  # standard errors of an effect that is found in four of five repetitions


@dataclass(frozen=True)
class Interval:
    """An estimate and the ends of its confidence interval; `n` is the number of independent values behind it."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {(self.high - self.low) / 2:.2f} (n={self.n})"

    def signed(self, unit: str, digits: int = 2) -> str:
        """The interval of a difference as text, such as `+1.20 ± 0.40 points (n=5)`."""
        return f"{self.mean:+z.{digits}f} ± {(self.high - self.low) / 2:.{digits}f} {unit} (n={self.n})"


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Mean of independent values and Student's t interval; infinitely wide for a single value.

    Raises:
        InputError: no value, a value that is not finite, or confidence outside (0, 1).
    """
    x = finite("values", values).ravel()
    number("confidence", confidence, above=0, below=1)
    if not len(x):
        refuse("values", values, "a non-empty list of numbers")
    mean = float(x.mean())
    if len(x) == 1:
        return Interval(mean, -math.inf, math.inf, 1)
    from scipy.stats import t

    half = float(t.ppf((1 + confidence) / 2, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)))
    return Interval(mean, mean - half, mean + half, len(x))


def paired_interval(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> Interval:
    """Interval of the mean of first − second, whose entries belong together one by one (the same seed).

    Differences that are all the same, as those of two accuracies on few images often are, tell nothing of their spread.
    Their interval is infinitely wide where so few would all have one sign by chance (2^(1 − n) above 1 − confidence,
    below six of them at 95 %), and has no width where there are more.

    Raises:
        InputError: lengths differ, or as `mean_interval`.
    """
    difference, same = _differences(first, second)
    interval = mean_interval(difference, confidence)
    n = len(difference)
    if not same:
        return interval
    half = math.inf if 2.0 ** (1 - n) > 1 - confidence else 0.0
    return Interval(interval.mean, interval.mean - half, interval.mean + half, n)


def paired_p_value(first: ArrayLike, second: ArrayLike) -> float:
    """Two-sided p-value of the paired t test.

    Where all differences are the same there is no such test, and the p-value is that of the test by signs: 1 if they
    are 0, else 2^(1 − n).
    """
    difference, same = _differences(first, second)
    if same:
        return 2.0 ** (1 - len(difference)) if difference.any() else 1.0
    from scipy.stats import t

    statistic = abs(difference.mean()) / (difference.std(ddof=1) / math.sqrt(len(difference)))
    return float(2 * t.sf(statistic, len(difference) - 1))


def _differences(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.float64], bool]:
    """first − second, and whether all are the same but for the rounding of the subtraction, which is then taken out."""
    a, b = finite("first", first).ravel(), finite("second", second).ravel()
    if len(a) != len(b):
        refuse("second", f"{len(b)} values", f"of the length of first, {len(a)}")
    difference = a - b
    if not len(a) or np.ptp(difference) > 1e-13 * max(np.abs(a).max(), np.abs(b).max()):
        return difference, False
    size = difference[0] if np.abs(difference[0]) > 1e-13 * np.abs(a).max() else 0.0
    return np.full_like(difference, size), True


def seeds_needed(deviation: float, effect: float) -> int:
    """Paired seeds with which a two-sided t test at 5 % finds an effect four times in five, at least 2.

    deviation: standard deviation of the paired differences. n = (2.80 · deviation / effect)², a normal approximation.

    Raises:
        InputError: a deviation below 0, or an effect that is not above 0.
    """
    number("deviation", deviation, at_least=0)
    number("effect", effect, above=0)
    return max(2, math.ceil((POWERED * deviation / effect) ** 2))


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """P-values adjusted for testing all of them (Holm 1979, step-down Bonferroni), in the order given."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def wilson(successes: ArrayLike, trials: ArrayLike, confidence: float = 0.95) -> tuple[NDArray[np.float64], ...]:
    """Low and high ends of Wilson's score interval (1927, eq. 4) for successes out of trials; broadcasts."""
    from scipy.stats import norm

    k, n = np.broadcast_arrays(finite("successes", successes), finite("trials", trials))
    z = float(norm.ppf((1 + number("confidence", confidence, above=0, below=1)) / 2))
    centre = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * np.sqrt(k * (n - k) / n + z * z / 4)
    return np.maximum(centre - half, 0), np.minimum(centre + half, 1)
