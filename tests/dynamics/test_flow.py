"""Laws of the d = 1 integrator: it must find, without being told, what the exact basins say."""

import types
from dataclasses import dataclass

import numpy as np
import pytest
import sympy as sp
import torch
from fixtures.trajectories import differing
from hypothesis import given, settings
from hypothesis import strategies as st

from commons import InputError
from dynamics import Outcome, Reason
from dynamics.fields import half_plane
from dynamics.sampling import sample_paths
from dynamics.stepper import compiler_options
from dynamics.tableaux import TSIT5, dormand_prince_8
from dynamics.trajectories import Trajectories, integrate
from theory import (
    HAM,
    Chart,
    ChartFlow,
    Identity,
    LayerRates,
    Power,
    SignDescent,
    SignIn,
    SignInSignDescent,
    Standard,
    UnitSpeed,
    invariant,
    margin,
    recovers,
    time_to_loss,
)

FLOWS = [Standard(), SignIn(1.0, 0.5), SignIn(0.3, 1.0), SignIn(1.0, 1.0), Power(0.5), Power(0.9), Power(2.0)]
CONTROLS = [LayerRates(1.0, 0.25), UnitSpeed(1.0, 0.25), HAM(2.0, 8.0), SignDescent(), SignDescent(1.5)]
CONTROLS += [SignInSignDescent(1.0, 0.25), SignInSignDescent(0.25, 1.0, 1.5)]
AXIS = np.linspace(-2, 2, 65)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("pair", "order", "estimates"), [(TSIT5, 5, [4]), (dormand_prince_8(), 8, [5, 3])], ids=str)
def test_pair_satisfies_its_order_conditions(pair, order, estimates):
    """Quadrature, then the conditions Σ bᵢcᵢʲ(Ac^k)ᵢ = 1/((k + 1)(j + k + 2)) of the trees with one branch."""
    n = len(pair.weights)
    a = np.zeros((n + 1, n + 1))
    for i, row in enumerate((*pair.stages, pair.weights), start=1):
        a[i, : len(row)] = row
    b, c = np.array([*pair.weights, 0]), a.sum(1)
    for power in range(order):
        assert b @ c**power == pytest.approx(1 / (power + 1), abs=1e-13)
        for outer in range(order - power - 1):
            exact = 1 / ((power + 1) * (outer + power + 2))
            assert (b * c**outer) @ a @ c**power == pytest.approx(exact, abs=1e-12)
    for weights, lower in zip(pair.errors, estimates, strict=True):
        for power in range(lower):
            assert np.array(weights) @ c**power == pytest.approx(0, abs=1e-13)


@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_outcome_agrees_with_exact_basin(flow):
    a, w = AXIS[:, None], AXIS[None]
    ends = integrate(flow, a, w)
    clear = np.abs(margin(a, w, flow)) > 1e-9
    assert np.array_equal((ends.outcome == Outcome.RECOVERED)[clear], recovers(a, w, flow)[clear])


@pytest.mark.parametrize("flow", [HAM(0.0, 1e8), HAM(1e8, 0.0), UnitSpeed(1.0, 2e-8)], ids=str)
def test_a_weight_that_is_far_faster_than_the_other_comes_to_the_wall(flow):
    """Steps that are too long for it, though within the tolerance, would leave it above the wall for ever."""
    a, w = AXIS[::8, None], AXIS[None, ::8]
    ends = integrate(flow, a, w)
    assert not (ends.outcome == Outcome.UNDECIDED).any()
    assert np.array_equal(ends.outcome == Outcome.RECOVERED, recovers(a, w, flow))


class Sinh(Chart):
    def chart(self, u):
        return sp.sinh(u) / 2


@dataclass(frozen=True)
class Squared(Chart):
    """A parameter that works through another attribute, so that a symbol in its place would not do."""

    k: float

    def chart(self, u):
        return u

    def metric_expression(self, theta):
        return 1 + self.k**2 * theta**2 if self.k > 1 else 1 + theta**2


class Cubic(Chart):
    def chart(self, u):
        return u + u**3


@pytest.mark.parametrize("flow", [ChartFlow(Identity(), Sinh()), ChartFlow(Cubic(), Identity())])
def test_charts_of_your_own_are_integrated(flow):
    axis = np.linspace(-2, 2, 33)
    a, w = axis[:, None], axis[None]
    clear = np.abs(margin(a, w, flow)) > 1e-6
    recovered = integrate(flow, a, w).outcome == Outcome.RECOVERED
    assert np.array_equal(recovered[clear], recovers(a, w, flow)[clear])


