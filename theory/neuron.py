"""The student a·relu(w·x), the teacher relu(v·x) and their population loss, as SymPy expressions, d = 1 and d > 1.

`sympy.lambdify` turns the expressions into code for NumPy or torch.
"""

from collections.abc import Sequence

import sympy as sp

from theory.flows import Flow

A, W = sp.symbols("a w", real=True)


def relu(x: sp.Expr) -> sp.Expr:
    """max(x, 0), with derivative 0 at 0."""
    return sp.Piecewise((x, x > 0), (0, True))


def loss_positive(a: sp.Expr, w: sp.Expr) -> sp.Expr:
    """Population loss ½E[(a·relu(wx) − relu(x))²], x ~ N(0, 1), on w > 0: ¼(aw − 1)²."""
    return (a * w - 1) ** 2 / 4


def loss_negative(a: sp.Expr, w: sp.Expr) -> sp.Expr:
    """The same loss on w ≤ 0: ¼(a²w² + 1)."""
    return (a**2 * w**2 + 1) / 4


def population_loss(a: sp.Expr = A, w: sp.Expr = W) -> sp.Expr:
    """The d = 1 loss over both half-planes, continuous across w = 0."""
    return sp.Piecewise((loss_positive(a, w), w > 0), (loss_negative(a, w), True))


def gradient(a: sp.Expr = A, w: sp.Expr = W) -> tuple[sp.Expr, sp.Expr]:
    """(∂L/∂a, ∂L/∂w) for d = 1; on w = 0 that of the side w < 0, which is relu'(0) = 0."""
    towards_a = sp.Piecewise(((a * w - 1) * w / 2, w > 0), (a * w**2 / 2, True))
    towards_w = sp.Piecewise(((a * w - 1) * a / 2, w > 0), (a**2 * w / 2, True))
    return towards_a, towards_w


def vector_field(flow: Flow, a: sp.Expr = A, w: sp.Expr = W) -> tuple[sp.Expr, sp.Expr]:
    """(da/dt, dw/dt) of the flow for d = 1: −g_a(a) ∂L/∂a and −g_w(w) ∂L/∂w, or as `Flow` says for sign descent."""
    power = flow.exponent - 1
    drives = [slope if power == 1 else sp.sign(slope) * sp.Abs(slope) ** power for slope in gradient(a, w)]
    return -flow.a.metric_expression(a) * drives[0], -flow.w.metric_expression(w) * drives[1]


def norm(w: Sequence[sp.Expr]) -> sp.Expr:
    """Euclidean norm of real components."""
    return sp.sqrt(sum(x**2 for x in w))


def angle(w: Sequence[sp.Expr], v: Sequence[sp.Expr]) -> sp.Expr:
    """ψ = ∠(w, v) in [0, π] for ‖v‖ = 1, as atan2(‖w − (w·v)v‖, w·v), which keeps its digits at both ends."""
    along = sum(x * y for x, y in zip(w, v, strict=True))
    across = norm([x - along * y for x, y in zip(w, v, strict=True)])
    return sp.atan2(across, along)


def population_loss_nd(a: sp.Expr, w: Sequence[sp.Expr], v: Sequence[sp.Expr]) -> sp.Expr:
    """L = ¼a²‖w‖² − (a‖w‖/2π)(sin ψ + (π − ψ) cos ψ) + ¼ for x ~ N(0, I_d), ‖v‖ = 1, d ≥ 2."""
    n, psi = norm(w), angle(w, v)
    return a**2 * n**2 / 4 - a * n / (2 * sp.pi) * (sp.sin(psi) + (sp.pi - psi) * sp.cos(psi)) + sp.Rational(1, 4)


def gradient_nd(a: sp.Expr, w: Sequence[sp.Expr], v: Sequence[sp.Expr]) -> tuple[sp.Expr, list[sp.Expr]]:
    """(∂L/∂a, [∂L/∂w₁, …, ∂L/∂w_d]) of `population_loss_nd`, for w ≠ 0.

    ∂L/∂w = ½a²w − (a/2π)(sin ψ · w/‖w‖ + (π − ψ) v).
    """
    n, psi = norm(w), angle(w, v)
    towards_a = a * n**2 / 2 - n / (2 * sp.pi) * (sp.sin(psi) + (sp.pi - psi) * sp.cos(psi))
    towards_w = [
        a**2 * x / 2 - a / (2 * sp.pi) * (sp.sin(psi) * x / n + (sp.pi - psi) * y) for x, y in zip(w, v, strict=True)
    ]
    return towards_a, towards_w
