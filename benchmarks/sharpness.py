"""λ_max side by side with PyHessian, hessian-eigenthings and curvlinops with SciPy's eigsh, interleaved in one process.

    python -m benchmarks.sharpness [--network mlp|resnet20] [--stage init mid end] [--seed 0 1 2] [--memory]

Digits/16, all 1,797 samples, mean cross-entropy, evaluation mode, all parameters; truth from float64. A measurement is
a row of results/sharpness-NETWORK.csv, and a later call replaces what it measures again, so that stages and seeds may
run apart; results/sharpness_peers.md sums up what is there. It needs the extra `bench`; a peer that cannot be imported
is named and left out.
"""

import argparse
import copy
import resource
import sys
import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.rounds import read_csv
from benchmarks.sharpness_solvers import Solver, contenders
from benchmarks.sharpness_tables import NETWORKS, STAGES, contests, placed, write_report
from commons.cli import Parser, progress
from commons.files import output_directory, write_csv
from commons.parallel import run_jobs
from commons.tables import aligned
from sparse_training import models
from sparse_training.masks import make_masks
from sparse_training.sharpness import HessianOperator, max_eigenvalue

# After a solver of NumPy's or SciPy's, the threads of their BLAS spin on for some tens of milliseconds.
PAUSE = 0.3
# How often each single product is timed: those of the MLP take a hundredth of a second.
REPEATS = {"mlp": 15, "resnet20": 5}
# Bytes for graphs in chunks: less than what all graphs take, and with all else less than the least peer takes.
CHUNKED = {"mlp": 2**23, "resnet20": 300 * 2**20}
Problem = tuple[nn.Module, Tensor, Tensor]


def networks(name: str, when: dict[str, int] = STAGES) -> dict[str, Problem]:
    """The network at each stage of training on all digits, with the samples."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(labels)
    if name == "mlp":
        torch.manual_seed(0)
        widths = [nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)]
        model: nn.Module = nn.Sequential(nn.Flatten(), *widths)
    else:
        model = models.build(name, in_channels=1, image_size=8, num_classes=10, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    draw, stages = torch.Generator().manual_seed(0), {}
    for epoch in range(max(when.values()) + 1):
        for stage, last in when.items():
            if epoch == last:
                stages[stage] = (copy.deepcopy(model).eval(), x, y)
        if epoch == max(when.values()):
            break
        model.train()
        for index in torch.randperm(len(x), generator=draw).split(64):
            optimizer.zero_grad()
            cross_entropy(model(x[index]), y[index]).backward()
            optimizer.step()
    return stages


def products(problem: Problem) -> dict[str, Solver]:
    """One gradient; one product; one of the pruned network over all weights, and over the active tenth."""
    model, x, y = problem
    pruned = copy.deepcopy(model)
    masks = make_masks(pruned, 0.1, "random", seed=0)
    with torch.no_grad():
        for name, mask in masks.items():
            pruned.get_parameter(name).mul_(mask)

    def gradient(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> tuple[float, int]:
        torch.autograd.grad(cross_entropy(model(x), y), list(model.parameters()))
        return 0.0, 0

    def product(network: nn.Module, **options: Any) -> Solver:
        operator = HessianOperator(network, cross_entropy, (x, y), **options)
        v = torch.ones(operator.size) / operator.size**0.5

        def solve(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> tuple[float, int]:
            return float(v @ (operator @ v)), 1

        return solve

    return {
        "gradient": gradient,
        "one product": product(model),
        "one product, pruned": product(pruned),
        "one product, pruned and masked": product(pruned, masks=masks),
    }


def peak(network: str, solver: str) -> float:
    """MiB that one solve after 3 epochs adds to the peak of a process that has solved on a few samples before."""
    model, x, y = networks(network, {"mid": STAGES["mid"]})["mid"]
    solve = contenders([solver], CHUNKED[network])[solver]
    solve(model, x[:64], y[:64], 0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    solve(model, x, y, 0)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def exact(problem: Problem) -> float:
    """λ_max from float64, to 1e-6."""
    model, x, y = problem
    truth = max_eigenvalue(model, cross_entropy, (x, y), params="all", dtype=torch.float64, tol=1e-6, seed=99)
    assert truth.converged, truth
    return truth.value


def measure(
    problem: Problem, truth: float, solvers: dict[str, Solver], seed: int, repeats: int
) -> list[dict[str, Any]]:
    """One row a solver, each begun after a pause; the order turns with the seed. Single products are medians.

    A solver that fails is named, and has no row.
    """
    model, x, y = problem
    names = list(solvers)
    rows = []
    for name in names[seed % len(names) :] + names[: seed % len(names)]:
        time.sleep(PAUSE)
        begin = time.perf_counter()
        try:
            value, spent = solvers[name](model, x, y, seed)
        except Exception as error:  # a peer's, of any kind
            print(f"{name} failed at seed {seed}: {_told(error)}", flush=True)
            continue
        seconds = time.perf_counter() - begin
        rows.append({"solver": name, "seconds": seconds, "hvps": spent, "value": value})
        rows[-1]["error"] = abs(value / truth - 1)
    single = products(problem)
    times: dict[str, list[float]] = {name: [] for name in single}
    time.sleep(PAUSE)
    for _ in range(repeats):
        for name, solve in single.items():
            begin = time.perf_counter()
            solve(model, x, y, seed)
            times[name].append(time.perf_counter() - begin)
    return rows + [
        {"solver": name, "seconds": median(times[name]), "hvps": int(name != "gradient"), "value": None, "error": None}
        for name in single
    ]


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def main() -> int:
    """Measure and write the tables."""
    parser = Parser(prog="python -m benchmarks.sharpness", description=__doc__)
    parser.add_argument("--network", choices=list(NETWORKS), default="mlp")
    parser.add_argument("--stage", choices=list(STAGES), nargs="+", default=list(STAGES))
    parser.add_argument("--solver", nargs="+", default=[], help="solvers to run (default: all)")
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2], help="start seeds")
    parser.add_argument("--memory", action="store_true", help="measure peak memory instead, in a process a solver")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the tables")
    parser.set_defaults(run=run)
    return parser.execute()


def run(args: argparse.Namespace) -> None:
    """The command. Files are written anew after every round and every peak, so that an end loses nothing before it."""
    warnings.simplefilter("ignore")
    path = output_directory("out", args.out) / f"sharpness-{args.network}.csv"
    solvers = contenders(args.solver, CHUNKED[args.network])
    if args.memory:
        for name in solvers:
            remember(path, args.network, name)
    else:
        problems = networks(args.network, {stage: STAGES[stage] for stage in args.stage})
        truths = {stage: exact(problem) for stage, problem in problems.items()}
        jobs = [(stage, seed) for seed in args.seed for stage in args.stage]
        with progress() as bar:
            for stage, seed in bar.track(jobs, description=args.network):
                new = measure(problems[stage], truths[stage], solvers, seed, REPEATS[args.network])
                write_csv(path, placed(read_csv(path), new, stage, str(seed), args.solver))
                write_report(args.out)
    print(write_report(args.out))
    print(aligned(contests(args.out)))


def remember(path: Path, network: str, solver: str) -> None:
    """Measure the peak of a solver in a process of its own, and write it into its rows."""
    try:
        ((_, found),) = run_jobs(peak, [(network, solver)], 1)
    except Exception as error:
        print(f"the memory of {solver} could not be measured: {_told(error)}", flush=True)
        return
    write_csv(path, [{**row, "MiB": found if row["solver"] == solver else row["MiB"]} for row in read_csv(path)])


if __name__ == "__main__":
    sys.exit(main())
