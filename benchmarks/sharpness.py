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
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.rounds import contest, read_csv, spread
from benchmarks.sharpness_solvers import Solver, contenders
from commons.cli import Parser, progress
from commons.files import output_directory, write_csv, write_text
from commons.parallel import run_jobs
from commons.tables import aligned
from sparse_training import models
from sparse_training.masks import make_masks
from sparse_training.sharpness import HessianOperator, max_eigenvalue

# After a solver of NumPy's or SciPy's, the threads of their BLAS spin on for some tens of milliseconds.
PAUSE = 0.3
STAGES = {"init": 0, "mid": 3, "end": 30}
NETWORKS = {"mlp": "MLP 64-256-256-10, 85,002 parameters", "resnet20": "ResNet-20 on 1x8x8, 272,186 parameters"}
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
    """λ_max from float64, to 1e-7."""
    model, x, y = problem
    truth = max_eigenvalue(model, cross_entropy, (x, y), params="all", dtype=torch.float64, tol=1e-7, seed=99)
    assert truth.converged, truth
    return truth.value


def measure(problem: Problem, truth: float, solvers: dict[str, Solver], seed: int) -> list[dict[str, Any]]:
    """One row a solver, each begun after a pause; the order turns with the seed. Single products are medians of 15."""
    model, x, y = problem
    names = list(solvers)
    rows = []
    for name in names[seed % len(names) :] + names[: seed % len(names)]:
        time.sleep(PAUSE)
        begin = time.perf_counter()
        value, spent = solvers[name](model, x, y, seed)
        seconds = time.perf_counter() - begin
        rows.append({"solver": name, "seconds": seconds, "hvps": spent, "value": value})
        rows[-1]["error"] = abs(value / truth - 1)
    single = products(problem)
    times: dict[str, list[float]] = {name: [] for name in single}
    time.sleep(PAUSE)
    for _ in range(15):
        for name, solve in single.items():
            begin = time.perf_counter()
            solve(model, x, y, seed)
            times[name].append(time.perf_counter() - begin)
    return rows + [
        {"solver": name, "seconds": median(times[name]), "hvps": int(name != "gradient"), "value": None, "error": None}
        for name in single
    ]


def tolerance(solver: str) -> float:
    """The relative error within which an answer is right: the tolerance in a solver's name, or 1e-3."""
    return next((float(word) for word in solver.split() if word.startswith("1e-")), 1e-3)


def by_solver(rows: Sequence[dict[str, Any]], stage: str) -> dict[str, list[dict[str, Any]]]:
    """The rounds of each solver at a stage, in the order of their seeds."""
    here = sorted((row for row in rows if row["stage"] == stage), key=lambda row: int(row["seed"]))
    return {name: [row for row in here if row["solver"] == name] for name in dict.fromkeys(r["solver"] for r in here)}


def seconds(rounds: Sequence[dict[str, Any]]) -> list[float]:
    """The seconds of each round."""
    return [float(row["seconds"]) for row in rounds]


def largest_error(rounds: Sequence[dict[str, Any]]) -> float | None:
    """The largest error of the rounds; None for what has no value, such as a single product."""
    return None if rounds[0]["error"] in (None, "") else max(float(row["error"]) for row in rounds)


