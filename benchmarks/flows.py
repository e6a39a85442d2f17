"""Speed of every flow: starts in [−2, 2]² at d = 1, and Gaussian starts at d = 3, each until it is decided.

    python -m benchmarks.flows [--grid 256] [--many 512 4096 65536] [--rounds 3] [--out results]

Each is integrated by torch's operators and by the loop in C. The flows take turns. Seconds are of processor time on one
thread, which other work on the machine changes little; `of standard` compares with the standard flow of the same round.
A flow that `integrate_nd` refuses has no row at d = 3.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.rounds import ratios, spread
from commons import InputError
from commons.cli import Parser, progress
from commons.files import output_directory, write_csv, write_text
from commons.tables import aligned
from dynamics import Outcome, Trajectories, integrate, integrate_nd
from theory import FLOWS, margin, recovers, recovers_nd

Answers = NDArray[np.bool_]
MOST_OF_TORCH = 512  # starts at d = 3, beyond which torch's operators take minutes for all flows and rounds


class Job(NamedTuple):
    """One flow from so many starts with d inputs, by the loop in "C" or by "torch"."""

    d: int
    loop: str
    starts: int
    flow: str


class Task(NamedTuple):
    """How a job is done, and how many of its ends the exact basin contradicts."""

    solve: Callable[[], Trajectories]
    wrong: Callable[[Trajectories], int]


def tasks(grid: int, many: list[int]) -> dict[Job, Task]:
    """What to integrate, each tried with a few starts, which also compiles it."""
    axis = np.linspace(-2, 2, grid)
    a, w = (part.ravel() for part in np.meshgrid(axis, axis, indexing="ij"))
    draw = np.random.default_rng(0)
    several = [(draw.standard_normal(n), draw.standard_normal((n, 3))) for n in many]
    found: dict[Job, Task] = {}
    for name in FLOWS:
        flow = FLOWS.find("flow", name)()
        clear = np.abs(margin(a, w, flow)) > 1e-9
        right = recovers(a, w, flow)
        for loop, fuse in (("C", True), ("torch", False)):
            integrate(flow, a[:64], w[:64], fuse=fuse)
            found[Job(1, loop, a.size, name)] = Task(
                partial(integrate, flow, a, w, fuse=fuse), partial(contradicted, right, clear)
            )
            try:
                integrate_nd(flow, several[0][0][:64], several[0][1][:64], fuse=fuse)
            except InputError:
                continue
            for a0, w0 in several:
                if fuse or len(a0) <= MOST_OF_TORCH:
                    found[Job(3, loop, len(a0), name)] = Task(
                        partial(integrate_nd, flow, a0, w0, fuse=fuse),
                        partial(contradicted, recovers_nd(a0, w0, flow), np.full(len(a0), True)),
                    )
    return found


def contradicted(right: Answers, clear: Answers, ends: Trajectories) -> int:
    """How many starts end otherwise than the exact basin says, of those that are decided and clear of its edge."""
    decided = clear & (ends.outcome != Outcome.UNDECIDED)
    return int((((ends.outcome == Outcome.RECOVERED) != right) & decided).sum())


def measure(grid: int, many: list[int], rounds: int) -> Iterator[list[dict[str, Any]]]:
    """After each round a row for each job."""
    jobs = tasks(grid, many)
    seconds: dict[Job, list[float]] = {job: [] for job in jobs}
    with progress() as bar:
        for _ in bar.track(range(rounds), description="rounds"):
            ends = {}
            for job, task in jobs.items():
                begun = time.process_time()
                ends[job] = task.solve()
                seconds[job].append(time.process_time() - begun)
            yield [row(job, ends[job], jobs[job].wrong(ends[job]), seconds) for job in sorted(jobs, key=by_size)]


def by_size(job: Job) -> tuple[int, str, int]:
    """What the rows are sorted by, beside the order of the flows."""
    return job[:3]


def row(job: Job, ends: Trajectories, wrong: int, seconds: dict[Job, list[float]]) -> dict[str, Any]:
    """The line of a job, of which every round has taken so many seconds."""
    spent, standard = seconds[job], seconds[job._replace(flow="standard")]
    least, middle, most = ratios([1 / x for x in spent], [1 / x for x in standard])
    return {
        **job._asdict(),
        **spread([job.starts / x for x in spent], "starts a second"),
        "steps a start": round(float(ends.steps.mean()), 1),
        "million steps a second": round(float(ends.steps.sum()) / min(spent) / 1e6, 3),
        "least of standard": round(least, 2),
        "of standard": round(middle, 2),
        "most of standard": round(most, 2),
        "undecided": int((ends.outcome == Outcome.UNDECIDED).sum()),
        "wrong": wrong,
    }


def main() -> int:
    """Print the table, and write it after every round."""
    parser = Parser(prog="python -m benchmarks.flows", description=__doc__)
    parser.add_argument("--grid", type=int, default=256, help="starts along each axis at d = 1")
    parser.add_argument("--many", type=int, nargs="+", default=[512, 4096, 65536], help="numbers of starts at d = 3")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="folder for flows-speed.csv and .md")
    parser.set_defaults(run=run)
    return parser.execute()


def run(args: argparse.Namespace) -> None:
    """The command."""
    torch.set_num_threads(1)
    out = output_directory("out", args.out) if args.out else None
    many = " ".join(map(str, args.many))
    rows: list[dict[str, Any]] = []
    for done, rows in enumerate(measure(args.grid, args.many, args.rounds), start=1):
        if out:
            write_csv(out / "flows-speed.csv", rows)
            made = f"python -m benchmarks.flows --grid {args.grid} --many {many} --rounds {done}"
            told = f"Starts a second of processor time, one thread, until each is decided; made by `{made}`. {READ}"
            write_text(out / "flows-speed.md", f"# Speed by flow\n\n{aligned(rows)}\n{told}\n")
    print(aligned(rows))


READ = """The loop in C is
compiled beforehand, which takes seconds once for each flow and d. torch's operators take about the same time for a step
of few starts as of many, so that with few starts their rows say how long that is. `wrong`: decided starts that end
otherwise than the exact basin says; at d = 1 those within 10⁻⁹ of its edge are left out."""


if __name__ == "__main__":
    sys.exit(main())
