"""Charts given by their metric: energies against mpmath, shares, and basins against an integrator."""

from collections.abc import Callable
from dataclasses import dataclass

import mpmath
import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from commons import InputError
from theory import (
    HAM,
    Chart,
    Flow,
    Hypentropy,
    Hyperbolic,
    Identity,
    LayerRates,
    MetricChart,
    Product,
    Scaled,
    SignDescent,
    SignIn,
    SignInSignDescent,
    Standard,
    Uniform,
    UnitSpeed,
    fate,
    invariant,
    limit_point,
    quadrant_share,
    recovers,
    recovers_nd,
    success_probability,
    time_to_loss,
)
from theory.metrics import SignIdentity, SignProduct
from theory.table import FLOWS_SHOWN, table

Metric = Callable[[mpmath.mpf], mpmath.mpf]
CLOSED: dict[str, tuple[Chart, Metric, float]] = {
    "rate": (Scaled(Identity(), 0.3), lambda t: mpmath.mpf(0.3), 2),
    "product at a rate": (Scaled(Product(0.7), 3.0), lambda t: 3 * mpmath.sqrt(4 * t**2 + mpmath.mpf(0.7) ** 2), 2),
    "hypentropy": (Hypentropy(0.01), lambda t: mpmath.sqrt(1 + 4 * t**2 / mpmath.mpf(0.01) ** 2), 2),
    "hyperbolic": (Hyperbolic(200.0), lambda t: 1 + 200 * t, 2),
    "hyperbolic, weak": (Hyperbolic(0.5), lambda t: 1 + t / 2, 2),
    "sign": (SignIdentity(1.0), lambda t: 1, 1),
    "sign, product": (SignProduct(0.25, 1.0), lambda t: mpmath.sqrt(4 * t + mpmath.mpf(0.25) ** 2), 1),
    "power, product": (SignProduct(2.0, 1.5), lambda t: mpmath.sqrt(4 * t ** mpmath.mpf(1.5) + 4), 1.5),
}
SIZES = np.geomspace(1e-4, 1e4, 9)


@pytest.mark.parametrize(("chart", "metric", "q"), CLOSED.values(), ids=CLOSED)
def test_energy_is_its_integral_and_the_inverse_returns(chart: Chart, metric: Metric, q: float) -> None:
    for theta in SIZES:
        with mpmath.workdps(30):
            points = [0, *(theta * mpmath.mpf(10) ** k for k in range(-6, 1))]
            energy = mpmath.quad(lambda s: q * s ** (q - 1) / metric(s), points)
        assert float(chart.radius(np.array(theta))) ** 2 == pytest.approx(float(energy), rel=1e-13)
        assert float(chart.metric(np.array(theta))) == pytest.approx(float(metric(mpmath.mpf(theta))), rel=1e-14)
    both = np.concatenate([-SIZES, SIZES])
    np.testing.assert_allclose(chart.weight(chart.radius(both)), both, rtol=5e-15)
    np.testing.assert_allclose(chart.stretch(chart.radius(both)) * chart.radius(both), both, rtol=5e-15)


@pytest.mark.parametrize("chart", [entry[0] for entry in CLOSED.values()], ids=CLOSED)
def test_the_metric_of_the_orbits_is_the_slope_of_the_energy(chart: Chart) -> None:
    theta = np.array([-3.0, -0.2, 0.05, 1.0])
    slope = (chart.radius(theta * (1 + 1e-6)) ** 2 - chart.radius(theta * (1 - 1e-6)) ** 2) / (2e-6 * theta)
    np.testing.assert_allclose(chart.orbit_metric(theta), 2 * theta / slope, rtol=1e-7)


@dataclass(frozen=True)
class Written(MetricChart):
    """A metric as text, of which SymPy or quadrature finds the energy."""

    text: str

    def metric_expression(self, theta: sp.Expr) -> sp.Expr:
        return sp.sympify(self.text, {"t": theta})


@pytest.mark.parametrize(
    ("chart", "closed"),
    [
        (Written("sqrt(1 + 16*t**2)"), Hypentropy(0.5)),
        (Written("1 + 2*Abs(t)"), Hyperbolic(2.0)),
        (Written("sqrt(4*t**2 + 9)"), Product(3.0)),
    ],
    ids=str,
)
def test_a_metric_alone_gives_what_its_closed_form_gives(chart: Written, closed: Chart) -> None:
    theta = np.concatenate([-SIZES[1:7], SIZES[1:7]])
    for found, known in ((chart.radius, closed.radius), (chart.metric, closed.metric)):
        np.testing.assert_allclose(found(theta), known(theta), rtol=1e-10)
    np.testing.assert_allclose(chart.weight(closed.radius(theta)), theta, rtol=1e-9)
    assert chart.order == 1


