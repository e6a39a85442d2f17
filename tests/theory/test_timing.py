"""Times and trajectories against an independent integrator, against each other, and in closed form."""

import math
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from commons import InputError
from theory import (
    HAM,
    Chart,
    ChartFlow,
    Flow,
    Identity,
    LayerRates,
    Power,
    SignedPower,
    SignIn,
    Standard,
    UnitSpeed,
    flip_time,
    invariant,
    limit_point,
    metric,
    recovers,
    time_to_loss,
    trajectory,
)
from theory.invariants import angle_of_product
from theory.roots import increasing_root

TWIN = ChartFlow(Identity(), Identity())  # the standard flow without its closed forms
FLOWS = [Standard(), TWIN, SignIn(1.0, 0.25), SignIn(0.01, 10.0), SignIn(50.0, 0.001), Power(0.75), Power(1.5)]
FLOWS += [LayerRates(1.0, 0.25), UnitSpeed(1.0, 0.25), UnitSpeed(0.01, 1.0)]
FLOWS += [pytest.param(HAM(200.0, 1.0), marks=pytest.mark.slow)]


def loss(a: np.ndarray, w: np.ndarray) -> np.ndarray:
    return np.where(w > 0, (a * w - 1) ** 2, (a * w) ** 2 + 1) / 4


def slopes(flow: Flow) -> tuple[object, object]:
    """The metrics of a and w, written anew."""
    if isinstance(flow, SignIn):
        return (lambda x: math.hypot(2 * x, flow.beta_a)), (lambda x: math.hypot(2 * x, flow.beta_w))
    if isinstance(flow, Power):
        return (lambda x: 1.0), (lambda x: flow.p**2 * abs(x) ** (2 - 2 / flow.p))
    if isinstance(flow, LayerRates):
        return (lambda x: flow.rate_a), (lambda x: flow.rate_w)
    if isinstance(flow, UnitSpeed):
        return (lambda x: math.hypot(1, 2 * x / flow.beta_a)), (lambda x: math.hypot(1, 2 * x / flow.beta_w))
    if isinstance(flow, HAM):
        return (lambda x: 1 + flow.alpha_a * abs(x)), (lambda x: 1 + flow.alpha_w * abs(x))
    return (lambda x: 1.0), (lambda x: 1.0)


def path(a0: float, w0: float, flow: Flow, horizon: float) -> tuple[float, float, float]:
    """(t, a, w) after `horizon` by solve_ivp, or a little before the flow meets w = 0."""
    of_a, of_w = slopes(flow)

    def field(_: float, y: np.ndarray) -> list[float]:
        a, w = y
        residual = a * w - 1 if w > 0 else a * w
        return [-residual * w / 2 * of_a(a), -residual * a / 2 * of_w(w)]  # type: ignore[operator]

    def meets(_: float, y: np.ndarray) -> float:
        return float(abs(y[1]) - 1e-3)

    meets.terminal = True  # type: ignore[attr-defined]
    end = solve_ivp(field, (0, horizon), [a0, w0], method="DOP853", rtol=1e-12, atol=1e-14, events=meets)
    return float(end.t[-1]), float(end.y[0, -1]), float(end.y[1, -1])


@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_trajectory_and_time_to_loss_agree_with_an_integrator(flow: Flow) -> None:
    rng = np.random.default_rng(0)
    for a0, w0 in rng.uniform(-1.5, 1.5, (12, 2)):
        if abs(w0) < 2e-3:
            continue
        t, a, w = path(a0, w0, flow, 2.0 / (1 + getattr(flow, "beta_a", 1.0)))
        np.testing.assert_allclose(trajectory(t, a0, w0, flow), (a, w), atol=1e-9)
        # The loss resolves the time only where it still falls.
        reached = loss(np.array(a), np.array(w))
        if reached > 1e-6 and abs(reached - 0.25) > 1e-3:
            assert time_to_loss(a0, w0, flow, reached) == pytest.approx(t, rel=1e-8)


@pytest.mark.parametrize("target", [0.3, 0.25, 0.2, 1e-3, 1e-12, 1e-28])
def test_quadrature_meets_the_closed_form(target: float) -> None:
    a, w = np.random.default_rng(1).uniform(-2, 2, (2, 400))
    w[:20] = -a[:20]
    w[20:60] = -a[20:60] * (1 + 1e-6 * np.linspace(-1, 1, 40))
    exact = time_to_loss(a, w, Standard(), target)
    np.testing.assert_allclose(time_to_loss(a, w, TWIN, target), exact, rtol=1e-10)


@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_trajectory_is_inverse_to_time_to_loss(flow: Flow) -> None:
    a, w = np.random.default_rng(2).uniform(-2, 2, (2, 12))
    start = loss(a, w)
    for share in (0.99, 0.7, 0.2, 1e-2):
        target = start * share
        time = time_to_loss(a, w, flow, target)
        finite = np.isfinite(time)
        point = trajectory(time[finite], a[finite], w[finite], flow)
        np.testing.assert_allclose(loss(*point), target[finite], rtol=1e-9)


