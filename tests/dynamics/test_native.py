"""The loop in C against torch's operators: the same steps, from a cache that may be damaged, absent or read-only."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from fixtures.trajectories import differing

from dynamics import Outcome, integrate_nd, native
from dynamics.many_inputs import Neuron, radius
from dynamics.nd import Systems
from dynamics.stepper import System
from dynamics.tracing import OPERATIONS
from dynamics.trajectories import can_fuse, integrate
from dynamics.workers import Limits, Starts, march
from theory import (
    HAM,
    Chart,
    ChartFlow,
    Hypentropy,
    Hyperbolic,
    LayerRates,
    Power,
    Product,
    Scaled,
    SignDescent,
    SignIn,
    Standard,
    UnitSpeed,
    margin,
    recovers,
    recovers_nd,
)

pytestmark = pytest.mark.skipif(not can_fuse("cpu"), reason="needs a C compiler")
ALGEBRAIC = [Standard(), SignIn(1.0, 0.5), LayerRates(1.0, 0.25), UnitSpeed(1.0, 0.25), HAM(2.0, 8.0)]
REST = [Power(0.5), Power(0.9), Power(2.0), SignDescent(1.5)]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of its own, and nothing compiled in this process yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for known in (native.native, native.compiler, can_fuse):
        known.cache_clear()
    yield tmp_path / "sign_in_dynamics"
    for known in (native.native, native.compiler, can_fuse):
        known.cache_clear()


@pytest.mark.parametrize("flow", ALGEBRAIC, ids=str)
def test_the_loop_in_c_takes_the_same_steps(flow):
    """An event is located to a part of a step, in which roundings grow."""
    a, w = np.random.default_rng(3).uniform(-2, 2, (2, 1000))
    plain, compiled = (integrate(flow, a, w, fuse=fuse) for fuse in (False, True))
    assert set(differing(plain, compiled)) <= {"a", "w", "time"}
    for name in ("a", "w", "time"):
        assert np.allclose(getattr(plain, name), getattr(compiled, name), rtol=1e-9, atol=1e-12), name


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_starts_at_the_edges_end_alike_in_c(dtype):
    a, w = [-1, 1, 0, 1e-30, 1e18, -0.0, -1, 1, 0], [1, 0, 0, 1e-30, 1e18, 1, -1e-12, -2, -1]
    plain, compiled = (integrate(Standard(), a, w, dtype=dtype, fuse=fuse) for fuse in (False, True))
    assert np.array_equal(plain.outcome, compiled.outcome)
    assert np.array_equal(plain.reason, compiled.reason)


@pytest.mark.parametrize("flow", REST, ids=str)
def test_the_loop_in_c_finds_the_same_basins(flow):
    a, w = np.meshgrid(*2 * [np.linspace(-2, 2, 41)])
    ends, clear = integrate(flow, a, w, fuse=True), np.abs(margin(a, w, flow)) > 1e-9
    assert np.array_equal((ends.outcome == Outcome.RECOVERED)[clear], recovers(a, w, flow)[clear])


def starts_with_three_inputs(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Half of them with w near the half-line −se₁, where the flow is stiff and is followed on its slow manifold."""
    rng = np.random.default_rng(4)
    a, w = rng.normal(size=n), rng.normal(size=(n, 3))
    w[::2] = np.column_stack([-np.abs(w[::2, 0]), 0.1 * w[::2, 1:]])
    return a, w


@pytest.mark.parametrize("flow", ALGEBRAIC, ids=str)
def test_the_loop_in_c_finds_the_basins_of_three_inputs(flow):
    systems = Systems(Neuron(flow, None, 1e-5), 3)
    assert all(native.native(system, torch.float64) for system in (systems.whole, systems.slow, systems.fine))
    a, w = starts_with_three_inputs(2000)
    ends = integrate_nd(flow, a, w, fuse=True)
    assert np.array_equal(ends.outcome == Outcome.RECOVERED, recovers_nd(a, w, flow))
    assert np.array_equal(ends.outcome == Outcome.STUCK, ~recovers_nd(a, w, flow))


@pytest.mark.parametrize("flow", [SignIn(1.0, 0.5), HAM(2.0, 8.0)], ids=str)
def test_with_three_inputs_the_loop_in_c_takes_the_same_steps(flow):
    a, w = starts_with_three_inputs(64)
    plain, compiled = (integrate_nd(flow, a, w, fuse=fuse, max_steps=60) for fuse in (False, True))
    assert np.array_equal(plain.reason, compiled.reason)
    assert set(plain.outcome) == {Outcome.RECOVERED, Outcome.STUCK, Outcome.UNDECIDED}
    assert (plain.steps == compiled.steps).mean() > 0.9  # an angle rounds otherwise, by which a step may just fail
    for name in ("a", "w", "time"):
        assert np.allclose(getattr(plain, name), getattr(compiled, name), rtol=1e-4, atol=1e-6), name


def test_starts_with_two_inputs_at_the_edges_end_alike_in_c():
    a = np.array([1, -1, 0, 1, -1, 0, 1e-30, 1e18, -1e-160, 1])
    w = np.array([[0, 0], [0, 0], [0, 0], [-1, 0], [-1, 0], [-1, 1e-9], [1e-30, 0], [1, 1e18], [0, 1e-160], [1, 0]])
    plain, compiled = (integrate_nd(SignIn(1.0, 0.5), a, w, fuse=fuse) for fuse in (False, True))
    assert np.array_equal(plain.reason, compiled.reason)


RADII = [Product(0.3), Hypentropy(2.0), Hyperbolic(3.0), Scaled(Hyperbolic(0.0), 4.0), Scaled(Product(2.0), 0.5)]


