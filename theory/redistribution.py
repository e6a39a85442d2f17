"""The exact metric of θ = m·w, and the reset that redistributes θ over its factors; for NumPy and for torch."""

from types import ModuleType
from typing import Any

import numpy as np

from commons import refuse

HALVES = ("float16", "bfloat16")


def metric(theta: Any, beta: Any, xp: ModuleType = np) -> Any:
    """√(4θ² + β²) = m² + w², by which Sign-In multiplies the gradient, in the dtype of theta and without overflow.

    theta: array of the namespace xp (numpy or torch).   beta: number or array that broadcasts with theta, ≥ 0.
    """
    wide, beta = _pair(theta, beta, xp)
    return _rounded(xp.hypot(2 * wide, beta), theta, xp)


def reset(theta: Any, beta: Any, xp: ModuleType = np) -> tuple[Any, Any]:
    """The factors (m, w), m > 0, with m·w = θ and m² − w² = β; m·w is within one ulp of θ.

    m = √((√(4θ² + β²) + β)/2) and w = θ/m, in the dtype of theta. Nothing cancels, and nothing overflows while 2θ does
    not. Two-byte dtypes are computed in float32 and rounded once. The other solution is (−m, −w).

    theta: array of the namespace xp (numpy or torch).   beta: number or array that broadcasts with theta, > 0.

    Raises:
        InputError: beta is not positive; or theta is float16 and beta above 1, where w = θ/m would lose small weights
            below the smallest float16.
    """
    wide, beta = _pair(theta, beta, xp)
    if not bool((beta > 0).all()):
        refuse("beta", float(beta.min()), "a positive number")
    if _name(theta) == "float16" and bool((beta > 1).any()):
        refuse("beta", float(beta.max()), "in (0, 1] for float16 weights", "small ones would be lost; use float32")
    m = _rounded(xp.sqrt(xp.hypot(wide, beta / 2) + beta / 2), theta, xp)
    return m, _rounded(wide / m, theta, xp)


def _pair(theta: Any, beta: Any, xp: ModuleType) -> tuple[Any, Any]:
    """Theta and beta as arrays of xp in the floating dtype to compute in: theta's own, but float32 for two bytes."""
    if xp is np:
        theta = np.asarray(theta)
        theta = theta if theta.dtype.kind == "f" else theta.astype(np.float64)
        theta = theta.astype(np.float32) if _name(theta) in HALVES else theta
        return theta, np.asarray(beta, dtype=theta.dtype)
    theta = theta.float() if _name(theta) in HALVES else theta
    return theta, xp.as_tensor(beta, dtype=theta.dtype, device=theta.device)


def _rounded(value: Any, theta: Any, xp: ModuleType) -> Any:
    """The value in the dtype of theta if that has two bytes, else as it is."""
    if _name(theta) not in HALVES:
        return value
    return value.astype(theta.dtype) if xp is np else value.to(theta.dtype)


def _name(theta: Any) -> str:
    """The name of an array's dtype, such as "float16", the same for NumPy and torch."""
    return str(getattr(theta, "dtype", "")).removeprefix("torch.")
