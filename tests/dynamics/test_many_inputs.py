"""The flow with d ≥ 2 inputs against its exact basin, a stiff integrator, and the times at which slow starts end."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from dynamics import Outcome, Reason, integrate_nd, sweeps
from dynamics.many_inputs import Neuron
from theory import Flow, SignIn, Standard, invariant_nd, recovers_nd

FLOWS = [Standard(), SignIn(1.0, 0.5), SignIn(0.3, 2.0)]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def starts(d: int, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Half anywhere, and half with w within 0.3 of the half-line −se₁, at which starts are slow."""
    rng = np.random.default_rng(seed)
    a, w = rng.normal(size=n), rng.normal(size=(n, d)) / np.sqrt(d)
    w[: n // 2, 0] = -rng.uniform(0.3, 1.5, n // 2)
    w[: n // 2, 1:] *= 0.3 / np.sqrt(d)
    return a, w


def reference(flow: Flow, a: float, w: np.ndarray, arrival: float = 1e-3) -> tuple[bool, float]:
    """Whether SciPy's stiff integrator takes a start to the teacher, and when; the slow twin, one start at a time."""

    def field(_: float, y: np.ndarray) -> np.ndarray:
        a, w = y[0], y[1:]
        n, omega = np.linalg.norm(w), np.arctan2(np.linalg.norm(w[1:]), -w[0])
        kernel = np.sin(omega) - omega * np.cos(omega)
        towards_w = a * a * w / 2 - a / (2 * np.pi) * (np.sin(omega) * w / n + omega * np.eye(len(w))[0])
        towards_a = a * n * n / 2 - n / (2 * np.pi) * kernel
        return np.append(-flow.a.metric(np.array([a])) * towards_a, -flow.w.metric(w) * towards_w)

    def arrives(_: float, y: np.ndarray) -> float:
        return float(np.linalg.norm(y[0] * np.asarray(y[1:]) - np.eye(len(y) - 1)[0]) - arrival)

    arrives.terminal = True  # type: ignore[attr-defined]
    end = solve_ivp(field, (0, 1e7), [a, *w], method="LSODA", rtol=1e-9, atol=1e-12, events=[arrives])
    return len(end.t_events[0]) == 1, float(end.t[-1])


@pytest.mark.parametrize("d", [2, 5])
@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_every_start_ends_as_the_theorem_says(flow, d):
    a, w = starts(d, 80)
    ends = integrate_nd(flow, a, w)
    assert np.array_equal(ends.outcome == Outcome.RECOVERED, recovers_nd(a, w, flow))
    assert np.array_equal(ends.outcome == Outcome.STUCK, ~recovers_nd(a, w, flow))
    recovered = ends.outcome == Outcome.RECOVERED
    drift = np.abs(invariant_nd(ends.a, ends.w, flow) - invariant_nd(a, w, flow))
    assert drift[recovered].max() < 1e-3


def test_a_start_beside_the_half_line_recovers_late():
    ends = integrate_nd(SignIn(1.0, 0.5), [-1.0], [[-np.cos(0.05), np.sin(0.05)]])
    assert ends.outcome == Outcome.RECOVERED
    assert float(ends.time[0]) == pytest.approx(59_652, rel=1e-4)
    assert ends.steps < 1000


@pytest.mark.parametrize("flow", [Standard(), SignIn(1.0, 0.5)], ids=str)
def test_slow_starts_take_the_time_of_a_stiff_integrator(flow):
    a = np.array([-0.6, -0.3, 0.8, 0.02])
    w = np.array([[-1.0, 0.12, 0.0], [-0.8, 0.1, 0.05], [-0.7, 0.05, -0.1], [-1.0, 0.0, 0.2]])
    ends = integrate_nd(flow, a, w)
    for i in range(len(a)):
        taught, time = reference(flow, a[i], w[i])
        assert taught
        assert ends.outcome[i] == Outcome.RECOVERED
        assert ends.time[i] == pytest.approx(time, rel=1e-4)


def test_slow_is_not_stuck():
    """The time grows like ω⁻⁴ down to ω = 10⁻⁴, and no start with E(a) < E(w) is lost."""
    opening, a = (x.ravel() for x in np.meshgrid(10 ** np.linspace(-4, -0.5, 8), np.linspace(-0.6, 0, 4)))
    w = np.stack([-np.cos(opening), np.sin(opening)], axis=1)
    ends = integrate_nd(SignIn(1.0, 0.5), a, w)
    assert (ends.outcome == Outcome.RECOVERED).all()
    assert (ends.time > 0.02 * opening**-4).all()


def test_a_horizon_leaves_a_slow_start_undecided():
    ends = integrate_nd(SignIn(1.0, 0.5), [-1.0], [[-np.cos(0.05), np.sin(0.05)]], horizon=50_000.0)
    assert ends.reason == Reason.HORIZON
    assert ends.time == pytest.approx(50_000)


@pytest.mark.parametrize("flow", FLOWS, ids=str)
def test_the_half_line_itself_is_stuck(flow):
    ends = integrate_nd(flow, [1.0, 0.2, -0.5, -1.5], np.tile([-1.0, 0.0, 0.0], (4, 1)))
    assert (ends.outcome == Outcome.STUCK).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_balanced_starts_of_equal_charts_end_in_the_saddle(sign):
    w = np.random.default_rng(1).normal(size=(10, 4))
    w[:, 0] = sign * np.abs(w[:, 0])
    ends = integrate_nd(Standard(), -np.linalg.norm(w, axis=1), w)
    assert (ends.outcome == Outcome.SADDLE).all()


def test_on_samples_the_energies_decide_too():
    x = np.random.default_rng(2).normal(size=(50, 2))
    a, w = np.array([-2.0, -0.2]), np.array([[0.5, 0.5], [0.9, 0.4]])
    ends = integrate_nd(Standard(), a, w, samples=x, arrival=1e-2)
    assert list(ends.outcome) == [Outcome.STUCK, Outcome.RECOVERED]


@given(opening=st.floats(1e-6, 1.5), size=st.floats(0.1, 10), a=st.floats(-5, 5))
def test_the_gradient_has_its_digits_beside_the_half_line(opening, size, a):
    """∂L/∂a = ½a‖w‖² − (‖w‖/2π)(sin ω − ω cos ω), which is taken here from its series where ω is small."""
    w = torch.tensor([[-size * np.cos(opening)], [size * np.sin(opening)]])
    slope = float(Neuron(Standard(), None, 1e-5).gradient(torch.tensor([a], dtype=torch.float64), w)[0])
    terms = sum((-1) ** (k + 1) * 2 * k * opening ** (2 * k + 1) / float(_factorial(2 * k + 1)) for k in range(1, 12))
    assert slope == pytest.approx(a * size**2 / 2 - size / (2 * np.pi) * terms, rel=1e-12, abs=1e-15 * size)


def _factorial(n: int) -> int:
    return 1 if n < 2 else n * _factorial(n - 1)


def test_the_sweep_counts_undecided_apart(monkeypatch):
    """Two starts recover, one is stuck, one is cut off: two thirds, in an interval that allows for either end of it."""

    class Ends:
        outcome = np.array([0, 0, 2, 4], dtype=np.int8)

    monkeypatch.setattr(sweeps, "integrate_nd", lambda flow, a, w: type("E", (), {"outcome": np.tile(Ends.outcome, 4)}))
    monkeypatch.setattr(
        sweeps, "integrate", lambda flow, a, w: type("E", (), {"outcome": np.tile([0, 0, 0, 2], (4, 1))})
    )
    sweep = sweeps.dimension(grid=2, starts=4)
    assert sweep.rate[1] == pytest.approx(2 / 3)
    assert sweep.undecided[1] == pytest.approx(0.25)
    assert sweep.rate[0] == pytest.approx(0.75)
    assert (sweep.low[1] < 0.5).all()
    assert (sweep.high[1] > 0.75).all()


def test_every_start_of_the_paper_s_quadrants_is_decided():
    sweep = sweeps.dimension(grid=3, starts=40, flow=SignIn(1.0, 0.5))
    assert (sweep.undecided == 0).all()
    assert sweep.rate[0].tolist() == [1, 0, 1, 0]  # d = 1
    assert (sweep.rate[1:] == 1).all()
