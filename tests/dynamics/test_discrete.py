"""The discrete maps against the laws that hold for them exactly, and the flows with more coordinates."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from commons import InputError
from dynamics import Outcome, Reason, sweeps
from dynamics.discrete import gradient_descent, sgd
from dynamics.factors import integrate_factors
from dynamics.nd import integrate_nd
from dynamics.trajectories import integrate
from theory import Power, SignIn, Standard


@given(a=st.floats(0.5, 3), w=st.floats(-1, -0.01), lr=st.floats(0.01, 0.5))
def test_step_behind_the_wall_is_exact(a, w, lr):
    after = gradient_descent(a, w, lr=lr, steps=1)
    assert float(after.w) == pytest.approx(w * (1 - lr * a * a / 2), rel=1e-12, abs=1e-15)


def test_wall_opens_at_lr_a_squared_2():
    a = np.linspace(0.5, 3, 26)
    after = gradient_descent(a, -1e-3, lr=0.5, steps=1)
    assert np.array_equal(after.w > 0, 0.5 * a * a > 2)


def test_sgd_shrinks_beta_by_its_law():
    """One step multiplies β by 1 − η²g², g the gradient of the product."""
    a, w, lr = 0.5, -0.8, 0.1
    after = gradient_descent(a, w, lr=lr, steps=1, flow=SignIn(1.0, 0.5))
    assert float(after.beta_a) == pytest.approx(1 - (lr * a * w * w / 2) ** 2, rel=1e-12)
    assert float(after.beta_w) == pytest.approx(0.5 * (1 - (lr * a * a * w / 2) ** 2), rel=1e-12)


def test_coupled_decay_shrinks_beta_and_reset_restores_it():
    options = {"lr": 1e-3, "steps": 1000, "weight_decay": 0.5, "flow": SignIn(1.0, 0.5)}
    after = gradient_descent(0.5, -0.5, **options)
    assert float(after.beta_a) == pytest.approx(np.exp(-2 * 0.5 * 1.0), rel=2e-3)
    assert float(gradient_descent(0.5, -0.5, reset_every=10, **options).beta_a) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("flow", [Standard(), SignIn(1.0, 0.5)], ids=str)
def test_small_steps_follow_the_flow(flow):
    after = gradient_descent(-0.3, 1.2, lr=1e-3, steps=3000, flow=flow)
    flowed = integrate(flow, -0.3, 1.2, horizon=3.0, arrival=1e-9)
    assert float(after.a) == pytest.approx(float(flowed.a), abs=2e-3)
    assert float(after.w) == pytest.approx(float(flowed.w), abs=2e-3)


def test_decoupled_decay_differs_only_under_momentum():
    options = {"lr": 0.1, "steps": 5, "weight_decay": 0.1}
    plain = [gradient_descent(0.5, 1.0, decoupled=d, **options).a for d in (False, True)]
    heavy = [gradient_descent(0.5, 1.0, decoupled=d, momentum=0.9, **options).a for d in (False, True)]
    assert plain[0] == pytest.approx(float(plain[1]), rel=1e-12)
    assert heavy[0] != pytest.approx(float(heavy[1]), rel=1e-6)


def test_sgd_is_reproducible_and_unbiased():
    starts = np.full(20_000, 0.5)
    first, again = (sgd(starts, 1.0, lr=0.1, steps=1, batch=4, label_noise=1.0, seed=3) for _ in range(2))
    exact = gradient_descent(0.5, 1.0, lr=0.1, steps=1)
    assert np.array_equal(first.a, again.a)
    assert first.a.mean() == pytest.approx(float(exact.a), abs=5 * first.a.std() / np.sqrt(20_000))
    assert first.w.mean() == pytest.approx(float(exact.w), abs=5 * first.w.std() / np.sqrt(20_000))


def test_large_learning_rate_diverges():
    assert gradient_descent(10.0, 10.0, lr=10.0, steps=20).outcome == Outcome.DIVERGED


def test_factors_move_as_the_metric_says():
    a0, w0 = np.array([0.5, -0.7, 1.0]), np.array([1.0, 1.5, 0.3])
    ours = integrate_factors(SignIn(1.0, 0.5), a0, w0, horizon=1.0, rtol=1e-10)
    ends = integrate(SignIn(1.0, 0.5), a0, w0, horizon=1.0, rtol=1e-10, arrival=1e-12)
    assert np.allclose(ours.a, ends.a, atol=1e-8)
    assert np.allclose(ours.w, ends.w, atol=1e-8)
    assert np.allclose(ours.factors[0] ** 2 - ours.factors[1] ** 2, 1.0, atol=1e-8)


def test_factors_end_at_the_wall():
    flow = SignIn(1.0, 1.0)
    ours = integrate_factors(flow, [-1.5, 0.5], [0.5, 0.5], horizon=20.0)
    assert list(ours.reason) == [Reason.WALL, Reason.HORIZON]
    assert ours.w[0] == pytest.approx(0, abs=1e-5)
    assert ours.time[0] == pytest.approx(float(integrate(flow, -1.5, 0.5).time), rel=1e-4)


def test_starts_at_rest_in_higher_dimension():
    ends = integrate_nd(Standard(), [0.0, 1.0, 1.0], [[0.0, 0, 0], [0, 0, 0], [1, 0, 0]])
    assert list(ends.reason) == [Reason.SADDLE, Reason.DEAD, Reason.TEACHER]
    unseen = integrate_nd(Standard(), [1.0], [[1.0, 0.5]], samples=[[-1.0, -1.0], [-2.0, 0.1]])
    assert list(unseen.reason) == [Reason.DEAD]
    narrow = integrate_nd(Standard(), [1.0], [[0.5, 0, 0]], dtype=torch.float32)
    assert list(narrow.reason) == [Reason.TEACHER]


@pytest.mark.parametrize(("sign_a", "sign_w", "share"), [(1, 1, 1.0), (1, -1, 1.0), (-1, 1, 0.0), (-1, -1, 0.0)])
def test_overparametrization_solves_the_other_quadrant(sign_a, sign_w, share):
    rng = np.random.default_rng(0)
    w = rng.normal(size=(100, 5)) / np.sqrt(5)
    w[:, 0] = sign_w * np.abs(w[:, 0])
    ends = integrate_nd(Standard(), sign_a * np.linalg.norm(w, axis=1), w)
    assert (ends.outcome == Outcome.RECOVERED).mean() == share


def test_population_is_the_limit_of_many_samples():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 2))
    options = {"horizon": 1.0, "arrival": 1e-9}
    few = integrate_nd(Standard(), [0.8], [[0.3, 0.7]], samples=x, rtol=1e-4, **options)
    all_of_it = integrate_nd(Standard(), [0.8], [[0.3, 0.7]], **options)
    assert np.allclose(few.w, all_of_it.w, atol=0.03)


def test_sweep_of_betas_is_parted_by_the_diagonal():
    sweep = sweeps.betas(grid=5, starts=2)
    above = sweep.x[:, None] > sweep.y[None]
    below = sweep.x[:, None] < sweep.y[None]
    assert (sweep.rate[above] == 1).all()
    assert (sweep.rate[below] == 0).all()
    assert (sweep.low <= sweep.rate).all()
    assert (sweep.high >= sweep.rate).all()


def test_sweep_of_steps_is_parted_by_the_wall():
    sweep = sweeps.step(grid=9, starts=4, steps=200)
    closed = sweep.x[:, None] * sweep.y[None] ** 2 < 2
    assert (sweep.rate[closed] == 0).all()


def test_resets_keep_recovery_under_decay():
    sweep = sweeps.decay(grid=4, starts=16, steps=1500)
    assert sweep.rate[0, 0] >= sweep.rate[0, -1]
    assert sweep.rate[:, 0].mean() > sweep.rate[:, -1].mean()


def test_mistakes_get_one_line():
    with pytest.raises(InputError, match="lr"):
        gradient_descent(1.0, 1.0, lr=-1.0, steps=1)
    with pytest.raises(InputError, match="flow"):
        gradient_descent(1.0, 1.0, lr=0.1, steps=1, flow=Power(2.0))
    with pytest.raises(InputError, match="w0"):
        integrate_nd(Standard(), [1.0], [1.0])
