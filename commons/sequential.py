"""Intervals and p-values that stay right however often one looks: when to stop paired experiments without peeking.

The assumption is that of the paired t test: differences are independent draws of one normal distribution, whose mean μ
and variance σ² are not known. The likelihood ratio of n differences, with the improper prior 1/σ on σ under both
hypotheses and μ = μ₀ against (μ − μ₀)/σ ~ N(0, g), is

    E_n(μ₀) = r^{−1/2} [(1 + t²/ν) / (1 + t²/(νr))]^{n/2},    ν = n − 1, r = 1 + ng, t² = n (mean − μ₀)² / s².

It is a nonnegative martingale of mean 1 under μ = μ₀, whatever σ is, in the filtration of the differences up to their
common scale (Wang and Ramdas 2025, "Anytime-valid t-tests and confidence sequences for Gaussian means with unknown
variance", arXiv 2310.03722). So, by Ville's inequality, it ever reaches 1/α with probability at most α, and the
intervals {μ₀: E_n(μ₀) < 1/α} all hold μ at once with probability at least 1 − α, at whatever n one looks or stops.
"""

import math
from collections.abc import Sequence

import numpy as np

from commons.checks import finite, number
from commons.statistics import Interval

EFFECT = 1.0
"""g: the variance of the standardized effect that the test is made for; others cost it a few draws more."""


def evidence(values: Sequence[float], mean: float = 0.0, effect: float = EFFECT) -> float:
    """E_n(mean): how many times likelier the values are under another mean than under this one; 1 for n < 2."""
    x = finite("values", values).ravel()
    n = len(x)
    if n < 2:
        return 1.0
    r = 1 + n * effect
    distance = n * (float(x.mean()) - mean) ** 2  # over the spread it is t²/ν
    spread = float(((x - x.mean()) ** 2).sum())
    if distance == 0:
        return math.pow(r, -0.5)
    ratio: float = (spread + distance) / (spread + distance / r)
    return math.pow(r, -0.5) * math.pow(ratio, n / 2)


def sequential_interval(values: Sequence[float], confidence: float = 0.95, effect: float = EFFECT) -> Interval:
    """The mean of the values so far with the interval of the confidence sequence; infinitely wide for few values.

    Raises:
        InputError: no value, a value that is not finite, or confidence outside (0, 1).
    """
    number("confidence", confidence, above=0, below=1)
    x = finite("values", values).ravel()
    n = int(number("number of values", len(x), at_least=1))
    mean = float(x.mean())
    r = 1 + n * effect
    most = ((1 - confidence) ** -2 * r) ** (1 / n)  # of the bracket above, so that E_n = 1/α
    if n < 2 or most >= r:
        return Interval(mean, -math.inf, math.inf, n)
    half = float(np.sqrt((most - 1) / (1 - most / r) * (n - 1) / n) * x.std(ddof=1))
    return Interval(mean, mean - half, mean + half, n)


def sequential_p_value(values: Sequence[float], effect: float = EFFECT) -> float:
    """A p-value of mean 0 that holds at every stopping time: the smallest 1/E_k(0) over all looks k ≤ n, at most 1."""
    return min(1.0, *(1 / evidence(values[:k], effect=effect) for k in range(1, len(values) + 1)))