@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_trajectory_starts_ends_and_keeps_the_invariant(flow: Flow) -> None:
    a, w = np.random.default_rng(3).uniform(-2, 2, (2, 25))
    np.testing.assert_array_equal(trajectory(0.0, a, w, flow), (a, w))
    early = trajectory(0.05, a, w, flow)
    same_side = (np.sign(early[1]) == np.sign(w)) & (early[1] != 0)
    np.testing.assert_allclose(
        invariant(*early, flow)[same_side], invariant(a, w, flow)[same_side], rtol=1e-10, atol=1e-11
    )
    sure = recovers(a, w, flow) & (np.abs(a * a - w * w) > 0.1)
    late = trajectory(1e6, a, w, flow)
    np.testing.assert_allclose(np.array(late)[:, sure], np.array(limit_point(a, w, flow))[:, sure], rtol=1e-9)


@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_a_finite_time_means_that_the_loss_is_reached(flow: Flow) -> None:
    a, w = np.random.default_rng(4).uniform(-2, 2, (2, 200))
    small = time_to_loss(a, w, flow, 1e-3)
    np.testing.assert_array_equal(np.isfinite(small), recovers(a, w, flow) | (loss(a, w) <= 1e-3))
    assert (time_to_loss(a, w, flow, 0.26) <= small).all()
    assert (time_to_loss(a, w, flow, 10.0) == 0).all() or (loss(a, w) > 10).any()
    assert np.isinf(time_to_loss(a, w, flow, 0.0)).all()


def test_flip_time_is_when_the_sign_changes() -> None:
    for flow, a, w in [
        (Standard(), -0.5, 1.0),
        (SignIn(1.0, 0.25), -1.0, 1.0),
        (SignIn(0.01, 0.001), -0.3, 1.0),
        (Power(0.75), 1.5, -0.8),
        (Power(0.5), 1.2, -0.5),
    ]:
        time = flip_time(a, w, flow)
        assert np.isfinite(time)
        before = trajectory(time * (1 - 1e-6), a, w, flow)
        after = trajectory(time * (1 + 1e-6), a, w, flow)
        assert before[0] * before[1] < 0 < after[0] * after[1]
    assert np.isinf(flip_time([-1.0, 1.0, 1.0, -2.0], [1.0, 1.0, -1.0, 1.0], Standard())).all()


def test_a_rough_chart_crosses_within_the_bound_that_is_proved() -> None:
    a, w, p = 1.5, -0.8, 0.75
    kept = a**2 - abs(w) ** (2 / p) / p
    bound = abs(w) ** ((2 - 2 * p) / p) / (p * (1 - p) * kept)
    assert 0.5 * bound < flip_time(a, w, Power(p)) <= bound


def test_the_kink_holds_what_slides_on_it() -> None:
    a, w = trajectory([5.0, 50.0], -1.0, 0.5, Standard())
    np.testing.assert_allclose(a, -math.sqrt(0.75), rtol=1e-14)
    np.testing.assert_array_equal(w, 0.0)


def test_the_quoted_metric_is_the_exact_one_after_rescaling() -> None:
    """√(θ² + β′) with β′ = β²/4 runs the same orbit in twice the time."""
    theta = np.geomspace(1e-6, 1e6, 50)
    for beta in (1e-3, 1.0, 30.0):
        np.testing.assert_allclose(metric(theta, beta), 2 * np.sqrt(theta**2 + beta**2 / 4), rtol=1e-15)

    def quoted(_: float, y: np.ndarray) -> list[float]:
        a, w = y
        return [-(a * w - 1) * w / 2 * math.sqrt(a * a + 1 / 4), -(a * w - 1) * a / 2 * math.sqrt(w * w + 1 / 64)]

    times = np.array([0.5, 2.0, 6.0])
    end = solve_ivp(quoted, (0, 6), [-1.0, 1.0], method="DOP853", t_eval=times, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(end.y, trajectory(times / 2, -1.0, 1.0, SignIn(1.0, 0.25)), atol=1e-9)


def test_mistakes_are_named() -> None:
    with pytest.raises(InputError, match="t="):
        trajectory(-1.0, 1.0, 1.0, Standard())
    with pytest.raises(InputError, match="loss"):
        time_to_loss(1.0, 1.0, Standard(), np.nan)
    rough: Chart = SignedPower(0.5)
    with pytest.raises(InputError, match="chart of a"):
        time_to_loss(1.0, 1.0, ChartFlow(rough, Identity()), 0.1)


def test_a_root_that_has_been_hit_is_not_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a step of Newton's rounds to nothing it ends; halving the bracket instead would take sixty more."""
    calls = 0

    def counted(function: Any, *arguments: Any, **options: Any) -> np.ndarray:
        def called(x: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            nonlocal calls
            calls += 1
            value, slope = function(x, rows)
            return value, slope

        return increasing_root(called, *arguments, **options)

    monkeypatch.setattr("theory.invariants.increasing_root", counted)
    product, c = (x.ravel() for x in np.meshgrid(np.geomspace(1e-9, 1, 40), np.linspace(-3, 3, 13)))
    angle_of_product(product, c, SignIn(1.0, 0.25))
    assert calls <= 15
