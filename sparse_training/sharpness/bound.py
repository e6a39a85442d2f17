"""An upper bound on the largest eigenvalue from the coefficients of a Lanczos run with a random start.

It costs no product, and it holds with a stated probability over the start, for any spectrum.
"""

import numpy as np

from sparse_training.sharpness.krylov import Array


def upper_bound(ritz_values: Array, betas: Array, size: int, share: float, confidence: float) -> float:
    """Probabilistic upper bound on λ_max (van Dorsselaer, Hochstenbach & van der Vorst 2000, theorem 3.1).

    The start b has a component c along the top eigenvector, and p(λ) = Π(λ − θᵢ) makes ‖p(A)b‖ = Πβᵢ; so
    p(λ_max)·|c| ≤ Πβᵢ. A random direction of length `share` in the unit start has |c| ≥ δ with the given confidence,
    whatever is added to it, and λ_max ≤ the root of p(λ) = Πβᵢ/δ to the right of θ₁.

    ritz_values (m,) descending and betas (m,): of m steps without a restart. size: dimension of the space.
    """
    from scipy.special import betaincinv  # scipy.stats takes as long to import as a solve

    top, m = float(ritz_values[0]), len(ritz_values)
    if size == 1 or not betas[-1]:
        return top
    # The squared component of a uniform unit vector of dimension n follows Beta(1/2, (n - 1)/2).
    delta = share * np.sqrt(betaincinv(0.5, (size - 1) / 2, 1 - confidence))
    target = float(np.log(betas).sum() - np.log(delta))
    low, high = 0.0, float(np.exp(target / m)) + 1e-300
    for _ in range(200):  # log p grows with λ, and p(θ₁ + high) ≥ highᵐ
        middle = (low + high) / 2
        above = float(np.log(top - ritz_values + middle).sum()) > target
        low, high = (low, middle) if above else (middle, high)
    return top + high