def test_the_order_of_a_metric_that_vanishes_at_zero() -> None:
    assert Written("sqrt(Abs(t))").order == pytest.approx(4 / 3)
    assert Written("Abs(t)**1.5").order == pytest.approx(4)
    assert not Written("Abs(t)").passes_zero


SHARES = {
    LayerRates(1.0, 0.25): 0.75,
    LayerRates(0.25, 1.0): 0.25,
    SignIn(1.0, 0.25): 0.618,
    UnitSpeed(1.0, 0.25): 0.247,
    UnitSpeed(0.25, 1.0): 0.753,
    Standard(): 0.5,
    HAM(3.0, 3.0): 0.5,
}


@pytest.mark.parametrize(("flow", "share"), SHARES.items(), ids=str)
def test_shares_of_the_quadrant(flow: Flow, share: float) -> None:
    """The share of a < 0 < w in [−2, 2]² that recovers: a quarter of all starts, a, w > 0, does so too."""
    found = success_probability(flow, Uniform(2.0, 2.0))
    assert found.error < 1e-12
    assert 4 * found.value - 1 == pytest.approx(share, abs=6e-4)
    assert quadrant_share(flow).value == pytest.approx(4 * found.value - 1, abs=1e-12)
    assert quadrant_share(flow, 3.0).value == pytest.approx(
        4 * success_probability(flow, Uniform(3.0, 3.0)).value - 1, abs=1e-12
    )


positive = st.floats(1e-3, 1e3)


@given(a=positive, w=positive, beta=positive, more=st.floats(1.01, 1e3))
def test_the_basin_of_sign_in_lies_within_that_of_the_rates(a: float, w: float, beta: float, more: float) -> None:
    sign_in, rates = SignIn(beta * more, beta), LayerRates(beta * more, beta)
    assert recovers(-a, w, rates) or not recovers(-a, w, sign_in)
    on_edge = w * np.sqrt(more)  # of the rates
    assert not recovers(-on_edge, w, sign_in)


@given(rate=positive, more=positive, size=positive)
def test_signs_on_the_separatrix_are_exact(rate: float, more: float, size: float) -> None:
    """Starts that lie on it in rational arithmetic end in the saddle, and one rounding beside it they do not."""
    w = float(np.exp2(np.round(np.log2(size))))
    for flow in (LayerRates(4 * rate, rate), LayerRates(rate / 16, rate)):
        a = -w * np.sqrt(flow.rate_a / flow.rate_w)
        assert fate(a, w, flow) == "saddle"
        assert recovers(np.nextafter(a, 0), w, flow)
        assert not recovers(np.nextafter(a, -np.inf), w, flow)
    assert fate(-size, size, UnitSpeed(more, more)) == "saddle"


@given(r=positive, beta=positive, more=st.floats(1.01, 1e3))
def test_balanced_starts_decide_as_the_theorems_say(r: float, beta: float, more: float) -> None:
    assert recovers(-r, r, LayerRates(beta * more, beta))
    assert recovers(-r, r, SignIn(beta * more, beta))
    assert not recovers(-r, r, UnitSpeed(beta * more, beta))
    assert recovers(-r, r, UnitSpeed(beta, beta * more))
    assert recovers(-r, r, HAM(beta * more, beta))


def test_sign_descent_crosses_where_no_gradient_flow_does() -> None:
    a, w = np.random.default_rng(0).uniform(-2, 2, (2, 500))
    assert (recovers(a, w, SignDescent()) == (a + w > 0)).all()
    assert (recovers(a, w, SignDescent(2.0)) == recovers(a, w, Standard())).all()
    assert (recovers(a, w, SignInSignDescent(1.0, 0.25, 2.0)) == recovers(a, w, SignIn(1.0, 0.25))).all()
    flow = SignInSignDescent(1.0, 0.25)
    here = (np.sqrt(4 * np.abs(w) + 0.25**2) - 0.25) > (np.sqrt(4 * np.abs(a) + 1) - 1)
    assert (recovers(a, w, flow) == np.where(a * w < 0, here == (w > 0), a > 0)).all()


