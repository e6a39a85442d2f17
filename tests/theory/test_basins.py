"""Exact basins against an independent integrator, known shares, and laws that hold for every chart."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

from commons import InputError
from theory import (
    Chart,
    ChartFlow,
    Flow,
    Identity,
    Power,
    Product,
    SignedPower,
    SignIn,
    Standard,
    fate,
    invariant,
    limit_point,
    margin,
    recovers,
    separatrix,
)

Latent = Callable[[float], tuple[float, float]]
FLOWS = [Standard(), SignIn(1.0, 0.25), SignIn(0.001, 2.0), SignIn(100.0, 0.001), Power(0.75), Power(1.5)]


@dataclass(frozen=True)
class Sinh(Chart):
    def chart(self, u: sp.Expr) -> sp.Expr:
        return sp.sinh(u)


@dataclass(frozen=True)
class Bent(Chart):
    def chart(self, u: sp.Expr) -> sp.Expr:
        return u + sp.tanh(u)


@dataclass(frozen=True)
class Cube(Chart):
    def chart(self, u: sp.Expr) -> sp.Expr:
        return u**3


def descends(u_a: float, u_w: float, chart_a: Latent, chart_w: Latent) -> bool:
    """Whether solve_ivp, in latent coordinates, ends in a > 0, w > 0, stopping where a or w first meets 0.

    A latent chart gives (θ, φ′). Time is rescaled by a positive factor, which leaves the orbit as it is.
    """

    def field(_: float, u: np.ndarray) -> list[float]:
        (a, slope_a), (w, slope_w) = chart_a(u[0]), chart_w(u[1])
        residual = a * w - 1 if u_w > 0 else a * w  # the side of the start: it stops at w = 0
        du = -residual * w * slope_a, -residual * a * slope_w
        pace = math.hypot(*du) / math.hypot(*u) + 1e-12 if u_w > 0 else 1.0
        return [du[0] / pace, du[1] / pace]

    def turns(_: float, u: np.ndarray) -> float:
        return float(u[0]) if u_a < 0 < u_w else 1.0

    def meets(_: float, u: np.ndarray) -> float:
        return float(u[1]) if u_w > 0 else 1.0

    def learns(_: float, u: np.ndarray) -> float:
        return abs(chart_a(u[0])[0] * chart_w(u[1])[0] - 1) - 0.02 if u_a > 0 and u_w > 0 else 1.0

    if abs(chart_a(u_a)[0] * chart_w(u_w)[0] - 1) < 0.03 and u_w > 0:
        return True
    for event in (turns, meets, learns):
        event.terminal = True  # type: ignore[attr-defined]
    events = [turns, meets, learns]
    end = solve_ivp(
        field, (0, 60 if u_w > 0 else 10), [u_a, u_w], method="DOP853", rtol=1e-10, atol=1e-13, events=events
    )
    if u_a > 0 and u_w > 0:
        return abs(chart_a(end.y[0, -1])[0] * chart_w(end.y[1, -1])[0] - 1) < 0.03
    return len(end.t_events[0]) == 1


def identity(u: float) -> tuple[float, float]:
    return u, 1.0


def product(beta: float) -> Latent:
    """Arc length is no elementary function: θ itself, with its metric in place of the slope."""
    return lambda theta: (theta, math.hypot(2 * theta, beta))


def starts(rng: np.random.Generator, flow: Flow, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Half of them anywhere, half on a < 0 < w at margins from 1e-6 up, both signs."""
    a, w = rng.uniform(-2, 2, (2, n))
    near = n // 2
    radius = flow.w.radius(rng.uniform(0.2, 1.5, near))
    gap = rng.choice([-1, 1], near) * 10 ** rng.uniform(-6, -2, near) / flow.unit
    target = np.sqrt(np.maximum(radius**2 - gap, 0))
    a[:near], w[:near] = flow.a.weight(-target), flow.w.weight(radius)
    return a, w


@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_recovers_is_a_positive_margin(flow: Flow) -> None:
    a, w = starts(np.random.default_rng(0), flow, 2000)
    assert (recovers(a, w, flow) == (margin(a, w, flow) > 0)).all()