@pytest.mark.parametrize("chart", RADII, ids=str)
def test_radii_in_c_are_those_of_theory(chart):
    plain, compiled = reasons(lambda x, y: radius(chart, torch.where(x.abs() <= 3, x, 0.25)))
    torch.testing.assert_close(compiled, plain, rtol=1e-13, atol=0.0)


@dataclass(frozen=True)
class Cubic(Chart):
    """θ = u³ + u, whose radius no statement in C computes."""

    def chart(self, u):
        return u**3 + u


def test_a_flow_whose_radius_has_no_statement_in_c_is_left_to_torch():
    a, w = starts_with_three_inputs(8)
    flow = ChartFlow(Cubic(), Cubic())
    plain, compiled = (integrate_nd(flow, a, w, fuse=fuse, max_steps=9) for fuse in (False, True))
    assert differing(plain, compiled) == []


ROUNDED = {
    "sqrt",
    "exp",
    "expm1",
    "log",
    "log1p",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
}
ROUNDED |= {"atan", "asin", "acos", "erf", "atan2", "hypot", "pow"}
BINARY = {"add", "sub", "mul", "div", "minimum", "maximum", "atan2", "hypot"}
GIVEN = {"clamp": (-0.5, 0.5), "clamp_min": (0.25,), "clamp_max": (0.25,), "full_like": (3.0,)}
VALUES = [0.0, -0.0, 1.0, -1.0, 0.3, -0.7, 2.5, 1e300, -1e300, 1e-310, torch.inf, -torch.inf, torch.nan, 0.5]


def reasons(value) -> list[torch.Tensor]:
    """What value(x, y) is for all pairs of VALUES, by torch and in C: as the reason for which a trajectory ends."""

    def event(before, after, given, stop):
        found = value(*given)
        found = torch.where(found, 1.0, torch.full_like(given[0], 0.0)) if found.dtype == torch.bool else found
        return torch.where(found > 0, found, torch.where(found < 0, found * -0.75, torch.where(found == 0, 3.0, 7.0)))

    def rest(state, given):
        return (torch.zeros_like(state[0]),)

    system = System(rest, event, lambda state, reason, stop: torch.ones_like(state[0]), (0,), 2)
    pairs = torch.cartesian_prod(*2 * [torch.tensor(VALUES, dtype=torch.float64)]).T.contiguous()
    one = torch.ones_like(pairs[:1])
    starts = Starts(one, pairs, one[0])
    assert native.native(system, torch.float64) is not None
    return [march(system, starts, Limits(1e-3, 0.0, 9, 1e-3), fuse=fuse)[-1] for fuse in (False, True)]


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - {"sum", "all", "cat", "where", "pow"}))
def test_every_operation_is_the_one_of_torch(name):
    function, operands = getattr(torch, name), 2 if name in BINARY else 1
    plain, compiled = reasons(lambda *given: function(*given[:operands], *GIVEN.get(name, ())))
    allowed = 1e-14 if name in ROUNDED else 0.0
    torch.testing.assert_close(compiled, plain, rtol=allowed, atol=allowed * 1e-300)


@pytest.mark.parametrize("exponent", [2, 3, 0.5, -1, -2, -0.5, 0, 1, 1.5, 1 / 3, -0.25])
def test_powers_are_those_of_torch(exponent):
    plain, compiled = reasons(lambda x, y: x**exponent)
    torch.testing.assert_close(compiled, plain, rtol=1e-14, atol=0.0)


def test_rows_are_put_together_as_torch_does():
    def value(x, y):
        rows = torch.cat([x[None], torch.cat([y[None], -x[None]])])
        return torch.where((rows[1:] == rows[1:]).all(0), (rows * y).sum(0) + rows[0], 1 - abs(x))

    torch.testing.assert_close(*reasons(value), rtol=0, atol=0)


def outcomes(fuse: bool) -> np.ndarray:
    return integrate(SignIn(1.0, 0.5), np.linspace(-2, 2, 50)[:, None], np.linspace(-2, 2, 50), fuse=fuse).steps


def test_a_damaged_library_is_compiled_again(cache):
    expected = outcomes(fuse=True)
    kept = {path: path.read_bytes() for path in cache.iterdir()}
    assert kept
    for path, content in kept.items():
        path.unlink()  # a library that is loaded stays as it is
        path.write_bytes(content[: len(content) // 2] + b"\0" + content[len(content) // 2 + 1 :])
    native.native.cache_clear()
    assert np.array_equal(outcomes(fuse=True), expected)
    assert all(path.read_bytes() == content for path, content in kept.items())


def test_a_library_is_compiled_once(cache, monkeypatch):
    expected = outcomes(fuse=True)
    native.native.cache_clear()
    monkeypatch.setattr(native, "_compile", None)
    assert np.array_equal(outcomes(fuse=True), expected)


def test_a_cache_that_cannot_be_written_to_is_done_without(cache):
    cache.parent.joinpath("sign_in_dynamics").write_text("a file where the folder should be")
    assert np.array_equal(outcomes(fuse=True), outcomes(fuse=False))


def test_without_a_compiler_torch_does_the_work(cache, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    assert not can_fuse("cpu")
    assert np.array_equal(outcomes(fuse=True), outcomes(fuse=False))


def test_what_has_no_statement_in_c_is_left_to_torch():
    def field(state, given):
        return (-torch.cumsum(state[0], 0) * 0,)

    system = System(field, lambda *_: torch.zeros(1), lambda *_: torch.zeros(1), (0,))
    assert native.native(system, torch.float64) is None
