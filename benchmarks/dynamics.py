"""Trajectories per second of this integrator beside its peers: starts in [−2, 2]², rtol 1e-6, until decided.

python -m benchmarks.dynamics --grid 256 --rounds 3; peers need the extra `bench`. Nothing here is imported elsewhere.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from commons.tables import aligned
from dynamics.integrate import integrate
from dynamics.outcome import Outcome
from theory import Standard, margin, recovers

RTOL, ATOL, ARRIVAL, HORIZON = 1e-6, 1e-9, 1e-3, 4000.0
Starts = NDArray[np.float64]
Solver = Callable[[Starts, Starts], NDArray[np.bool_]]


def ours(fuse: bool) -> Solver:
    def solve(a: Starts, w: Starts) -> NDArray[np.bool_]:
        return (
            integrate(Standard(), a, w, rtol=RTOL, atol=ATOL, arrival=ARRIVAL, fuse=fuse).outcome == Outcome.RECOVERED
        )

    return solve


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
    def solve(a0: Starts, w0: Starts) -> NDArray[np.bool_]:
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
                    if (side > 0 and w < 0) or (side < 0 and abs(a * w) <= ARRIVAL) or np.hypot(a, w) < 1e-8:
                        break
                h *= min(5.0, max(0.2, 0.9 * (ratio + 1e-15) ** -0.2))
        return found

    return lambda a, w: solve(a.ravel(), w.ravel()).reshape(a.shape)


def diffrax_tsit5() -> Solver:
    """Tsit5 vmapped over chunks of 2¹⁴, a step size and a terminating event for each trajectory."""
    import diffrax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def velocity(t: object, y: object, side: object) -> object:
        a, w = y  # type: ignore[misc]
        pull = jnp.where(side > 0, (1 - a * w) / 2, -a * w / 2)  # type: ignore[operator]
        return pull * w, pull * a

    def decided(t: object, y: object, side: object, **_: object) -> object:
        a, w = y  # type: ignore[misc]
        taught = (jnp.abs(a * w - 1) <= ARRIVAL) | (w < 0) | (jnp.hypot(a, w) < 1e-8)
        return jnp.where(side > 0, taught, jnp.abs(a * w) <= ARRIVAL)  # type: ignore[operator]

    def one(a: object, w: object) -> object:
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(velocity), diffrax.Tsit5(), 0.0, HORIZON, None, (a, w), args=jnp.sign(w),
            stepsize_controller=diffrax.PIDController(rtol=RTOL, atol=ATOL), event=diffrax.Event(decided),
            max_steps=100_000, throw=False,
        )  # fmt: skip
        end_a, end_w = solution.ys
        return (end_w[-1] > 0) & (jnp.abs(end_a[-1] * end_w[-1] - 1) <= ARRIVAL)

    batch = jax.jit(jax.vmap(one))

    def solve(a: Starts, w: Starts) -> NDArray[np.bool_]:
        size = min(1 << 14, a.size)
        parts = [batch(a.ravel()[i : i + size], w.ravel()[i : i + size]) for i in range(0, a.size, size)]
        return np.concatenate([np.asarray(part) for part in parts]).reshape(a.shape)

    return solve


SOLVERS: dict[str, Callable[[], Solver]] = {
    "dynamics": lambda: ours(False),
    "dynamics, fused": lambda: ours(True),
    "numba DP5": numba_dp5,
    "diffrax Tsit5": diffrax_tsit5,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grid", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--solvers", nargs="+", choices=list(SOLVERS), default=list(SOLVERS))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    axis = np.linspace(-2, 2, args.grid)
    a, w = (np.ascontiguousarray(x) for x in np.meshgrid(axis, axis, indexing="ij"))
    clear = np.abs(margin(a, w, Standard())) > 1e-9
    exact = recovers(a, w, Standard())
    solvers, wrong, times = {name: SOLVERS[name]() for name in args.solvers}, {}, {name: [] for name in args.solvers}
    for name, solve in solvers.items():  # the first call compiles and is not timed
        wrong[name] = int((solve(a, w) != exact)[clear].sum())
    for _ in range(args.rounds):
        for name, solve in solvers.items():
            begun = time.perf_counter()
            solve(a, w)
            times[name].append(time.perf_counter() - begun)
    rows = [
        {"solver": n, "million trajectories/s": a.size / statistics.median(times[n]) / 1e6, "misclassified": wrong[n]}
        for n in args.solvers
    ]
    print(aligned(rows))
    print(f"peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
