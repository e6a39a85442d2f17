"""The population loss against quadrature over Gaussian inputs, and its gradients against SymPy's derivatives."""

import numpy as np
import pytest
import sympy as sp

from theory import Power, SignIn, Standard
from theory.neuron import A, W, gradient, gradient_nd, population_loss, population_loss_nd, relu, vector_field

rng = np.random.default_rng(0)
a, *w = sp.symbols("a w1:4", real=True)


@pytest.mark.parametrize("point", rng.uniform(-2, 2, (8, 2)).tolist())
def test_loss_is_the_mean_over_gaussian_inputs(point: list[float]) -> None:
    # Gauss-Hermite on each half-line is exact: the integrand is a polynomial there.
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    x, weights = nodes[nodes > 0], weights[nodes > 0] / np.sqrt(2 * np.pi)
    student = point[0] * np.maximum(point[1] * np.concatenate([x, -x]), 0)
    teacher = np.maximum(np.concatenate([x, -x]), 0)
    mean = (np.tile(weights, 2) * (student - teacher) ** 2).sum() / 2
    assert float(population_loss().subs({A: point[0], W: point[1]})) == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize("d", [2, 3])
def test_loss_in_many_dimensions_is_a_mean_and_its_gradient_a_gradient(d: int) -> None:
    teacher = [1, *[0] * (d - 1)]
    expression, (of_a, of_w) = population_loss_nd(a, w[:d], teacher), gradient_nd(a, w[:d], teacher)
    point = dict(zip([a, *w[:d]], rng.uniform(-1, 1, d + 1), strict=True))
    x = rng.standard_normal((10**6, d))
    weights = np.array([point[symbol] for symbol in w[:d]])
    errors = (point[a] * np.maximum(x @ weights, 0) - np.maximum(x[:, 0], 0)) ** 2 / 2
    assert abs(errors.mean() - float(expression.subs(point))) < 5 * errors.std() / 1e3
    for symbol, claimed in zip([a, *w[:d]], [of_a, *of_w], strict=True):
        assert float((expression.diff(symbol) - claimed).subs(point)) == pytest.approx(0, abs=1e-12)


def test_the_field_descends_in_the_metric_of_the_chart() -> None:
    for flow, of_a, of_w in [
        (Standard(), 1.0, 1.0),
        (SignIn(2, 0.5), np.hypot(1.4, 2), np.hypot(2.2, 0.5)),
        (Power(0.5), 1.0, 0.25 * 1.1**-2),
    ]:
        for sign in (-1, 1):
            at = {A: 0.7, W: sign * 1.1}
            field = [float(x.subs(at)) for x in vector_field(flow)]
            slope = [float(x.subs(at)) for x in gradient()]
            np.testing.assert_allclose(field, [-of_a * slope[0], -of_w * slope[1]], rtol=1e-14)


def test_on_the_kink_the_slope_is_that_of_the_dead_side() -> None:
    assert [float(x.subs({A: 0.7, W: 0})) for x in gradient()] == [0, 0]
    assert relu(sp.Integer(-2)) == 0
