"""The distribution of all eigenvalues by stochastic Lanczos quadrature, with error bars.

It shows nothing finer than its bandwidth, which is part of the result.
"""

from dataclasses import dataclass

import numpy as np

from commons.checks import number
from commons.statistics import Interval, mean_interval
from sparse_training.sharpness.base import SymmetricOperator
from sparse_training.sharpness.krylov import Array, Krylov, random_unit


@dataclass(frozen=True, eq=False)
class SpectralDensity:
    """Density of eigenvalues, smoothed by a Gaussian of standard deviation `bandwidth`; its integral is 1.

    grid, mean, low, high: (points,) with a pointwise interval over the probes, at the given confidence. nodes, weights:
    (probes, steps), the quadrature of each probe; unused steps have weight 0. size: number of eigenvalues. hvps:
    products spent.
    """

    grid: Array
    mean: Array
    low: Array
    high: Array
    nodes: Array
    weights: Array
    bandwidth: float
    confidence: float
    size: int
    hvps: int

    def moment(self, power: int) -> Interval:
        """Mean of λ^power over the spectrum; unbiased for power < 2·steps."""
        return mean_interval((self.weights * self.nodes**power).sum(axis=1), self.confidence)


def spectral_density(
    operator: SymmetricOperator,
    *,
    probes: int = 10,
    steps: int = 40,
    bandwidth: float | None = None,
    points: int = 400,
    confidence: float = 0.99,
    seed: int = 0,
) -> SpectralDensity:
    """The spectral density of an operator by stochastic Lanczos quadrature.

    The method is that of Ubaru, Chen & Saad (2017), for networks Ghorbani, Krishnan & Xiao (2019).

    It draws `probes` random starts from `seed` and takes at most `steps` products each. bandwidth: of the smoothing, in
    units of the eigenvalues; None for 1 % of the width of the spectrum. confidence: of the pointwise interval over the
    probes.

    Raises:
        InputError: fewer than 2 probes, 1 step or 2 points, or a bandwidth that is not positive.
    """
    number("probes", probes, at_least=2, integer=True)
    number("steps", steps, at_least=1, integer=True)
    number("points", points, at_least=2, integer=True)
    before = operator.products
    nodes, weights = np.zeros((probes, steps)), np.zeros((probes, steps))
    for probe in range(probes):
        krylov = Krylov(operator, random_unit(operator, seed, "density", probe), steps)
        while krylov.steps < krylov.capacity and not krylov.exhausted:
            krylov.grow()
        ritz = krylov.ritz()
        nodes[probe, : krylov.steps] = ritz.values
        weights[probe, : krylov.steps] = ritz.coordinates[0] ** 2
    used = nodes[weights > 0]
    width = float(used.max() - used.min()) or max(abs(float(used[0])), 1.0)
    sigma = float(number("bandwidth", 0.01 * width if bandwidth is None else bandwidth, above=0))
    grid = np.linspace(used.min() - 4 * sigma, used.max() + 4 * sigma, points)
    bells = np.exp(-(((grid - nodes[..., None]) / sigma) ** 2) / 2) / (sigma * np.sqrt(2 * np.pi))
    curves = (weights[..., None] * bells).sum(axis=1)  # (probes, points)
    bars = [mean_interval(column, confidence) for column in curves.T]
    mean, low, high = (np.array([getattr(bar, end) for bar in bars]) for end in ("mean", "low", "high"))
    hvps = operator.products - before
    return SpectralDensity(grid, mean, np.maximum(low, 0), high, nodes, weights, sigma, confidence, operator.size, hvps)
