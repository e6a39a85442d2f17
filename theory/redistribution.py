"""The metric of θ = m·w, the reset that redistributes θ over its factors, and the mirror step that needs no factors.

All work on arrays of NumPy and of torch.
"""

import math
from types import ModuleType
from typing import Any

import numpy as np

from commons import refuse

SMALL = 0.5  # |2Δ/β| up to which a mirror step has a simpler form
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


def mirror_step(theta: Any, step: Any, beta: Any, xp: ModuleType = np) -> Any:
    """(β/2) sinh(asinh(2θ/β) + 2Δ/β): the step Δ of any optimizer, made as a mirror step in the hypentropy.

    This is mirror descent under the metric √(1 + 4θ²/β²) (Ghai, Hazan & Singer 2020). A step of 0 leaves θ as it is.
    The error is at most 4 ulp of max(|θ|, |change of θ|): what is computed is the change, in a form in which nothing
    cancels beyond that. Two-byte dtypes are computed in float32 and rounded once.

    theta: array of the namespace xp (numpy or torch).   step: Δ, an array of the same shape.
    beta: number or array that broadcasts with theta, > 0; it is rounded to theta's dtype first.

    Raises:
        InputError: beta is not positive.
    """
    wide, half = _pair(theta, beta, xp)
    half, step = half / 2, _pair(step, beta, xp)[0]
    if not bool((half > 0).all()):
        refuse("beta", float(2 * half.min()), "a positive number")
    s = step / half
    small = bool((abs(s) <= SMALL).all())
    change = _small_turn(wide, s, half, xp) if small else _any_turn(wide, step, s, half, xp)
    tiny = (abs(s) < float(xp.finfo(s.dtype).tiny / xp.finfo(s.dtype).eps)) & (step != 0)
    if bool(tiny.any()):  # a quotient below the normal numbers has lost digits; so short a step is straight
        change = xp.where(tiny, step * (xp.hypot(wide, half) / half), change)
    return _rounded(wide + change, theta, xp)


def _small_turn(theta: Any, s: Any, half: Any, xp: ModuleType) -> Any:
    """θ(cosh s − 1) + √(θ² + half²) sinh s, for |s| ≤ SMALL, where the second term is the larger one."""
    return xp.sinh(s) * (xp.hypot(theta, half) + theta * xp.tanh(s / 2))


def _any_turn(theta: Any, step: Any, s: Any, half: Any, xp: ModuleType) -> Any:
    """The same for every s: with t = ±s, whose sign is relative to θ, |θ| changes by |θ|(eᵗ − 1) + ρ sinh t.

    ρ = √(θ² + half²) − |θ|, and both terms have one sign. The rounding of s = step/half grows to |s| times itself in
    eˢ; it is found by Dekker's exact product, and corrected.
    """
    size, sign = abs(theta), xp.copysign(xp.ones_like(theta), theta)
    product, (a, b), (c, d) = s * half, _split(s, xp), _split(half, xp)
    error = ((a * c - product) + a * d + b * c) + b * d
    missing = xp.where(abs(s) < 1e3, ((step - product) - error) / half, xp.zeros_like(s))
    rho = half * (half / (xp.hypot(theta, half) + size))
    growth = xp.expm1(sign * s)
    growth = growth + (1 + growth) * sign * missing
    return sign * size * growth + (xp.sinh(s) + xp.cosh(s) * missing) * rho


def _split(value: Any, xp: ModuleType) -> tuple[Any, Any]:
    """A number as the sum of two of half its digits (Veltkamp)."""
    scaled = (2.0 ** (-(-math.log2(2 / float(xp.finfo(value.dtype).eps)) // 2)) + 1) * value
    high = scaled - (scaled - value)
    return high, value - high


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
