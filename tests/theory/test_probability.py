"""Success probabilities against counts of random starts, known values, and the discrete laws by running them."""

import numpy as np
import pytest

from theory import (
    Balanced,
    Flow,
    Gaussian,
    Power,
    SignIn,
    Standard,
    Uniform,
    beta_after_steps,
    beta_under_weight_decay,
    escape_learning_rate,
    recovers,
    success_probability,
)

N = 400_000
FLOWS = [Standard(), SignIn(1.0, 0.25), SignIn(1.0, 1.0), SignIn(0.01, 5.0), Power(0.5), Power(1.5)]


@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_probability_is_the_frequency(flow: Flow) -> None:
    rng = np.random.default_rng(0)
    normal, flat, signs = rng.standard_normal((2, N)), rng.uniform(-1, 1, (2, N)), rng.choice([-1, 1], (2, N))
    for init, (a, w) in [
        (Gaussian(0.5, 2.0), (0.5 * normal[0], 2 * normal[1])),
        (Uniform(3.0, 0.7), (3 * flat[0], 0.7 * flat[1])),
        (Uniform(0.3, 0.7), (0.3 * flat[0], 0.7 * flat[1])),
        (Balanced(1.2), signs * 1.2 * np.abs(normal[0])),
        (Balanced(0.7, "uniform"), signs * 0.7 * np.abs(flat[0])),
    ]:
        value, error = success_probability(flow, init)
        assert error < 1e-8
        assert abs(value - recovers(a, w, flow).mean()) < 4 / (2 * np.sqrt(N))


def test_known_values() -> None:
    assert success_probability(Standard(), Gaussian()).value == pytest.approx(3 / 8, abs=1e-15)
    assert success_probability(Standard(), Uniform()).value == pytest.approx(3 / 8, abs=1e-15)
    assert success_probability(Standard(), Balanced()).value == 0.25
    assert success_probability(SignIn(1.0, 0.25), Balanced()).value == 0.5
    # The share 0.617502 of [−2, 0] × [0, 2] by bisection, and all of a, w > 0.
    assert success_probability(SignIn(1.0, 0.25), Uniform(2, 2)).value == pytest.approx(0.25 * 1.617502, abs=1e-6)


def test_unequal_charts_tend_to_equal_ones() -> None:
    near = success_probability(SignIn(1.0, 1.0 + 1e-13), Gaussian(0.5, 2.0))
    exact = success_probability(SignIn(1.0, 1.0), Gaussian(0.5, 2.0))
    assert near.value == pytest.approx(exact.value, abs=1e-12)


def test_the_escape_step_crosses_and_a_smaller_one_does_not() -> None:
    a, w = np.array([0.3, -1.0, 2.0]), np.array([-0.4, -1.0, -0.1])
    edge = escape_learning_rate(a)
    for rate, crosses in ((edge * 1.001, True), (edge * 0.999, False)):
        assert ((w - rate * a**2 * w / 2 > 0) == crosses).all()
    assert np.isinf(escape_learning_rate(0.0))


def test_beta_follows_sgd_step_by_step() -> None:
    rng = np.random.default_rng(1)
    m, w = rng.standard_normal((2, 5))
    beta, gradients, rate, decay = m**2 - w**2, rng.standard_normal((30, 5)), 0.1, 0.05
    for g in gradients:
        m, w = m - rate * (g * w + decay * m), w - rate * (g * m + decay * w)
    np.testing.assert_allclose(m**2 - w**2, beta_after_steps(beta, rate, gradients, decay), rtol=1e-9)


def test_small_steps_of_decay_tend_to_the_flow() -> None:
    stepped = beta_after_steps(2.0, 1e-4, np.zeros((10_000, 1)), 0.7)
    np.testing.assert_allclose(stepped, beta_under_weight_decay(2.0, 0.7, 1.0), rtol=1e-4)
