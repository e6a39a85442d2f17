"""The exact population loss of a network of ReLU neurons and a teacher of the same form; for NumPy and for torch.

Student Σᵢ aᵢ relu(wᵢ·x), teacher Σⱼ bⱼ relu(vⱼ·x), x ~ N(0, I_d), L = ½E[(student − teacher)²]. Two neurons at the
angle ψ meet in E[relu(w·x) relu(v·x)] = ‖w‖‖v‖κ(ψ), κ = (sin ψ + (π − ψ) cos ψ)/2π (Cho & Saul 2009, the arc-cosine
kernel of degree 1). Neurons come first and independent networks last: a is (k, ...), w is (k, d, ...), b is (m, ...),
v is (m, d, ...). Sums run over the first axes one term at a time, so that the numbers of a network do not depend on
those beside it.
"""

import math
import operator
from collections.abc import Iterable
from functools import reduce
from types import ModuleType
from typing import Any

import numpy as np

SELF = 1 / 2 - 1 / (2 * math.pi)  # κ(0) − κ(π/2): what a neuron shares with itself beyond what it shares with any other


def network_loss(a: Any, w: Any, b: Any, v: Any, xp: ModuleType = np) -> Any:
    """L, of the shape of the trailing axes: ½Σᵢⱼ cᵢcⱼ‖zᵢ‖‖zⱼ‖κ(ψᵢⱼ) with c = (a, −b) and z = (w, v).

    a, w: the student's, (k, ...) and (k, d, ...).   b, v: the teacher's, (m, ...) and (m, d, ...).   xp: numpy or
    torch, whose arrays they are.
    """
    c, z = xp.concatenate([a, -b]), xp.concatenate([w, v])
    size = _norm(z, xp)
    unit = _unit(z, size, xp)
    _, sine, psi, cosine = _angles(unit[:, None], unit[None, :], 2, xp)
    p = c * size
    overlap = p[:, None] * p[None, :] * (sine + (math.pi - psi) * cosine)
    return _total(_total(overlap)) / (4 * math.pi)


def network_gradient(a: Any, w: Any, b: Any, v: Any, xp: ModuleType = np) -> tuple[Any, Any]:
    """(∂L/∂a, ∂L/∂w), of the shapes of a and w; a neuron with w = 0 has gradient 0, as relu′(0) = 0.

    ∂L/∂wᵢ = (aᵢ/2π) Σⱼ cⱼ(‖zⱼ‖ sin ψᵢⱼ wᵢ/‖wᵢ‖ + (π − ψᵢⱼ) zⱼ), with c, z, the arguments and xp as in `network_loss`.
    """
    c, z = xp.concatenate([a, -b]), xp.concatenate([w, v])
    size, length = _norm(z, xp), _norm(w, xp)
    unit = _unit(w, length, xp)
    _, sine, psi, cosine = _angles(unit[:, None], _unit(z, size, xp)[None, :], 2, xp)  # (k, k + m, ...)
    p = (c * size)[None, :]
    of_a = length * _total(p * (sine + (math.pi - psi) * cosine), 1) / (2 * math.pi)
    along = _total(p * sine, 1)[:, None] * unit
    pull = c[None, :] * (math.pi - psi)
    across = _sum(pull[:, j, None] * z[None, j] for j in range(len(z)))
    of_w = a[:, None] * (along + across) / (2 * math.pi)
    return of_a, xp.where((length > 0)[:, None], of_w, 0.0)


def separate_loss(a: Any, w: Any, b: Any, v: Any, xp: ModuleType = np) -> Any:
    """The same L where student i and teacher i read the same inputs and no other neuron reads them; m = k.

    w and v are given on those inputs alone, (k, s, ...); a, b and xp are as in `network_loss`. With p = a‖w‖ and q =
    b‖v‖ neurons meet in one number only: L = (Σᵢ(pᵢ − qᵢ))²/4π + Σᵢ[½(½ − 1/2π)(pᵢ − qᵢ)² + pᵢqᵢ(½ − κ(ψᵢ))]. Its error
    falls with ψ near the teacher.
    """
    length, size = _norm(w, xp), _norm(v, xp)
    p, q = a * length, b * size
    gap, sine, psi, cosine = _angles(_unit(w, length, xp), _unit(v, size, xp), 1, xp)
    apart = (math.pi * gap - (sine - psi * cosine)) / (2 * math.pi)
    return _total(p - q) ** 2 / (4 * math.pi) + _total(SELF / 2 * (p - q) ** 2 + p * q * apart)


