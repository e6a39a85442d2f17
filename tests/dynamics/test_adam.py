"""Adam's map against its limits: sign descent and its theorems, gradient descent, and what the factors keep."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from commons import InputError
from dynamics import Outcome, sweeps
from dynamics.discrete import adam, gradient_descent
from theory import SignDescent, SignIn, SignInSignDescent, Standard, beta_after_sign_steps, fate
from theory.flows import Flow

SIGN = {"betas": (0.0, 0.0), "eps": 0.0}
FLOWS: list[tuple[Flow | None, Flow]] = [
    (None, SignDescent()),
    (SignInSignDescent(1.0, 0.25), SignInSignDescent(1.0, 0.25)),
]


def difference(theta: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """|m| − |w| of factors with product θ and m² − w² = β."""
    return beta / np.sqrt(np.sqrt(4 * theta**2 + beta**2) + 2 * np.abs(theta))


def larger(theta: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """|m| of these factors."""
    return np.sqrt((np.sqrt(4 * theta**2 + beta**2) + beta) / 2)


def square(count: int, extent: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Starts that are not symmetric about a = ±w."""
    axis = np.linspace(-extent, extent, count)
    return axis[:, None] + 0.011, axis[None, :] + 0.003


@given(a=st.floats(-2, 2), w=st.floats(0.1, 2), lr=st.floats(1e-3, 0.05))
def test_without_averages_a_step_is_the_sign(a: float, w: float, lr: float) -> None:
    assume(abs(a) > 1e-3 and abs(a * w - 1) > 1e-3)
    after = adam(a, w, lr=lr, steps=1, **SIGN)
    uphill = np.sign(a * w - 1)
    assert float(after.a) == pytest.approx(a - lr * uphill * np.sign(w), abs=1e-12)
    assert float(after.w) == pytest.approx(w - lr * uphill * np.sign(a), abs=1e-12)


@pytest.mark.parametrize("betas", [(0.0, 0.0), (0.9, 0.99), (0.9, 0.999)])
def test_the_first_step_is_the_sign_for_all_averages(betas: tuple[float, float]) -> None:
    after = adam(0.5, 0.5, lr=0.01, steps=1, betas=betas)
    assert (float(after.a), float(after.w)) == pytest.approx((0.51, 0.51), rel=1e-6)


def test_at_a_large_eps_it_is_gradient_descent() -> None:
    after = adam(-0.3, 1.2, lr=1e6, eps=1e8, betas=(0.0, 0.999), steps=300)
    plain = gradient_descent(-0.3, 1.2, lr=0.01, steps=300)
    assert (float(after.a), float(after.w)) == pytest.approx((float(plain.a), float(plain.w)), rel=1e-6)


@pytest.mark.parametrize(("trained", "flow"), FLOWS, ids=["plain", "factors"])
def test_its_small_steps_end_where_the_theorem_of_sign_descent_says(trained: Flow | None, flow: Flow) -> None:
    """From a < 0 < w, with an eps above the slopes that the map leaves where the flow stops."""
    a, w = square(25)
    there = (a < 0) & (w > 0)
    after = adam(a, w, lr=0.005, steps=4000, flow=trained, betas=(0.0, 0.0), eps=1e-4)
    agrees = (after.outcome == Outcome.RECOVERED) == (fate(a, w, flow) == "recovers")
    assert agrees[there].mean() > 0.97


def test_with_the_usual_averages_it_ends_there_too() -> None:
    a, w = square(17)
    after = adam(a, w, lr=0.01, steps=3000)
    agrees = (after.outcome == Outcome.RECOVERED) == (fate(a, w, SignDescent()) == "recovers")
    assert agrees[(a < 0) | (w > 0)].mean() > 0.97
    assert agrees.mean() > 0.9  # from w < 0 < a some do not pass w = 0, see below


def test_without_eps_no_start_stays_where_the_flow_does() -> None:
    """A sign has size 1 however small the slope: the map chatters about a = 0 and w = 0 until it comes to a, w > 0."""
    a, w = square(9)
    assert (fate(a, w, SignDescent()) == "stuck").mean() > 0.4
    assert (adam(a, w, lr=0.005, steps=6000, **SIGN).outcome == Outcome.RECOVERED).all()


@given(a=st.floats(0.1, 3), w=st.floats(-0.5, -1e-4), lr=st.floats(0.01, 0.5), eps=st.floats(1e-4, 1))
def test_the_wall_opens_where_half_of_lr_a_squared_exceeds_slope_and_eps(
    a: float, w: float, lr: float, eps: float
) -> None:
    """Near w = 0 Adam is gradient descent with rate lr/eps, and there the wall opens at lr/eps = 2/a²."""
    half = a * a / 2
    assume(abs(lr * half - half * -w - eps) > 1e-9)
    after = adam(a, w, lr=lr, steps=1, betas=(0.0, 0.0), eps=eps)
    assert bool(after.w > 0) == (lr * half > half * -w + eps)


def test_it_crosses_where_no_gradient_flow_does() -> None:
    """From w < 0 < a sign descent passes w = 0 iff a > |w|, and gradient flow never: Theorem 5.4 is one of flows."""
    a, w = np.array([1.0, 0.5]), np.array([-0.5, -1.0])
    crossed = adam(a, w, lr=1e-2, steps=2000).outcome == Outcome.RECOVERED
    assert crossed.tolist() == [True, False]
    assert not (gradient_descent(a, w, lr=1e-2, steps=5000).outcome == Outcome.RECOVERED).any()
    assert fate(a, w, Standard()).tolist() == ["stuck", "stuck"]