@pytest.mark.parametrize("flow", [SignDescent(), SignInSignDescent(1.0, 0.25), SignDescent(1.5)], ids=str)
def test_limits_of_sign_descent_are_on_the_orbit(flow: Flow) -> None:
    a, w = np.random.default_rng(1).uniform(-2, 2, (2, 200))
    inside = recovers(a, w, flow)
    end_a, end_w = limit_point(a[inside], w[inside], flow)
    np.testing.assert_allclose(end_a * end_w, 1, rtol=1e-12)
    np.testing.assert_allclose(invariant(end_a, end_w, flow), invariant(a, w, flow)[inside], atol=1e-11)


def test_what_sign_descent_does_not_have_is_refused() -> None:
    with pytest.raises(InputError, match="gradient flow"):
        time_to_loss(1.0, 1.0, SignDescent(), 0.1)
    with pytest.raises(InputError, match="gradient flow"):
        recovers_nd(1.0, [1.0, 1.0], SignDescent())


MANY = [
    *(flow for flow in SHARES if not isinstance(flow, Standard)),
    HAM(2.0, 8.0),
    HAM(0.0, 200.0),
    UnitSpeed(0.01, 0.01),
    SignDescent(),
    SignDescent(1.5),
    SignInSignDescent(1.0, 0.25),
    SignInSignDescent(0.25, 1.0, 1.5),
]


@pytest.mark.slow
@pytest.mark.parametrize("flow", MANY, ids=str)
def test_basins_agree_with_an_integrator_on_2000_starts(flow: Flow) -> None:
    """The slow twin: the orbit of (|a|, w) by SciPy, in logarithms and from the metrics alone."""
    from scipy.integrate import solve_ivp

    rng = np.random.default_rng(2)
    w = rng.uniform(0.01, 2, 2000)
    a = -rng.uniform(0.01, 2, 2000)
    near = slice(0, 1000)
    w[near] = rng.uniform(0.05, 1.5, 1000)
    a[near] = flow.a.weight(-flow.w.radius(w[near])) * (1 + rng.choice([-1, 1], 1000) * 10 ** rng.uniform(-6, -1, 1000))
    q = flow.exponent

    def field(_: float, state: np.ndarray) -> np.ndarray:
        """Both fall; time is such that the sum of their logarithms falls at rate 1. The loss drops out."""
        n, y = np.exp(state.reshape(2, -1))
        rates = np.stack([flow.a.metric(n) * y ** (q - 1) / n, flow.w.metric(y) * n ** (q - 1) / y])
        return -(rates / rates.sum(0)).ravel()

    found = solve_ivp(field, (0, 50), np.log(np.concatenate([-a, w])), method="DOP853", rtol=1e-9, atol=1e-9).y[:, -1]
    n, y = found.reshape(2, -1)
    clear = np.abs(flow.a.radius(a) + flow.w.radius(w)) > 1e-7 * flow.w.radius(w)
    assert clear.sum() > 1990
    assert ((y > n) == recovers(a, w, flow))[clear].all()


BALANCED = {
    "iff η_a > η_w": ("rate_a", "rate_w"),
    "iff β_a > β_w": ("beta_a", "beta_w"),
    "iff β_w > β_a": ("beta_w", "beta_a"),
}
BALANCED |= {"iff α_a > α_w": ("alpha_a", "alpha_w"), "iff λ_a > λ_w": ("lambda_a", "lambda_w")}


@pytest.mark.parametrize("row", range(len(FLOWS_SHOWN)))
def test_the_table_says_what_the_basin_does(row: int) -> None:
    """Its last columns against starts: on the balanced line, and counted over the quadrant."""
    flow, line = FLOWS_SHOWN[row], table()[row]
    r = np.linspace(0.1, 2, 50)
    says = line["on the balanced line"]
    if says == "saddle":
        assert (fate(-r, r, flow) == "saddle").all()
    else:
        larger, smaller = (getattr(flow, name) for name in BALANCED[says])
        assert (recovers(-r, r, flow) == (larger > smaller)).all()
    a, w = np.meshgrid(-(np.arange(400) + 0.5) / 200, (np.arange(400) + 0.5) / 200)
    assert float(line["share in [−2, 2]²"]) == pytest.approx(recovers(a, w, flow).mean(), abs=2e-3)
    assert quadrant_share(flow).error < 1e-11