def separate_gradient(a: Any, w: Any, b: Any, v: Any, xp: ModuleType = np) -> tuple[Any, Any]:
    """(∂L/∂a, ∂L/∂w), of the shapes of a and w, with the arguments a, w, b, v and xp as of `separate_loss`.

    It is 0 for a neuron with w = 0.
    """
    length, size = _norm(w, xp), _norm(v, xp)
    unit = _unit(w, length, xp)
    gap, sine, psi, cosine = _angles(unit, _unit(v, size, xp), 1, xp)
    p, q = a * length, b * size
    common = _total(p - q)[None] / (2 * math.pi)
    apart = (math.pi * gap - (sine - psi * cosine)) / (2 * math.pi)
    of_a = length * (common + SELF * (p - q) + q * apart)
    radial = common + SELF * p + q * (1 - sine) / (2 * math.pi)
    of_w = a[:, None] * (radial[:, None] * unit - (b * (math.pi - psi))[:, None] * v / (2 * math.pi))
    return of_a, xp.where((length > 0)[:, None], of_w, 0.0)


def even_covariance(psi: Any, xp: ModuleType = np) -> Any:
    """cov(|X|, |Y|) of standard Gaussians X and Y with correlation cos ψ: (2/π)(sin ψ + (π/2 − ψ) cos ψ − 1).

    It is positive unless ψ = π/2, and the same at π − ψ: |w·x| does not see in which half-plane w lies.
    """
    return 2 / math.pi * (xp.sin(psi) + (math.pi / 2 - psi) * xp.cos(psi) - 1)


def _angles(unit: Any, other: Any, axis: int, xp: ModuleType) -> tuple[Any, Any, Any, Any]:
    """(1 − cos ψ, sin ψ, ψ, cos ψ) of unit vectors whose components lie along axis, exact to rounding at ψ = 0 and π.

    |u − t| = 2 sin(ψ/2) and |u + t| = 2 cos(ψ/2) keep the digits that arccos(u·t) loses.
    """
    pairs = list(zip(_entries(unit, axis), _entries(other, axis), strict=True))
    near = _root(_sum((u - t) ** 2 for u, t in pairs), xp)
    far = _root(_sum((u + t) ** 2 for u, t in pairs), xp)
    psi = xp.where(far > 0, 2 * xp.arctan(near / xp.where(far > 0, far, 1.0)), math.pi)
    return near * near / 2, near * far / 2, psi, (far - near) * (far + near) / 4


def _root(square: Any, xp: ModuleType) -> Any:
    """The square root, whose derivative at 0 is 0 under automatic differentiation."""
    return xp.where(square > 0, xp.sqrt(xp.where(square > 0, square, 1.0)), 0.0)


def _norm(x: Any, xp: ModuleType) -> Any:
    """The Euclidean norm along axis 1."""
    return _root(_total(x * x, 1), xp)


def _unit(x: Any, norm: Any, xp: ModuleType) -> Any:
    """x/‖x‖ of vectors along axis 1, 0 where x is 0."""
    return x / xp.where(norm > 0, norm, 1.0)[:, None]


def _entries(x: Any, axis: int) -> list[Any]:
    """The slices along an axis."""
    return [x[(*(slice(None),) * axis, index)] for index in range(x.shape[axis])]


def _total(x: Any, axis: int = 0) -> Any:
    """The sum along an axis in the order of its entries, whatever the other axes are."""
    return _sum(_entries(x, axis))


def _sum(terms: Iterable[Any]) -> Any:
    return reduce(operator.add, terms)