@pytest.mark.parametrize("p", [1.999, 0.999])
def test_a_power_near_a_whole_one_has_a_field(p):
    """Its coordinate is the 1999th root of w, in which no polynomial is ever factored."""
    a, w = AXIS[::8, None], AXIS[None, ::8]
    clear = np.abs(margin(a, w, Power(p))) > 1e-9
    ends = integrate(Power(p), a, w)
    assert np.array_equal((ends.outcome == Outcome.RECOVERED)[clear], recovers(a, w, Power(p))[clear])


def test_values_of_a_chart_of_your_own_are_told_apart():
    ends = [float(integrate(ChartFlow(Squared(k), Identity()), 1.0, 0.5, horizon=0.5).a) for k in (0.5, 2.0, 3.0)]
    assert len(set(ends)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("flow", [*FLOWS, SignIn(1.0, 100.0), SignIn(100.0, 0.001), Power(1.5), *CONTROLS], ids=str)
def test_a_million_starts_are_all_right(flow):
    axis = np.linspace(-2, 2, 1024)
    a, w = axis[:, None], axis[None]
    ends = integrate(flow, a, w)
    clear = np.abs(margin(a, w, flow)) > 1e-9
    assert np.array_equal((ends.outcome == Outcome.RECOVERED)[clear], recovers(a, w, flow)[clear])
    assert not (clear & np.isin(ends.outcome, [Outcome.UNDECIDED, Outcome.SADDLE]) & (w > 0)).any()
    assert not (clear & (ends.outcome == Outcome.UNDECIDED)).any()


@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_only_the_separatrix_is_undecided(flow):
    a, w = AXIS[:, None], AXIS[None]
    ends = integrate(flow, a, w)
    assert np.all(np.abs(margin(a, w, flow)[ends.outcome == Outcome.UNDECIDED]) < 1e-9)


@pytest.mark.parametrize("flow", [Standard(), SignIn(1.0, 0.5)], ids=str)
def test_what_a_horizon_cuts_off_takes_longer(flow):
    """Undecided exactly where the theory needs more time to bring aw within `arrival` of 1."""
    a, w = (x[recovers(AXIS[:, None], AXIS[None], flow)] for x in np.broadcast_arrays(AXIS[:, None], AXIS[None]))
    horizon = 8.0
    ends = integrate(flow, a, w, horizon=horizon)
    needed = time_to_loss(a, w, flow, 1e-6 / 4)
    assert np.all(needed[ends.outcome == Outcome.UNDECIDED] > horizon - 1e-4)
    assert np.all(needed[ends.outcome == Outcome.RECOVERED] < horizon + 1e-4)
    assert (ends.reason[ends.outcome == Outcome.UNDECIDED] == Reason.HORIZON).all()


@given(a=st.floats(0.01, 3), w=st.floats(-3, -0.01), rtol=st.floats(1e-8, 0.5))
@settings(max_examples=40)
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


@pytest.mark.parametrize("flow", [SignIn(1.0, 0.5), Power(0.5)], ids=str)
def test_order_and_threads_change_no_outcome(flow):
    a, w = np.random.default_rng(1).uniform(-2, 2, (2, 20_000))
    order = np.random.default_rng(2).permutation(len(a))
    straight = integrate(flow, a, w)
    torch.set_num_threads(3)
    shuffled = integrate(flow, a[order], w[order])
    assert torch.get_num_threads() == 3
    assert np.array_equal(straight.outcome[order], shuffled.outcome)
    if isinstance(flow, SignIn):
        ordered = Trajectories(**{name: row[order] for name, row in vars(straight).items()})
        assert not differing(ordered, shuffled)


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # torch of its own compiler
def test_the_compiler_is_asked_for_what_it_knows_and_for_no_contraction_on_cuda():
    options = compiler_options()
    torch.compile(torch.sin, options=options)  # which refuses the names of unknown options
    assert options["emulate_precision_casts"]


def test_names_of_the_room_stay_functions():
    """A module of the same name as a function would take its place once it is imported."""
    import dynamics

    for name in dynamics.__all__:
        assert not isinstance(getattr(dynamics, name), types.ModuleType), name


@pytest.mark.parametrize("rtol", [1e-6, 1e-9])
@pytest.mark.parametrize("flow", [*FLOWS, SignIn(100.0, 0.001), Power(1.5)], ids=str)
def test_invariant_drifts_less_than_ten_tolerances(flow, rtol):
    """The tolerance of the invariant: what an error of atol + rtol·‖(a, y)‖ in the coordinates (a, y) makes of it."""
    a0, w0 = np.random.default_rng(2).uniform(-2, 2, (2, 60))
    a, w = sample_paths(flow, a0, w0, np.linspace(0, 8, 17), rtol=rtol)
    allowed = np.zeros_like(a)
    for side in (1, -1):
        field, here, e = half_plane(flow, side), side * w > 0, 1e-6
        y = field.coordinate(torch.as_tensor(np.where(here, w, side))).numpy()
        slopes = [
            (invariant(a + da, side * (y + dy) ** field.power, flow) - invariant(a, side * y**field.power, flow)) / e
            for da, dy in ((e, 0), (0, e))
        ]
        allowed = np.where(here, rtol * (1e-3 + np.hypot(a, y)) * np.hypot(*slopes), allowed)
    drift = np.abs(invariant(a, w, flow) - invariant(a0, w0, flow))
    assert (drift < 10 * np.maximum.accumulate(allowed)).all()


def test_event_time_is_located():
    """From a = w = s the product z = aw obeys ż = (1 − z)z, so aw = 1 − 10⁻³ at a known time."""
    start, end = 0.25, 1 - 1e-3
    exact = np.log(end / (1 - end)) - np.log(start / (1 - start))
    ends = integrate(Standard(), 0.5, 0.5, rtol=1e-9, atol=1e-12)
    assert float(ends.time) == pytest.approx(exact, abs=1e-5)
    assert float(ends.a * ends.w) == pytest.approx(end, abs=1e-7)


@pytest.mark.parametrize("flow", [Standard(), SignIn(1.0, 0.5)], ids=str)
def test_arrival_at_the_wall_is_located(flow):
    """Where a start fails, w = 0 is reached when the loss has fallen to ¼."""
    a, w = np.random.default_rng(4).uniform((-2, 0.1), (-1, 0.9), (50, 2)).T
    ends = integrate(flow, a, w)
    assert (ends.reason == Reason.WALL).all()
    assert np.abs(ends.w).max() < 1e-5
    assert ends.time == pytest.approx(time_to_loss(a, w, flow, 0.25), rel=1e-5)


@pytest.mark.parametrize("size", [1e-3, 1e-12, 1e-30])
def test_tiny_starts_take_the_time_that_they_need(size):
    ends = integrate(Standard(), size, size)
    assert float(ends.time) == pytest.approx(float(time_to_loss(size, size, Standard(), 1e-6 / 4)), rel=1e-4)


def test_paths_that_cannot_go_on_are_not_drawn():
    a, w = sample_paths(Standard(), [0.5, 1e200], [0.5, 1e200], [0.0, 1.0])
    assert np.isfinite(a[:, 0]).all()
    assert np.isnan(a[1, 1])
    assert np.isnan(w[1, 1])


def test_float32_decides_the_same_away_from_the_edge():
    a, w = AXIS[:, None], AXIS[None]
    ends = integrate(Standard(), a, w, dtype=torch.float32, rtol=1e-4, atol=1e-6)
    clear = np.abs(margin(a, w, Standard())) > 1e-2
    assert np.array_equal((ends.outcome == Outcome.RECOVERED)[clear], recovers(a, w, Standard())[clear])


@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_float32_has_a_tolerance_of_its_own(flow):
    a, w = AXIS[:, None], AXIS[None]
    ends = integrate(flow, a, w, dtype=torch.float32)
    clear = np.abs(margin(a, w, flow)) > 1e-3
    assert np.array_equal((ends.outcome == Outcome.RECOVERED)[clear], recovers(a, w, flow)[clear])
    assert not (ends.outcome == Outcome.UNDECIDED).any()
    assert integrate(flow, 0.5, 0.5).steps == integrate(flow, 0.5, 0.5, rtol=1e-6).steps


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_gpu_agrees_with_cpu():
    a, w = AXIS[:, None], AXIS[None]
    for flow in FLOWS[:4]:
        assert np.array_equal(integrate(flow, a, w).outcome, integrate(flow, a, w, device="cuda").outcome)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # torch of its own compiler
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_the_compiled_loop_takes_the_same_steps_on_a_gpu():
    a, w = np.random.default_rng(3).uniform(0, 2, (2, 3000))
    a -= 1
    eager, fused = (integrate(SignIn(1.0, 0.5), a, w, fuse=fuse, device="cuda") for fuse in (False, True))
    assert not differing(eager, fused)


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
        {"a0": np.ones(5), "w0": np.ones((5, 3))},
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