def right_peers(of: dict[str, list[dict[str, Any]]], within: float) -> dict[str, list[float]]:
    """The seconds of each peer whose answers are right in every round."""
    errors = {name: largest_error(rounds) for name, rounds in of.items() if not name.startswith("ours")}
    return {name: seconds(of[name]) for name, error in errors.items() if error is not None and error <= within}


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Times over the rounds, the largest error, and the fastest right peer over each solver, round by round."""
    table = []
    for stage in STAGES:
        of = by_solver(rows, stage)
        for name, each in of.items():
            error, spent = largest_error(each), seconds(each)
            peers = right_peers(of, tolerance(name)) if error is not None else {}
            ratio = contest(name, spent, peers, "")
            table.append(
                {
                    "stage": stage,
                    "solver": name,
                    "seeds": len(each),
                    "error": None if error is None else f"{error:.0e}",
                    "HVPs": median(int(r["hvps"]) for r in each),
                    "gradients": round(median(spent) / median(seconds(of["gradient"])), 1),
                    **spread(spent),
                    "fastest right peer / this": ratio["ratio"] and round(ratio["ratio"], 2),
                    "ratio, least": ratio["least"] and round(ratio["least"], 2),
                    "ratio, most": ratio["most"] and round(ratio["most"], 2),
                    "MiB": next((round(float(r["MiB"])) for r in each if r["MiB"] not in (None, "")), None),
                }
            )
    return table


def contests(folder: Path) -> list[dict[str, Any]]:
    """The lines of `make bench` from what has been measured: ours at each stage beside the fastest right peer."""
    lines = []
    for network in NETWORKS:
        rows = read_csv(folder / f"sharpness-{network}.csv")
        for stage in STAGES:
            of = by_solver(rows, stage)
            for name in (name for name in of if name.startswith("ours")):
                peers = right_peers(of, tolerance(name))
                target = ">= 1" if "chunks" in name else ">= 1.3"
                lines.append(contest(f"λ_max, {network} {stage}, {name}", seconds(of[name]), peers, target))
    return lines


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
    """The command."""
    warnings.simplefilter("ignore")
    path = output_directory("out", args.out) / f"sharpness-{args.network}.csv"
    solvers = contenders(args.solver, CHUNKED[args.network])
    if args.memory:
        memory = {name: m for name in solvers for _, m in run_jobs(peak, [(args.network, name)], 1)}
        rows = [{**row, "MiB": memory.get(row["solver"], row["MiB"])} for row in read_csv(path)]
        write_csv(path, rows)
    else:
        problems = networks(args.network, {stage: STAGES[stage] for stage in args.stage})
        truths = {stage: exact(problem) for stage, problem in problems.items()}
        jobs = [(stage, seed) for seed in args.seed for stage in args.stage]
        with progress() as bar:
            for stage, seed in bar.track(jobs, description=args.network):
                new = [
                    {"stage": stage, "seed": str(seed), **r, "MiB": None}
                    for r in measure(problems[stage], truths[stage], solvers, seed)
                ]
                write_csv(path, merged(read_csv(path), new))
    report(args.out)
    print(aligned(contests(args.out)))


def merged(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Old and new rows, a new one in place of an old one of the same stage, solver and seed."""
    rows = {(row["stage"], row["solver"], row["seed"]): row for row in old}
    for row in new:
        key = (row["stage"], row["solver"], row["seed"])
        rows[key] = {**row, "MiB": rows[key]["MiB"] if key in rows else None}
    return sorted(rows.values(), key=lambda row: list(STAGES).index(row["stage"]))


def report(folder: Path) -> None:
    """Print and write the summary of every network measured so far."""
    text = "# λ_max side by side with the peers\n"
    for network, title in NETWORKS.items():
        rows = read_csv(folder / f"sharpness-{network}.csv")
        if rows:
            text += f"\n## {title}\n\n{aligned(summary(rows))}"
    text += (
        "\nDigits/16, all 1,797 samples, mean cross-entropy, evaluation mode, all parameters, two CPU cores;"
        " one round a start seed, the largest error over them against float64; init, after 3 and after 30 epochs."
        " HVPs and gradients are medians. A peer is right if its error is within the tolerance that the row names, or"
        " 1e-3, in every round. The fastest round of the fastest right peer is compared with the fastest round of the"
        " row; the least and the most of that ratio within a round show what a slowed round does. MiB: what a"
        " solve after 3 epochs adds to the peak of a process that has solved on 64 samples before."
        "\n\nMade by `python -m benchmarks.sharpness --network mlp` and `--network resnet20`, each once more with"
        " `--memory`.\n"
    )
    write_text(folder / "sharpness_peers.md", text)
    print(text)


if __name__ == "__main__":
    sys.exit(main())
