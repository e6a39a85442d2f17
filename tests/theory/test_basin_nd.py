"""The basin for d ≥ 2 inputs: it is that of d = 1 on the teacher's line, and safe up to the largest numbers."""

from dataclasses import dataclass

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from commons import InputError
from theory import Chart, ChartFlow, Identity, Power, SignIn, Standard, invariant, invariant_nd, recovers, recovers_nd

weights = st.floats(-1e3, 1e3)
betas = st.floats(1e-3, 1e3)


@dataclass(frozen=True)
class Sinh(Chart):
    def chart(self, u: sp.Expr) -> sp.Expr:
        return sp.sinh(u)


@dataclass(frozen=True)
class Flattening(Chart):
    def chart(self, u: sp.Expr) -> sp.Expr:
        return sp.asinh(u)


@given(a=weights, w=weights, beta_a=betas, beta_w=betas)
def test_on_the_line_of_the_teacher_it_is_the_basin_of_d_1(a: float, w: float, beta_a: float, beta_w: float) -> None:
    for flow in (Standard(), SignIn(beta_a, beta_w)):
        assert bool(recovers_nd(a, [w, 0.0, 0.0], flow)) == bool(recovers(a, w, flow))


@given(a=weights, w=st.lists(weights, min_size=2, max_size=5), beta=betas)
def test_the_energies_decide_where_a_is_negative(a: float, w: list[float], beta: float) -> None:
    flow = SignIn(beta, 1.0)
    energy = float(invariant_nd(a, w, flow))
    clear = abs(energy) > 1e-9 * (1 + abs(a) + sum(map(abs, w)))
    aside = any(w[1:]) or w[0] > 0
    assert not clear or bool(recovers_nd(a, w, flow)) == (aside and (a >= 0 or energy < 0))


def test_many_starts_at_once_and_one_component_at_a_time() -> None:
    rng = np.random.default_rng(0)
    a, w = rng.normal(size=(4, 5)), rng.normal(size=(4, 5, 3))
    flow = SignIn(1.0, 0.5)
    each = [[bool(recovers_nd(a[i, j], w[i, j], flow)) for j in range(5)] for i in range(4)]
    assert recovers_nd(a, w, flow).tolist() == each
    lone = np.zeros((4, 5, 3))
    lone[..., 1] = w[..., 1]
    np.testing.assert_allclose(invariant_nd(a, lone, flow), invariant(a, w[..., 1], flow) - 0.5, rtol=1e-12, atol=1e-12)


def test_the_largest_and_smallest_numbers() -> None:
    assert recovers_nd(-1e300, [1e300, 1e300], Standard())
    assert not recovers_nd(-1.5e300, [1e300, 1e300], Standard())
    assert recovers_nd(-1e-300, [-1e-300, 1e-300], Standard())
    assert not recovers_nd(1.0, [0.0, 0.0], Standard())
    assert not recovers_nd(1.0, [-1.0, 0.0], Standard())
    assert recovers_nd(1.0, [-1.0, 5e-324], Standard())


def test_only_metrics_for_which_the_theorem_holds_are_taken() -> None:
    assert recovers_nd(1.0, [-1.0, 0.1], ChartFlow(Identity(), Sinh()))
    for flow in (Power(0.5), Power(2.0), ChartFlow(Identity(), Flattening())):
        with pytest.raises(InputError, match="flow"):
            recovers_nd(1.0, [-1.0, 0.1], flow)
    with pytest.raises(InputError, match=r"w\.shape"):
        recovers_nd(1.0, [1.0], Standard())
