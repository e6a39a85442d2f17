"""Trajectories per second of the integrator beside other packages: N × N starts in [−2, 2]², rtol 1e-6, until decided.

    python -m benchmarks.dynamics [--grid 1024] [--rounds 5] [--solvers NAME ...] [--out results]

Every solver runs in a process of its own, they take turns, and the table says the peak memory of each process. Peers
need the extra `bench`; one that cannot be imported is named and left out.
"""

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.dynamics_peers import ARRIVAL, ATOL, PEERS, RTOL, Recovered, Solver, Starts
from benchmarks.rounds import ratios, read_csv, spread
from commons.cli import Parser, progress
from commons.files import output_directory, write_csv
from commons.tables import aligned
from theory import Standard, margin, recovers

OURS = "dynamics, fused"
RATIOS = ("least ours / it", "ours / it", "most ours / it")


def ours(fuse: bool, device: str = "cpu") -> Solver:
    """This project's integrator."""
    from dynamics import Outcome, integrate

    def solve(a: Starts, w: Starts) -> Recovered:
        ends = integrate(Standard(), a, w, rtol=RTOL, atol=ATOL, arrival=ARRIVAL, fuse=fuse, device=device)
        found: Recovered = ends.outcome == Outcome.RECOVERED
        return found

    return solve


SOLVERS: dict[str, tuple[Callable[[], Solver], int]] = {
    OURS: (lambda: ours(True), 1),
    "dynamics, eager": (lambda: ours(False), 1),
    **PEERS,
    "dynamics, fused, cuda": (lambda: ours(True, "cuda"), 1),
}


def starts(grid: int, stride: int) -> tuple[Starts, Starts]:
    """Every stride-th start of the grid along each axis, a (N,) and w (N,)."""
    axis = np.linspace(-2, 2, grid)[stride // 2 :: stride]
    a, w = np.meshgrid(axis, axis, indexing="ij")
    return a.ravel(), w.ravel()


def serve(name: str, grid: int, link: Connection) -> None:
    """Solve the task each time that it is asked for, in this process; the first time compiles and is not timed."""
    make, stride = SOLVERS[name]
    a, w = starts(grid, stride)
    try:
        solve = make()
        found = solve(a, w)
    except Exception as error:  # a package, or a device, that is not here or does not work
        link.send(RuntimeError(f"{type(error).__name__}: {error}"))  # not every exception can be sent
        return
    wrong = 0
    for part in np.array_split(np.arange(a.size), 64):  # so that the check takes less memory than what it checks
        clear = np.abs(margin(a[part], w[part], Standard())) > 1e-9
        wrong += int((found[part] != recovers(a[part], w[part], Standard()))[clear].sum())
    link.send({"starts": a.size, "misclassified": wrong})
    while link.recv():
        begun = time.perf_counter()
        solve(a, w)
        link.send((time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def measure(names: list[str], grid: int, rounds: int) -> list[dict[str, Any]]:
    """A row for each solver that is there; its ratios, this project's speed over its own, are taken round by round."""
    context = multiprocessing.get_context("spawn")
    links, facts, seconds, memory = {}, {}, {name: [] for name in names}, dict.fromkeys(names, 0.0)
    for name in names:
        links[name], theirs = context.Pipe()
        context.Process(target=serve, args=(name, grid, theirs), daemon=True).start()
        theirs.close()  # so that a process that dies is an end of file here, and no endless wait
        found = links[name].recv()
        if isinstance(found, Exception):
            print(f"{name} is left out: {found}")
        else:
            facts[name] = found
    with progress() as bar:
        for _ in bar.track(range(rounds), description="rounds"):
            for name in facts:
                links[name].send(True)
                spent, memory[name] = links[name].recv()
                seconds[name].append(spent)
    for name in facts:
        links[name].send(False)
    speed = {name: [facts[name]["starts"] / spent / 1e6 for spent in seconds[name]] for name in facts}
    return [
        {
            "solver": name,
            "starts": facts[name]["starts"],
            **spread(speed[name], "million a second"),
            **dict(zip(RATIOS, ratios(speed[OURS], speed[name]) if OURS in speed else [None] * 3, strict=True)),
            "misclassified": facts[name]["misclassified"],
            "peak MiB": round(memory[name]),
        }
        for name in facts
    ]


def contests(folder: Path) -> list[dict[str, Any]]:
    """The line of `make bench`: ours beside the fastest peer that misclassifies no start."""
    rows = {row["solver"]: row for row in read_csv(folder / "dynamics-speed.csv")}
    peers = [row for name, row in rows.items() if name in PEERS and int(row["misclassified"]) == 0]
    if OURS not in rows or not peers:
        return []
    fastest = max(peers, key=lambda row: float(row["median"]))
    line = {"row": f"trajectories, {rows[OURS]['starts']} starts", "ours": f"{float(rows[OURS]['median']):.3g} M/s"}
    line["fastest right peer"] = f"{float(fastest['median']):.3g} M/s, {fastest['solver']}"
    numbers = dict(zip(("least", "ratio", "most"), (float(fastest[name]) for name in RATIOS), strict=True))
    return [{**line, **{key: numbers[key] for key in ("ratio", "least", "most")}, "target": ">= 2.2"}]


def main() -> int:
    """Print and write the table."""
    parser = Parser(prog="python -m benchmarks.dynamics", description=__doc__)
    parser.add_argument("--grid", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--solvers", nargs="+", choices=list(SOLVERS), default=list(SOLVERS))
    parser.add_argument("--out", type=Path, help="folder for dynamics-speed.csv")
    parser.set_defaults(run=run)
    return parser.execute()


def run(args: argparse.Namespace) -> None:
    """The command."""
    rows = measure(args.solvers, args.grid, args.rounds)
    print(aligned(rows))
    if args.out:
        write_csv(output_directory("out", args.out) / "dynamics-speed.csv", rows)


if __name__ == "__main__":
    sys.exit(main())
