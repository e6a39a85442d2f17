"""Laws of the d = 1 integrator: it must find, without being told, what the exact basins say."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from commons import InputError
from dynamics import Outcome, Reason
from dynamics.integrate import integrate
from dynamics.sampling import sample_paths
from dynamics.tableau import ERROR, STAGES, WEIGHTS
from theory import Power, SignIn, Standard, invariant, margin, recovers

FLOWS = [Standard(), SignIn(1.0, 0.5), SignIn(0.3, 1.0), SignIn(1.0, 1.0), Power(0.5), Power(0.9), Power(2.0)]
AXIS = np.linspace(-2, 2, 65)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_pair_satisfies_its_order_conditions():
    a = np.zeros((7, 7))
    for i, row in enumerate((*STAGES, WEIGHTS), start=1):
        a[i, : len(row)] = row
    b, c = np.array([*WEIGHTS, 0]), a.sum(1)
    for power in range(5):
        assert b @ c**power == pytest.approx(1 / (power + 1), abs=1e-13)
    assert b @ a @ c**3 == pytest.approx(1 / 20, abs=1e-13)
    assert (b * c) @ a @ c**2 == pytest.approx(1 / 15, abs=1e-13)
    for power in range(4):
        assert np.array(ERROR) @ c**power == pytest.approx(0, abs=1e-13)


@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_outcome_agrees_with_exact_basin(flow):
    a, w = AXIS[:, None], AXIS[None]
    ends = integrate(flow, a, w)
    clear = np.abs(margin(a, w, flow)) > 1e-9
    assert np.array_equal((ends.outcome == Outcome.RECOVERED)[clear], recovers(a, w, flow)[clear])


@pytest.mark.parametrize("flow", FLOWS[:4], ids=str)
def test_only_the_separatrix_is_undecided(flow):
    a, w = AXIS[:, None], AXIS[None]
    ends = integrate(flow, a, w)
    assert np.all(np.abs(margin(a, w, flow)[ends.outcome == Outcome.UNDECIDED]) < 1e-9)


@given(a=st.floats(0.01, 3), w=st.floats(-3, -0.01), rtol=st.floats(1e-8, 0.5))
@settings(deadline=None, max_examples=40)
def test_no_tolerance_jumps_the_wall(a, w, rtol):
    assert integrate(Standard(), a, w, rtol=rtol).outcome != Outcome.RECOVERED


def test_sticking_line_ends():
    ends = integrate(Standard(), [-1.0, -0.5, -2.0], [0.0, 1e-12, -1e-12])
    assert (ends.outcome == Outcome.STUCK).all()
    assert ends.steps.max() < 100


def test_long_passage_by_the_saddle_is_followed():
    ends = integrate(SignIn(1.0, 0.25), -1.0, np.array([1.0, 0.9]))
    assert np.array_equal(ends.outcome == Outcome.RECOVERED, recovers(-1.0, np.array([1.0, 0.9]), SignIn(1.0, 0.25)))


def test_short_horizon_is_undecided_with_a_reason():
    ends = integrate(Standard(), -0.5, 0.6, horizon=0.1)
    assert ends.outcome == Outcome.UNDECIDED
    assert ends.reason == Reason.HORIZON
    assert ends.time == pytest.approx(0.1)


def test_balanced_start_arrives_at_the_saddle():
    assert integrate(Standard(), -1.0, 1.0).outcome == Outcome.SADDLE


def test_one_overflow_leaves_the_others_alone():
    a, w = np.array([1e200, 0.5, 0.7]), np.array([1e200, 0.5, -0.7])
    ends = integrate(Standard(), a, w)
    assert ends.reason[0] == Reason.ROUNDOFF
    assert list(ends.outcome) == [Outcome.UNDECIDED, Outcome.RECOVERED, Outcome.STUCK]


def test_hard_trajectory_is_the_same_in_a_crowd():
    rng = np.random.default_rng(0)
    a, w = rng.uniform(-2, 2, (2, 20_000))
    a[0], w[0] = -1.0, 1.0001
    crowd, alone = integrate(Standard(), a, w), integrate(Standard(), a[0], w[0])
    assert crowd.time[0] == pytest.approx(float(alone.time), rel=1e-12)
    assert crowd.a[0] == pytest.approx(float(alone.a), rel=1e-12)


def test_permutation_changes_nothing():
    rng = np.random.default_rng(1)
    a, w = rng.uniform(-2, 2, (2, 9000))
    order = rng.permutation(9000)
    straight, shuffled = integrate(SignIn(1.0, 0.5), a, w), integrate(SignIn(1.0, 0.5), a[order], w[order])
    assert np.array_equal(straight.outcome[order], shuffled.outcome)


@pytest.mark.parametrize("flow", FLOWS[:4], ids=str)
def test_invariant_is_kept_along_the_way(flow):
    rng = np.random.default_rng(2)
    a0, w0 = rng.uniform(-2, 2, (2, 30))
    a, w = sample_paths(flow, a0, w0, np.linspace(0, 8, 17), rtol=1e-9)
    assert np.abs(invariant(a, w, flow) - invariant(a0, w0, flow)).max() < 10 * 1e-9 * 10


def test_event_time_is_located():
    """From a = w = s the product z = aw obeys ż = (1 − z)z, so aw = 1 − 10⁻³ at a known time."""
    start, end = 0.25, 1 - 1e-3
    exact = np.log(end / (1 - end)) - np.log(start / (1 - start))
    ends = integrate(Standard(), 0.5, 0.5, rtol=1e-9, atol=1e-12)
    assert float(ends.time) == pytest.approx(exact, abs=1e-5)
    assert float(ends.a * ends.w) == pytest.approx(end, abs=1e-7)


def test_float32_decides_the_same_away_from_the_edge():
    a, w = AXIS[:, None], AXIS[None]
    ends = integrate(Standard(), a, w, dtype=torch.float32, rtol=1e-4, atol=1e-6)
    clear = np.abs(margin(a, w, Standard())) > 1e-2
    assert np.array_equal((ends.outcome == Outcome.RECOVERED)[clear], recovers(a, w, Standard())[clear])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_gpu_agrees_with_cpu():
    a, w = AXIS[:, None], AXIS[None]
    for flow in FLOWS[:4]:
        assert np.array_equal(integrate(flow, a, w).outcome, integrate(flow, a, w, device="cuda").outcome)


@pytest.mark.parametrize(
    "wrong",
    [
        {"a0": np.nan},
        {"w0": np.inf},
        {"rtol": -1e-6},
        {"atol": -1.0},
        {"horizon": np.inf},
        {"horizon": -1.0},
        {"rtol": 1e-9, "dtype": torch.float32},
        {"max_steps": 0},
    ],
    ids=str,
)
def test_mistakes_get_one_line(wrong):
    with pytest.raises(InputError) as caught:
        integrate(**{"flow": Standard(), "a0": 1.0, "w0": 1.0, **wrong})
    assert "\n" not in str(caught.value)


def test_negative_beta_is_refused():
    with pytest.raises(InputError, match="beta"):
        SignIn(-1.0, 1.0)
