"""The exact metric of θ = m·w, and the reset that redistributes θ over its factors; for NumPy and for torch.

They are the two formulas that training shares with the theory.
"""

from types import ModuleType
from typing import Any

import numpy as np

from commons import refuse


def metric(theta: Any, beta: Any, xp: ModuleType = np) -> Any:
    """√(4θ² + β²) = m² + w², the factor of ∇L under Sign-In; in the dtype of theta, without overflow.

    theta: array of the namespace xp (numpy or torch).   beta: number or array that broadcasts with theta, ≥ 0.
    """
    theta, beta = _pair(theta, beta, xp)
    return xp.hypot(2 * theta, beta)


def reset(theta: Any, beta: Any, xp: ModuleType = np) -> tuple[Any, Any]:
    """The factors (m, w), m > 0, with m·w = θ and m² − w² = β; m·w is within one ulp of θ.

    m = √((√(4θ² + β²) + β)/2) and w = θ/m, in the dtype of theta: nothing cancels, and nothing overflows while 2θ
    does not. The other solution is (−m, −w).

    theta: array of the namespace xp (numpy or torch).   beta: number or array that broadcasts with theta, > 0.

    Raises:
        InputError: beta is not positive.
    """
    theta, beta = _pair(theta, beta, xp)
    if not bool((beta > 0).all()):
        refuse("beta", float(beta.min()), "a positive number")
    m = xp.sqrt(xp.hypot(theta, beta / 2) + beta / 2)
    return m, theta / m


def _pair(theta: Any, beta: Any, xp: ModuleType) -> tuple[Any, Any]:
    """Theta and beta as arrays of xp in theta's floating dtype."""
    if xp is np:
        theta = np.asarray(theta)
        theta = theta if theta.dtype.kind == "f" else theta.astype(np.float64)
        return theta, np.asarray(beta, dtype=theta.dtype)
    return theta, xp.as_tensor(beta, dtype=theta.dtype, device=theta.device)
