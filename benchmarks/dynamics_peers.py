"""Other packages on the task of `benchmarks.dynamics`: which starts of the standard flow at d = 1 reach the teacher.

Each solver takes a (N,), w (N,) float64 and returns a bool (N,), and is run the way that suits it best. Those with
events end a trajectory at |aw − 1| ≤ 10⁻³, at w = 0, at |aw| ≤ 10⁻³ from w < 0, or within 10⁻⁸ of the saddle. Those
without follow the smooth field of each half-plane, which a trajectory that meets w = 0 leaves to the other branch of
aw = 1, in legs of time 16, 32, … until every trajectory has arrived somewhere.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

RTOL, ATOL, ARRIVAL, SADDLE, HORIZON, LEG = 1e-6, 1e-9, 1e-3, 1e-8, 4000.0, 16.0
Starts = NDArray[np.float64]
Recovered = NDArray[np.bool_]
Solver = Callable[[Starts, Starts], Recovered]


def numba_dp5() -> Solver:
    """Dormand-Prince 5(4), one compiled scalar loop a trajectory, over all cores."""
    import numba
    from scipy.integrate import RK45

    rows, weights, error = RK45.A, RK45.B, RK45.E

    @numba.njit(fastmath=True, inline="always")
    def field(a: float, w: float, side: float) -> tuple[float, float]:
        pull = (1 - a * w) / 2 if side > 0 else -a * w / 2
        return pull * w, pull * a

    @numba.njit(parallel=True, fastmath=True)
    def solve(a0: Starts, w0: Starts) -> Recovered:
        found = np.zeros(a0.size, np.bool_)
        for n in numba.prange(a0.size):
            a, w, t = a0[n], w0[n], 0.0
            side = 1.0 if w > 0 else -1.0
            k = np.empty((7, 2))
            k[0] = field(a, w, side)
            size, speed = np.hypot(a, w), np.hypot(k[0, 0], k[0, 1])
            h = 0.1 * size / (speed + 1e-300)
            while t < HORIZON and speed > 0:
                for i in range(1, 6):
                    x = y = 0.0
                    for j in range(i):
                        x += rows[i, j] * k[j, 0]
                        y += rows[i, j] * k[j, 1]
                    k[i] = field(a + h * x, w + h * y, side)
                x = y = 0.0
                for j in range(6):
                    x += weights[j] * k[j, 0]
                    y += weights[j] * k[j, 1]
                new_a, new_w = a + h * x, w + h * y
                k[6] = field(new_a, new_w, side)
                x = y = 0.0
                for j in range(7):
                    x += error[j] * k[j, 0]
                    y += error[j] * k[j, 1]
                ratio = h * np.hypot(x, y) / (ATOL + RTOL * np.hypot(a, w))
                if ratio <= 1:
                    t += h
                    a, w = new_a, new_w
                    k[0] = k[6]
                    if side > 0 and abs(a * w - 1) <= ARRIVAL:
                        found[n] = True
                        break
                    if (side > 0 and w < 0) or (side < 0 and abs(a * w) <= ARRIVAL) or np.hypot(a, w) < SADDLE:
                        break
                h *= min(5.0, max(0.2, 0.9 * (ratio + 1e-15) ** -0.2))
        return found

    return solve


def diffrax_tsit5() -> Solver:
    """Tsit5 vmapped over chunks of 2¹⁴, a step size and a terminating event for each trajectory."""
    import diffrax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def velocity(t: Any, y: Any, side: Any) -> Any:
        a, w = y
        pull = jnp.where(side > 0, (1 - a * w) / 2, -a * w / 2)
        return pull * w, pull * a

    def decided(t: Any, y: Any, side: Any, **_: Any) -> Any:
        a, w = y
        taught = (jnp.abs(a * w - 1) <= ARRIVAL) | (w < 0) | (jnp.hypot(a, w) < SADDLE)
        return jnp.where(side > 0, taught, jnp.abs(a * w) <= ARRIVAL)

    def one(a: Any, w: Any) -> Any:
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(velocity), diffrax.Tsit5(), 0.0, HORIZON, None, (a, w), args=jnp.sign(w),
            stepsize_controller=diffrax.PIDController(rtol=RTOL, atol=ATOL), event=diffrax.Event(decided),
            max_steps=100_000, throw=False,
        )  # fmt: skip
        end_a, end_w = solution.ys
        return (end_w[-1] > 0) & (jnp.abs(end_a[-1] * end_w[-1] - 1) <= ARRIVAL)

    batch = jax.jit(jax.vmap(one))

    def solve(a: Starts, w: Starts) -> Recovered:
        size = min(1 << 14, a.size)
        parts = [batch(a[i : i + size], w[i : i + size]) for i in range(0, a.size, size)]
        return np.concatenate([np.asarray(part) for part in parts])

    return solve


def heyoka_batch() -> Solver:
    """Taylor's method on as many trajectories at a time as the processor's vectors hold, a thread for each core."""
    import heyoka

    a, w = heyoka.make_vars("a", "w")
    lanes = heyoka.recommended_simd_size()

    def built(pull: Any) -> Any:
        return heyoka.taylor_adaptive_batch([(a, pull * w), (w, pull * a)], np.zeros((2, lanes)), tol=RTOL)

    integrators = {1: built((1 - a * w) / 2), -1: built(-a * w / 2)}

    def follow(a0: Starts, w0: Starts, side: int) -> Starts:
        taylor, ends = deepcopy(integrators[side]), np.empty((2, a0.size))
        for i in range(0, a0.size, lanes):
            here = slice(i, min(i + lanes, a0.size))
            count, leg = here.stop - i, LEG
            taylor.set_time(0.0)
            taylor.state[:, :count] = a0[here], w0[here]
            while leg <= 2 * HORIZON:
                taylor.propagate_until(leg)
                if not _open(*taylor.state, side).any():
                    break
                leg *= 2
            ends[:, here] = taylor.state[:, :count]
        return ends

    def solve(a0: Starts, w0: Starts) -> Recovered:
        found = np.zeros(a0.size, np.bool_)
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            for side in (1, -1):
                parts = np.array_split(np.flatnonzero(side * w0 > 0), 8)
                jobs = [pool.submit(follow, a0[part], w0[part], side) for part in parts]
                for part, job in zip(parts, jobs, strict=True):
                    found[part] = _taught(*job.result(), side)
        return found

    return solve


def scipy_rk45() -> Solver:
    """solve_ivp with events, one call a trajectory."""
    from scipy.integrate import solve_ivp

    def ended(side: int) -> list[Any]:
        gaps = [lambda t, y: abs(y[0] * y[1] - 1) - ARRIVAL, lambda t, y: y[1], lambda t, y: np.hypot(*y) - SADDLE]
        if side < 0:
            gaps = [lambda t, y: abs(y[0] * y[1]) - ARRIVAL]
        for gap in gaps:
            gap.terminal = True  # type: ignore[attr-defined]
        return gaps

    events = {side: ended(side) for side in (1, -1)}

    def solve(a0: Starts, w0: Starts) -> Recovered:
        found = np.zeros(a0.size, np.bool_)
        for n, start in enumerate(zip(a0, w0, strict=True)):
            side = 1 if start[1] > 0 else -1
            at = solve_ivp(_velocity(side), (0, HORIZON), start, rtol=RTOL, atol=ATOL, events=events[side]).y[:, -1]
            found[n] = side > 0 and at[1] > 0 and abs(at[0] * at[1] - 1) <= ARRIVAL * (1 + 1e-6)
        return found

    return solve


def torchdiffeq_dopri5() -> Solver:
    """dopri5 on all trajectories at once, with one step size; those that have arrived leave after each leg."""
    from torchdiffeq import odeint

    def leg(state: torch.Tensor, side: int, duration: float) -> torch.Tensor:
        times = torch.tensor([0.0, duration], dtype=state.dtype)
        end: torch.Tensor = odeint(lambda t, y: _field(y, side, 0), state, times, rtol=RTOL, atol=ATOL)[-1]
        return end

    return _in_legs(leg)


def torchode_dopri5() -> Solver:
    """Dopri5 with a step size for each trajectory; those that have arrived leave after each leg."""
    import torchode

    def leg(state: torch.Tensor, side: int, duration: float) -> torch.Tensor:
        term = torchode.ODETerm(lambda t, y: _field(y, side, 1))
        controller = torchode.IntegralController(atol=ATOL, rtol=RTOL, term=term)
        solver = torchode.AutoDiffAdjoint(torchode.Dopri5(term), controller)
        ends = torch.full((state.shape[1],), duration, dtype=state.dtype)
        problem = torchode.InitialValueProblem(y0=state.T, t_start=torch.zeros_like(ends), t_end=ends)
        at: torch.Tensor = solver.solve(problem).ys[:, -1].T
        return at

    return _in_legs(leg)


def _in_legs(leg: Callable[[torch.Tensor, int, float], torch.Tensor]) -> Solver:
    @torch.no_grad()
    def solve(a0: Starts, w0: Starts) -> Recovered:
        found = np.zeros(a0.size, np.bool_)
        for side in (1, -1):
            rows = np.flatnonzero(side * w0 > 0)
            state, duration = torch.as_tensor(np.stack([a0[rows], w0[rows]])), LEG
            while len(rows) and duration <= HORIZON:
                state = leg(state, side, duration)
                a, w = state.numpy()
                found[rows] = _taught(a, w, side)
                going = _open(a, w, side)
                rows, state, duration = rows[going], state[:, torch.as_tensor(going)], 2 * duration
        return found

    return solve


def _velocity(side: int) -> Callable[[float, Starts], list[float]]:
    def velocity(t: float, y: Starts) -> list[float]:
        pull = (1 - y[0] * y[1]) / 2 if side > 0 else -y[0] * y[1] / 2
        return [pull * y[1], pull * y[0]]

    return velocity


def _field(y: torch.Tensor, side: int, axis: int) -> torch.Tensor:
    a, w = y.unbind(axis)
    pull = (1 - a * w) / 2 if side > 0 else -a * w / 2
    return torch.stack([pull * w, pull * a], axis)


def _open(a: Starts, w: Starts, side: int) -> Recovered:
    """Which trajectories have not arrived yet."""
    product = a * w
    open_: Recovered = (np.abs(product - 1) > ARRIVAL) & (np.hypot(a, w) > SADDLE)
    return open_ if side > 0 else np.abs(product) > ARRIVAL


def _taught(a: Starts, w: Starts, side: int) -> Recovered:
    taught: Recovered = (w > 0) & (np.abs(a * w - 1) <= ARRIVAL)
    return taught & (side > 0)


# Each with the stride at which it takes the grid's starts, so that a round of the slow ones ends.
PEERS: dict[str, tuple[Callable[[], Solver], int]] = {
    "numba DP5": (numba_dp5, 1),
    "heyoka Taylor": (heyoka_batch, 1),
    "diffrax Tsit5": (diffrax_tsit5, 1),
    "torchdiffeq dopri5": (torchdiffeq_dopri5, 8),
    "torchode Dopri5": (torchode_dopri5, 8),
    "scipy RK45": (scipy_rk45, 32),
}
