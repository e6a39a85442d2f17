"""The reset keeps θ to one rounding and sets β, for every float; margins never contradict the basin."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from commons import InputError
from theory import Power, SignIn, Standard, fate, margin, metric, mirror_step, recovers, reset

sizes = st.floats(1e-30, 1e30)
signs = st.sampled_from([-1.0, 1.0])
betas = st.floats(1e-3, 1e3)
weights = st.floats(-1e6, 1e6)


@given(size=sizes, sign=signs, beta=betas, kind=st.sampled_from([np.float32, np.float64]))
def test_reset_moves_theta_by_at_most_one_ulp(size: float, sign: float, beta: float, kind: type) -> None:
    theta = np.array(sign * size, dtype=kind)
    m, w = reset(theta, beta)
    assert m.dtype == w.dtype == kind
    assert m > 0
    assert abs(float(m * w) - float(theta)) <= float(np.spacing(np.abs(theta)))


@given(theta=weights, beta=betas)
def test_reset_sets_beta(theta: float, beta: float) -> None:
    m, w = (float(x) for x in reset(theta, beta))
    assert math.isclose((m - w) * (m + w), beta, rel_tol=1e-14, abs_tol=2e-15 * m * m)
    assert math.isclose(m * m + w * w, float(metric(theta, beta)), rel_tol=1e-14)


def test_torch_and_numpy_give_the_same_factors() -> None:
    for kind in (np.float32, np.float64):
        theta = np.geomspace(1e-30, 1e30, 200).astype(kind) * np.tile([-1, 1], 100).astype(kind)
        for ours, theirs in zip(reset(theta, 0.7), reset(torch.from_numpy(theta), 0.7, xp=torch), strict=True):
            assert theirs.dtype == torch.from_numpy(ours).dtype
            np.testing.assert_allclose(theirs.numpy(), ours, rtol=4 * np.finfo(kind).eps)


def test_zero_and_a_beta_for_each_weight() -> None:
    m, w = reset(np.zeros(2), np.array([1.0, 4.0]))
    assert m.tolist() == [1.0, 2.0]
    assert w.tolist() == [0.0, 0.0]
    with pytest.raises(InputError, match="beta"):
        reset(np.ones(2), 0.0)


@given(
    theta=st.floats(-1e3, 1e3),
    turn=st.floats(-20, 20),
    beta=betas,
    kind=st.sampled_from([np.float32, np.float64]),
    xp=st.sampled_from([np, torch]),
)
@example(theta=0.0, turn=2.1987763217329046e-42, beta=92.0, kind=np.float32, xp=np)
def test_a_mirror_step_is_right_to_4_ulp(theta: float, turn: float, beta: float, kind: type, xp: Any) -> None:
    """turn: 2Δ/β. The reference has 60 digits; the ulp is that of max(|θ|, |change of θ|)."""
    import mpmath

    start, step = np.array([theta], kind), np.array([turn * beta / 2], kind)
    given = (start, step) if xp is np else (torch.from_numpy(start), torch.from_numpy(step))
    found = np.asarray(mirror_step(*given, beta, xp=xp))
    assert found.dtype == kind
    with mpmath.workdps(60):
        exact, by, half = (mpmath.mpf(float(value)) for value in (start[0], step[0], kind(beta) / 2))
        moved = half * mpmath.sinh(mpmath.asinh(exact / half) + by / half)
        largest = max(abs(exact), abs(moved - exact))
        error = float(abs(mpmath.mpf(float(found[0])) - moved))
    assert error <= 4 * float(np.spacing(kind(float(largest))))


def test_no_step_moves_nothing_and_large_beta_is_the_plain_step() -> None:
    theta = np.array([-3.0, -1e-9, 0.0, 2.0, 1e5])
    assert np.array_equal(mirror_step(theta, np.zeros(5), 0.01), theta)
    np.testing.assert_allclose(mirror_step(theta, np.full(5, 0.5), 1e12), theta + 0.5, rtol=1e-12)
    with pytest.raises(InputError, match="beta"):
        mirror_step(theta, theta, 0.0)


@given(theta=st.floats(-10, 10), first=st.floats(-3, 3), second=st.floats(-3, 3), beta=st.floats(0.1, 10))
def test_mirror_steps_add_up(theta: float, first: float, second: float, beta: float) -> None:
    twice = mirror_step(mirror_step(theta, first * beta, beta), second * beta, beta)
    once = mirror_step(theta, (first + second) * beta, beta)
    scale = (abs(theta) + beta) * math.exp(2 * (abs(first) + abs(second)))
    assert abs(float(twice) - float(once)) <= 1e-13 * scale


@given(a=weights, w=weights, beta_a=betas, beta_w=betas)
def test_recovers_is_a_positive_margin(a: float, w: float, beta_a: float, beta_w: float) -> None:
    for flow in (Standard(), SignIn(beta_a, beta_w), Power(0.75), Power(1.5)):
        away = abs(float(margin(a, w, flow))) > 1e-290
        assert not away or bool(recovers(a, w, flow)) == bool(margin(a, w, flow) > 0)


@given(a=st.floats(-1e3, -1e-3), w=st.floats(1e-3, 1e3), beta=betas, more=st.floats(1.0, 1e3))
def test_the_basin_grows_with_the_beta_of_a(a: float, w: float, beta: float, more: float) -> None:
    assert not recovers(a, w, SignIn(beta, 1.0)) or recovers(a, w, SignIn(beta * more, 1.0))


def recovers_at_2000_digits(a: float, w: float, beta_a: float, beta_w: float) -> int:
    """The sign of S(w) − β_w − (S(a) − β_a), by integer square roots of the exact squares."""
    import mpmath

    with mpmath.workdps(2000):
        ends = [mpmath.sqrt(4 * mpmath.mpf(x) ** 2 + mpmath.mpf(b) ** 2) - b for x, b in ((w, beta_w), (a, beta_a))]
        return int(mpmath.sign(ends[0] - ends[1])) if abs(ends[0] - ends[1]) > mpmath.mpf(10) ** -1500 else 0


@given(size=st.floats(1e-100, 1e200), beta_a=sizes, beta_w=sizes, steps=st.integers(-2, 2))
def test_recovers_is_exact_beside_the_separatrix(size: float, beta_a: float, beta_w: float, steps: int) -> None:
    """a is the float closest to the separatrix at w, or one of its neighbours."""
    flow = SignIn(beta_a, beta_w)
    a = -float(flow.a.weight(flow.w.radius(np.array([size])))[0])
    for _ in range(abs(steps)):
        a = math.nextafter(a, math.copysign(math.inf, steps))
    if a < 0 and math.isfinite(a):
        sign = recovers_at_2000_digits(a, size, beta_a, beta_w)
        assert bool(recovers(a, size, flow)) == (sign > 0)
        assert np.sign(margin(a, size, flow)) == sign
        assert fate(a, size, flow) == ("recovers", "saddle", "stuck")[0 if sign > 0 else 1 if sign == 0 else 2]


def test_a_beta_below_rounding_still_decides() -> None:
    assert recovers(-1e200, 1e200, SignIn(1.0, 0.25))
    assert not recovers(-1e200, 1e200, SignIn(0.25, 1.0))
    assert not recovers(-1e200, 1e200, SignIn(1.0, 1.0))
    assert float(margin(-1e200, 1e200, SignIn(1.0, 0.25))) == pytest.approx(0.75)
    assert (recovers(np.full(3, -1e200), np.full((2, 1), 1e200), SignIn(1.0, 0.25))).all()


def test_a_start_exactly_on_the_separatrix_is_on_it() -> None:
    """S(1.5) = 5 at β = 4 and S(1) = 2.5 at β = 1.5, so that both energies are ½."""
    flow = SignIn(1.5, 4.0)
    assert fate(-1.0, 1.5, flow) == "saddle"
    assert margin(-1.0, 1.5, flow) == 0
    assert recovers(math.nextafter(-1.0, 0), 1.5, flow)
    assert fate(math.nextafter(-1.0, -2), 1.5, flow) == "stuck"


@pytest.mark.parametrize("beta", [1e-6, 0.1, 1.0])
def test_every_float16_keeps_its_weight_to_one_ulp(beta: float) -> None:
    theta = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    theta = theta[np.abs(theta) < np.finfo(np.float16).max]
    m, w = reset(theta, beta)
    assert m.dtype == w.dtype == np.float16
    off = np.abs(m.astype(np.float64) * w.astype(np.float64) - theta.astype(np.float64))
    assert (off <= np.spacing(np.abs(theta)).astype(np.float64)).all()
    for ours, theirs in zip((m, w), reset(torch.from_numpy(theta), beta, xp=torch), strict=True):
        assert theirs.dtype == torch.float16
        np.testing.assert_allclose(theirs.float().numpy(), ours.astype(np.float32), rtol=2e-3, atol=6e-8)


@pytest.mark.parametrize("beta", [1e-6, 1.0, 100.0])
def test_every_bfloat16_keeps_its_weight_to_one_ulp(beta: float) -> None:
    theta = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int16).view(torch.bfloat16)
    theta = theta[theta.isfinite() & (theta.abs() > 1e-30)]
    theta = theta[theta.abs() < 1e30]
    m, w = reset(theta, beta, xp=torch)
    assert m.dtype == w.dtype == torch.bfloat16
    off = (m.double() * w.double() - theta.double()).abs()
    assert (off <= theta.double().abs() * 2**-7).all()


def test_float16_is_refused_where_it_would_lose_weights() -> None:
    with pytest.raises(InputError, match=r"beta=100\.0 .*float32"):
        reset(np.ones(2, dtype=np.float16), 100.0)
    with pytest.raises(InputError, match="beta"):
        reset(torch.ones(2, dtype=torch.float16), 100.0, xp=torch)


def test_the_metric_of_two_bytes_is_rounded_once() -> None:
    theta = np.array([3e-5, 0.1, 1.0, 3e4], dtype=np.float16)
    exact = np.hypot(2 * theta.astype(np.float64), 0.5)
    assert np.array_equal(metric(theta, 0.5), exact.astype(np.float16))
