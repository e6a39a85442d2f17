"""`Eigenpair`: an eigenvalue with everything needed to believe it or not."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Beside:
    """The second Ritz pair of a solve, from which a solve of a network close by may start beside the first.

    share: its value as a share of the first. vector: (size,).
    """

    share: float
    vector: Tensor


@dataclass(frozen=True, eq=False)
class Eigenpair:
    """An eigenvalue λ and unit eigenvector v of a symmetric operator, with what is known about them.

    value: λ = vᵀHv. vector: (size,). residual: ‖Hv − λv‖, the distance to some eigenvalue at most.
    error: the residual, or ten times residual²/gap where λ₂ is known from elsewhere, plus the measured rounding of
    float32; it is never below 1e-6·|λ| in float32 and 1e-12·|λ| in float64.
    upper_bound: no eigenvalue lies beyond it with probability `confidence` over the random start; nan without one.
    hvps: products H v. gradient_equivalents: all work in gradients, rounding included. converged: whether the
    tolerance is met; `reason` says why or why not. beside: the second Ritz pair of the solve, None where it has none.
    """

    value: float
    vector: Tensor
    residual: float
    error: float
    hvps: int
    gradient_equivalents: float
    converged: bool
    reason: str
    upper_bound: float = float("nan")
    confidence: float = 0.99
    beside: Beside | None = None

    def __str__(self) -> str:
        state = "converged" if self.converged else "NOT CONVERGED"
        return f"{self.value:.6g} ± {self.error:.1g} ({state} after {self.hvps} products: {self.reason})"
