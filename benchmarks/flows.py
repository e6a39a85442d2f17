"""Speed of every flow: starts in [−2, 2]² at d = 1, and Gaussian starts at d = 3, each until it is decided.

    python -m benchmarks.flows [--grid 256] [--many 512] [--rounds 3] [--fuse] [--out results]

The flows take turns. Seconds are of processor time on one thread, which other work on the machine changes little; `of
standard` compares with the standard flow of the same round. A flow that `integrate_nd` refuses has no row at d = 3.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.rounds import ratios, spread
from commons import InputError
from commons.cli import Parser, progress
from commons.files import output_directory, write_csv, write_text
from commons.tables import aligned
from dynamics import Outcome, Trajectories, integrate, integrate_nd
from theory import FLOWS

Task = Callable[[], Trajectories]


def tasks(grid: int, many: int, fuse: bool) -> dict[tuple[str, int], Task]:
    """What to integrate, by flow and dimension, each tried once, which also compiles."""
    axis = np.linspace(-2, 2, grid)
    a, w = (part.ravel() for part in np.meshgrid(axis, axis, indexing="ij"))
    draw = np.random.default_rng(0)
    a0, w0 = draw.standard_normal(many), draw.standard_normal((many, 3))
    found: dict[tuple[str, int], Task] = {}
    for name in FLOWS:
        flow = FLOWS.find("flow", name)()
        found[name, 1] = lambda flow=flow: integrate(flow, a, w, fuse=fuse)
        found[name, 3] = lambda flow=flow: integrate_nd(flow, a0, w0)
        integrate(flow, a[:64], w[:64], fuse=fuse)
        try:
            integrate_nd(flow, a0[:64], w0[:64])
        except InputError:
            del found[name, 3]
    return found


def measure(grid: int, many: int, fuse: bool, rounds: int) -> list[dict[str, Any]]:
    """A row for each flow and dimension."""
    jobs = tasks(grid, many, fuse)
    seconds: dict[tuple[str, int], list[float]] = {job: [] for job in jobs}
    ends = {}
    with progress() as bar:
        for _ in bar.track(range(rounds), description="rounds"):
            for job, solve in jobs.items():
                begun = time.process_time()
                ends[job] = solve()
                seconds[job].append(time.process_time() - begun)
    rows = []
    for (name, d), spent in sorted(seconds.items(), key=lambda item: item[0][1]):
        found = ends[name, d]
        least, middle, most = ratios([1 / x for x in spent], [1 / x for x in seconds["standard", d]])
        rows.append(
            {
                "d": d,
                "flow": name,
                "starts": found.outcome.size,
                **spread([found.outcome.size / x for x in spent], "starts a second"),
                "steps a start": round(float(found.steps.mean()), 1),
                "million steps a second": round(float(found.steps.sum()) / min(spent) / 1e6, 3),
                "least of standard": round(least, 2),
                "of standard": round(middle, 2),
                "most of standard": round(most, 2),
                "undecided": int((found.outcome == Outcome.UNDECIDED).sum()),
            }
        )
    return rows


def main() -> int:
    """Print and write the table."""
    parser = Parser(prog="python -m benchmarks.flows", description=__doc__)
    parser.add_argument("--grid", type=int, default=256, help="starts along each axis at d = 1")
    parser.add_argument("--many", type=int, default=512, help="starts at d = 3")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fuse", action="store_true", help="integrate by compiled loops at d = 1")
    parser.add_argument("--out", type=Path, help="folder for flows-speed.csv and .md")
    parser.set_defaults(run=run)
    return parser.execute()


def run(args: argparse.Namespace) -> None:
    """The command."""
    torch.set_num_threads(1)
    rows = measure(args.grid, args.many, args.fuse, args.rounds)
    print(aligned(rows))
    if args.out:
        out = output_directory("out", args.out)
        write_csv(out / "flows-speed.csv", rows)
        made = f"python -m benchmarks.flows --grid {args.grid} --many {args.many} --rounds {args.rounds}"
        how = "compiled at d = 1" if args.fuse else "without a compiler"
        told = f"Starts a second of processor time, one thread, {how}, until each is decided; made by `{made}"
        write_text(out / "flows-speed.md", f"# Speed by flow\n\n{aligned(rows)}\n{told}{' --fuse' * args.fuse}`.\n")


if __name__ == "__main__":
    sys.exit(main())