@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_the_invariant_holds_between_start_and_limit(flow: Flow) -> None:
    a, w = np.random.default_rng(1).uniform(-2, 2, (2, 500))
    end_a, end_w = limit_point(a, w, flow)
    inside = recovers(a, w, flow)
    if not isinstance(flow, Power) or flow.p >= 1:
        np.testing.assert_allclose(invariant(end_a, end_w, flow), invariant(a, w, flow), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(end_a[inside] * end_w[inside], 1, rtol=1e-12)
    assert (end_w[inside] > 0).all()
    assert (end_a[~inside] * end_w[~inside] == 0).all()


def test_equal_charts_have_exactly_the_standard_separatrix() -> None:
    w = np.random.default_rng(2).uniform(0.001, 2, 1000)
    for a in (-w, np.nextafter(-w, 0), np.nextafter(-w, -9)):
        for beta in (1e-3, 1.0, 1e2):
            assert (recovers(a, w, SignIn(beta, beta)) == recovers(a, w, Standard())).all()


@pytest.mark.parametrize(("betas", "share"), [((1.0, 0.25), 0.617), ((2.0, 0.001), 0.760), ((1.0, 1.0), 0.500)])
def test_share_of_the_second_quadrant(betas: tuple[float, float], share: float) -> None:
    edges = np.linspace(0, 2, 2001)
    middle = (edges[1:] + edges[:-1]) / 2
    assert recovers(-middle[:, None], middle[None, :], SignIn(*betas)).mean() == pytest.approx(share, abs=6e-4)


@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_the_separatrix_has_margin_zero_and_the_saddle_as_its_limit(flow: Flow) -> None:
    a, w = separatrix(flow, 101, extent=1.5)
    assert (a[0], w[0]) == (0, 0)
    assert max(-a[-1], w[-1]) == pytest.approx(1.5)
    np.testing.assert_allclose(margin(a, w, flow), 0, atol=1e-14)
    assert recovers(a * (1 - 1e-9), w, flow)[1:].all()
    assert not recovers(a * (1 + 1e-9), w, flow)[1:].any()


def test_no_overflow_at_the_ends_of_the_number_line() -> None:
    huge, tiny = 1e300, 1e-300
    for flow in (Standard(), SignIn(1.0, 0.25), SignIn(1e300, 1e-300), SignIn(1e-300, 1e300)):
        assert recovers(-tiny, huge, flow)
        assert not recovers(-huge, tiny, flow)
        assert recovers(tiny, tiny, flow)
        assert not recovers(huge, -tiny, flow)


def test_fates_of_the_standard_quadrants() -> None:
    a, w = np.array([1, -1, 1, -1, -2, -1, 1]), np.array([1, 1, -1, -1, 1, 2, -2])
    expected = ["recovers", "saddle", "saddle", "saddle", "stuck", "recovers", "stuck"]
    assert fate(a, w, Standard()).tolist() == expected


@pytest.mark.parametrize("chart", [Identity(), Product(0.3), SignedPower(0.5), SignedPower(1.5)], ids=str)
def test_closed_forms_are_what_the_chart_implies(chart: Chart) -> None:
    theta = np.array([-3.0, -1.0, -1e-5, 1e-8, 0.3, 2.0])
    derived = chart._derived
    assert derived.exactness == "symbolic"
    assert derived.order == chart.order
    radius = chart.radius(theta)
    np.testing.assert_allclose(derived.metric(theta), chart.metric(theta), rtol=1e-12)
    np.testing.assert_allclose(derived.radius(theta), radius, rtol=1e-12)
    np.testing.assert_allclose(derived.weight(radius), theta, rtol=1e-12)
    np.testing.assert_allclose(derived.stretch(radius), chart.stretch(radius), rtol=1e-12)
    np.testing.assert_allclose(chart.weight(radius), theta, rtol=1e-14)


def test_a_new_chart_says_how_it_was_integrated_and_gives_the_known_answer() -> None:
    symbolic, numeric = ChartFlow(Identity(), Sinh()), ChartFlow(Identity(), Bent())
    assert (symbolic.exactness, numeric.exactness) == ("symbolic", "quadrature")
    theta = np.array([-50.0, -1.0, 1e-6, 0.5, 40.0])
    np.testing.assert_allclose(Sinh().radius(theta), np.sign(theta) * np.sqrt(np.log1p(theta**2)), rtol=2e-12)
    np.testing.assert_allclose(Bent().weight(Bent().radius(theta)), theta, rtol=1e-11)
    rng = np.random.default_rng(3)
    u_a, u_w = -rng.uniform(0, 1.5, 30), rng.uniform(0.1, 1.5, 30)
    sinh = lambda u: (math.sinh(u), math.cosh(u))  # noqa: E731
    bent = lambda u: (u + math.tanh(u), 2 - math.tanh(u) ** 2)  # noqa: E731
    for flow, latent in ((symbolic, sinh), (numeric, bent)):
        found = [descends(a, w, identity, latent) for a, w in zip(u_a, u_w, strict=True)]
        assert found == recovers(u_a, [latent(u)[0] for u in u_w], flow).tolist()


def test_a_chart_without_slope_at_zero_holds_a_weight_there() -> None:
    flow = ChartFlow(Cube(), Identity())
    assert flow.a.order == 3
    assert not recovers(-0.1, 2.0, flow)
    assert recovers(0.1, 2.0, flow)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SignIn(0.0, 1.0),
        lambda: Power(-1.0),
        lambda: Product(np.nan),
        lambda: recovers(np.nan, 1.0, Standard()),
        lambda: separatrix(Standard(), 1),
        lambda: ChartFlow(Identity(), type("Even", (Chart,), {"chart": lambda self, u: u**2})()).w.order,
    ],
)
def test_mistakes_are_named(make: object) -> None:
    with pytest.raises(InputError):
        make()  # type: ignore[operator]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flow", "latent_a", "latent_w"),
    [
        (Standard(), identity, identity),
        (SignIn(1.0, 0.25), product(1.0), product(0.25)),
        (SignIn(0.001, 1.0), product(0.001), product(1.0)),
        (SignIn(100.0, 0.001), product(100.0), product(0.001)),
    ],
    ids=lambda value: str(value) if isinstance(value, Flow) else "",
)
def test_recovers_agrees_with_an_integrator(flow: Flow, latent_a: Latent, latent_w: Latent) -> None:
    a, w = starts(np.random.default_rng(4), flow, 2000)
    found = [descends(x, y, latent_a, latent_w) for x, y in zip(a, w, strict=True)]
    wrong = np.flatnonzero(np.array(found) != recovers(a, w, flow))
    assert not len(wrong), (a[wrong], w[wrong], margin(a, w, flow)[wrong])