@given(
    theta=st.tuples(st.floats(0.2, 2), st.floats(0.2, 2)),
    beta=st.tuples(st.floats(0.1, 1), st.floats(0.1, 1)),
    steps=st.integers(1, 20),
)
@settings(max_examples=40)
def test_sign_steps_keep_the_difference_of_the_factors_and_move_beta_by_the_law(
    theta: tuple[float, float], beta: tuple[float, float], steps: int
) -> None:
    lr = 1e-3
    assume(abs(theta[0] * theta[1] - 1) > 0.2)
    start = np.array([-theta[0], theta[1]]), np.array(beta)  # a < 0 < w: both shrink
    after = adam(*start[0], lr=lr, steps=steps, flow=SignIn(*beta), **SIGN)
    ended = np.array([after.a, after.w]), np.array([after.beta_a, after.beta_w])
    kept = difference(*start)
    np.testing.assert_allclose(difference(*ended), kept, rtol=1e-9)
    growth = -np.ones((steps, 2))
    np.testing.assert_allclose(ended[1], beta_after_sign_steps(start[1], kept, lr, growth), rtol=1e-9)
    assert bool((ended[1] < start[1]).all())


def test_adam_keeps_the_difference_to_first_order_in_the_rate_and_not_beta() -> None:
    """At an equal way the drift of |m| − |w| is halved with the rate; that of m² − w² is what the law says."""
    kept = difference(np.float64(-1.0), np.float64(1.0))
    drifts = []
    for lr in (2e-4, 1e-4):
        after = adam(-1.0, 1.5, lr=lr, steps=round(0.3 / lr), betas=(0.9, 0.99), flow=SignIn(1.0, 0.5))
        drifts.append(abs(difference(after.a, after.beta_a) - kept))
        way = larger(np.float64(-1.0), np.float64(1.0)) - larger(after.a, after.beta_a)
    assert drifts[0] / drifts[1] == pytest.approx(2, rel=0.3)
    predicted = float(beta_after_sign_steps(1.0, kept, way, np.array([-1.0])))
    assert float(after.beta_a) == pytest.approx(predicted, rel=0.005)
    assert predicted < 0.8


def test_decay_is_decoupled_and_a_reset_begins_anew() -> None:
    after = adam(0.0, 1.0, lr=0.01, steps=10, weight_decay=0.5, **SIGN)
    assert float(after.w) == pytest.approx((1 - 0.005) ** 10, rel=0.1)
    with_resets = adam(-0.5, 1.0, lr=1e-3, steps=100, flow=SignIn(1.0, 1.0), reset_every=100)
    assert float(with_resets.beta_a) == pytest.approx(1, rel=1e-9)


def test_decay_holds_the_weights_where_a_step_is_as_long_as_it() -> None:
    """A step of size lr pulls to aw = 1 and decay takes lr·λ|θ|: from a = w the end is min(1, 1/λ)."""
    size, decay = np.linspace(0.3, 2, 9)[:, None], np.linspace(0.05, 4, 12)[None, :]
    after = adam(size, size, lr=0.01, steps=1500, weight_decay=decay, **SIGN)
    np.testing.assert_allclose(after.a, np.broadcast_to(np.minimum(1, 1 / decay), after.a.shape), atol=0.03)


def test_eps_takes_small_steps_from_sign_descent_to_gradient_flow() -> None:
    """Each start has an eps of its own; from w < 0 < a sign descent recovers and gradient flow does not."""
    small, large = adam([1.0, 1.0], [-0.5, -0.5], lr=0.02, steps=1000, eps=[1e-8, 10.0]).outcome
    assert (small == Outcome.RECOVERED, large == Outcome.RECOVERED) == (True, False)
    rates = sweeps.adam(grid=2, starts=400, steps=1000, over="eps").rate
    assert rates[0].tolist() == pytest.approx([0.5, 3 / 8], abs=0.08)


def test_the_sweep_and_refusals() -> None:
    sweep = sweeps.adam(grid=3, starts=16, steps=200)
    assert sweep.rate.shape == (3, 3)
    assert bool(((sweep.rate >= 0) & (sweep.rate <= 1)).all())
    decayed = sweeps.adam(grid=3, starts=64, steps=800, over="decay")
    assert decayed.y.tolist() == [0, 1, 2]
    assert decayed.rate[0, 0] > 0.3
    assert decayed.rate[0, 2] == 0  # beyond √2
    with pytest.raises(InputError, match="over='sise' is not one of size, eps, decay"):
        sweeps.adam(over="sise")
    with pytest.raises(InputError, match=r"eps=-1\.0 is not at least 0"):
        adam(1.0, 1.0, lr=0.1, steps=1, eps=[1.0, -1.0])
    with pytest.raises(InputError, match="betas=1"):
        adam(1.0, 1.0, lr=0.1, steps=1, betas=(1.0, 0.9))
    with pytest.raises(InputError, match=r"flow=.* is not Standard\(\), SignIn\(...\) or SignInSignDescent"):
        adam(1.0, 1.0, lr=0.1, steps=1, flow=SignInSignDescent(1.0, 1.0, 1.5))
