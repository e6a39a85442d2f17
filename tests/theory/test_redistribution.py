"""The reset keeps θ to one rounding and sets β, for every float; margins never contradict the basin."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from commons import InputError
from theory import Power, SignIn, Standard, margin, metric, recovers, reset

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


@given(a=weights, w=weights, beta_a=betas, beta_w=betas)
def test_recovers_is_a_positive_margin(a: float, w: float, beta_a: float, beta_w: float) -> None:
    for flow in (Standard(), SignIn(beta_a, beta_w), Power(0.75), Power(1.5)):
        away = abs(float(margin(a, w, flow))) > 1e-290
        assert not away or bool(recovers(a, w, flow)) == bool(margin(a, w, flow) > 0)


@given(a=st.floats(-1e3, -1e-3), w=st.floats(1e-3, 1e3), beta=betas, more=st.floats(1.0, 1e3))
def test_the_basin_grows_with_the_beta_of_a(a: float, w: float, beta: float, more: float) -> None:
    assert not recovers(a, w, SignIn(beta, 1.0)) or recovers(a, w, SignIn(beta * more, 1.0))