def power(p: float) -> Latent:
    return lambda u: (math.copysign(abs(u) ** p, u), p * abs(u) ** (p - 1) if u else 0.0)


def crosses(a: float, v: float, p: float) -> bool:
    """Whether solve_ivp takes (a, v = |u| of w < 0) to v = 0 with a > 0 left, in time scaled by a positive factor.

    da = −½av^{2p}, dv = −½a²p·v^{2p−1}. For p < 1 the factor a·v^{2p−1} is taken out, so that neither end takes for
    ever; for p ≥ 1 the unscaled flow runs in ln v, which a trajectory that met v = 0 would send to −∞.
    """

    def scaled(_: float, y: np.ndarray) -> list[float]:
        return [-y[1] / 2, -p * y[0] / 2]

    def unscaled(_: float, y: np.ndarray) -> list[float]:
        return [-y[0] * math.exp(2 * p * y[1]) / 2, -(y[0] ** 2) * p * math.exp((2 * p - 2) * y[1]) / 2]

    if p >= 1:
        end = solve_ivp(unscaled, (0, 100), [a, math.log(v)], method="DOP853", rtol=1e-10, atol=1e-13)
        return not (end.success and np.isfinite(end.y).all())
    if a <= 0:
        return False  # the sign of a is kept: da is a multiple of a

    def ends(_: float, y: np.ndarray) -> float:
        return float(min(y))

    ends.terminal = True  # type: ignore[attr-defined]
    end = solve_ivp(scaled, (0, 200), [a, v], method="DOP853", rtol=1e-12, atol=1e-14, events=[ends])
    return bool(end.y[0, -1] > end.y[1, -1])


@pytest.mark.slow
@pytest.mark.parametrize("p", [0.5, 0.75, 0.9, 1.0, 1.5, 2.0])
def test_recovers_agrees_with_an_integrator_for_powers(p: float) -> None:
    rng, flow = np.random.default_rng(5), Power(p)
    a, w = rng.uniform(-2, 2, (2, 2000))
    near = slice(0, 500)  # margins down to 1e-6 on both sides of the crossing's edge
    w[near] = -rng.uniform(0.2, 1.5, 500)
    gap = rng.choice([-1, 1], 500) * 10 ** rng.uniform(-6, -2, 500)
    a[near] = np.sqrt(np.abs(w[near]) ** (2 / p) / p + gap)
    u = np.sign(w) * np.abs(w) ** (1 / p)
    found = [descends(x, y, identity, power(p)) if y > 0 else crosses(x, -y, p) for x, y in zip(a, u, strict=True)]
    wrong = np.flatnonzero(np.array(found) != recovers(a, w, flow))
    assert not len(wrong), (a[wrong], w[wrong], margin(a, w, flow)[wrong])
    assert (np.array(found)[near].any()) == (p < 1)
