"""λ_max side by side with PyHessian, hessian-eigenthings and curvlinops with SciPy's eigsh, interleaved in one process.

    python -m benchmarks.sharpness [--network mlp|resnet20] [--stage init mid end] [--memory] [--out FOLDER]

Digits/16, all 1,797 samples, mean cross-entropy, evaluation mode, all parameters; truth from float64. It needs the
extra `bench`; a peer that cannot be imported is named and left out.
"""

import argparse
import copy
import resource
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from commons.cli import Parser, progress
from commons.files import output_directory, write_csv
from commons.parallel import run_jobs
from commons.tables import aligned
from sparse_training import models
from sparse_training.sharpness import max_eigenvalue

STAGES = {"init": 0, "mid": 3, "end": 30}
Problem = tuple[nn.Module, Tensor, Tensor]
Solver = Callable[[nn.Module, Tensor, Tensor, int], tuple[float, int]]


def ours(tol: float, **options: Any) -> Solver:
    """This project, at a tolerance."""

    def solve(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> tuple[float, int]:
        pair = max_eigenvalue(model, cross_entropy, (x, y), params="all", tol=tol, seed=seed, **options)
        assert pair.converged, pair
        return pair.value, pair.hvps

    return solve


def pyhessian(tol: float) -> Solver:
    """PyHessian's power iteration on one batch of all samples, whose gradient graph it keeps."""
    from pyhessian import hessian, utils

    def solve(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> tuple[float, int]:
        calls = 0

        def counted(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            return utils.hessian_vector_product(*arguments)

        torch.manual_seed(seed)
        sys.modules["pyhessian.hessian"].hessian_vector_product = counted
        values, _ = hessian(model, nn.CrossEntropyLoss(), data=(x, y), cuda=False).eigenvalues(maxIter=300, tol=tol)
        return values[0], calls

    return solve


def eigenthings(algorithm: str, tol: float) -> Solver:
    """hessian-eigenthings: "power" or "lanczos" on one batch of all samples."""
    import hessian_eigenthings as peer

    def solve(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> tuple[float, int]:
        operator = peer.HessianOperator(model, [(x, y)], peer.supervised_loss(cross_entropy))
        calls, matvec = 0, operator.matvec

        def counted(v: Tensor) -> Any:
            nonlocal calls
            calls += 1
            return matvec(v)

        operator.matvec = counted
        if algorithm == "power":
            found = peer.deflated_power_iteration(operator, k=1, max_iter=300, tol=tol, seed=seed)
        else:
            # Its own limit for k = 1 is 2 steps, which never converge.
            found = peer.lanczos(operator, k=1, which="LA", tol=tol, seed=seed, max_iter=60)
        return float(found.eigenvalues[0]), calls

    return solve


def curvlinops() -> Solver:
    """curvlinops' Hessian under SciPy's eigsh at its own tolerance."""
    import numpy as np
    from curvlinops import HessianLinearOperator
    from scipy.sparse.linalg import LinearOperator, eigsh

    def solve(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> tuple[float, int]:
        parameters = [p for p in model.parameters() if p.requires_grad]
        loss = nn.CrossEntropyLoss()
        peer = HessianLinearOperator(model, loss, parameters, [(x, y)], check_deterministic=False)
        inner, calls = peer.to_scipy(), 0

        def counted(v: Any) -> Any:
            nonlocal calls
            calls += 1
            return inner @ v.reshape(-1)

        outer = LinearOperator(inner.shape, matvec=counted, dtype=inner.dtype)
        start = np.random.default_rng(seed).standard_normal(inner.shape[0]).astype(inner.dtype)
        return float(eigsh(outer, k=1, which="LA", v0=start, tol=1e-4, return_eigenvectors=False)[0]), calls

    return solve


def contenders(only: Sequence[str] = ()) -> dict[str, Solver]:
    """Everything that can be imported, by name."""
    makers: dict[str, Callable[[], Solver]] = {
        "ours 1e-3": lambda: ours(1e-3),
        "ours 1e-4": lambda: ours(1e-4),
        "ours 1e-3 in chunks": lambda: ours(1e-3, graph="rebuilt", chunk=64),
        "pyhessian 1e-3": lambda: pyhessian(1e-3),
        "pyhessian 1e-4": lambda: pyhessian(1e-4),
        "eigenthings power": lambda: eigenthings("power", 1e-4),
        "eigenthings lanczos": lambda: eigenthings("lanczos", 1e-4),
        "curvlinops eigsh": curvlinops,
    }
    found = {}
    for name, make in makers.items():
        if only and name not in only:
            continue
        try:
            found[name] = make()
        except ImportError as error:
            print(f"{name} is left out: {error}")
    return found


def networks(name: str, when: dict[str, int] = STAGES) -> dict[str, Problem]:
    """The network at each stage of training on all digits, with the samples."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(labels)
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


def gradient_seconds(problem: Problem) -> float:
    """Median time of one gradient over all samples."""
    model, x, y = problem
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        torch.autograd.grad(cross_entropy(model(x), y), list(model.parameters()))
        times.append(time.perf_counter() - begin)
    return median(times)


def peak(network: str, solver: str) -> float:
    """MiB that one solve at init adds to the peak of a fresh process."""
    model, x, y = networks(network, {"init": 0})["init"]
    solve = contenders([solver])[solver]
    torch.autograd.grad(cross_entropy(model(x[:8]), y[:8]), list(model.parameters()))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    solve(model, x, y, 0)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def measure(problem: Problem, solvers: dict[str, Solver], seeds: int) -> list[dict[str, Any]]:
    """One row a solver: medians over start seeds, solvers interleaved; the error is the largest over the seeds."""
    model, x, y = problem
    truth = max_eigenvalue(model, cross_entropy, (x, y), params="all", dtype=torch.float64, tol=1e-7, seed=99)
    assert truth.converged, truth
    unit, results = gradient_seconds(problem), {name: [] for name in solvers}
    for seed in range(seeds):
        for name, solve in solvers.items():
            begin = time.perf_counter()
            value, products = solve(model, x, y, seed)
            results[name].append((time.perf_counter() - begin, value, products))
    return [
        {
            "solver": name,
            "value": f"{median(value for _, value, _ in rows):.6g}",
            "error": f"{max(abs(value / truth.value - 1) for _, value, _ in rows):.1e}",
            "HVPs": f"{median(products for _, _, products in rows):g}",
            "gradients": f"{median(seconds for seconds, _, _ in rows) / unit:.1f}",
            "seconds": f"{median(seconds for seconds, _, _ in rows):.3f}",
        }
        for name, rows in results.items()
    ]


def main() -> int:
    """Print and write the table of one network."""
    parser = Parser(prog="python -m benchmarks.sharpness", description=__doc__)
    parser.add_argument("--network", choices=["mlp", "resnet20"], default="mlp")
    parser.add_argument("--stage", choices=list(STAGES), nargs="+", default=list(STAGES))
    parser.add_argument("--solver", nargs="+", default=[], help="solvers to run (default: all)")
    parser.add_argument("--seeds", type=int, default=3, help="start seeds")
    parser.add_argument("--memory", action="store_true", help="measure peak memory too, in a process a solver")
    parser.add_argument("--out", type=Path, help="folder for sharpness-NETWORK.csv")
    parser.set_defaults(run=run)
    return parser.execute()


def run(args: argparse.Namespace) -> None:
    """The command."""
    warnings.simplefilter("ignore")
    solvers = contenders(args.solver)
    stages = networks(args.network, {stage: STAGES[stage] for stage in args.stage})
    memory: dict[str, float] = {}
    if args.memory:
        memory = dict(
            zip(solvers, [m for _, m in sorted(run_jobs(peak, [(args.network, s) for s in solvers], 1))], strict=True)
        )
    rows = []
    with progress() as bar:
        for stage in bar.track(args.stage, description=args.network):
            for row in measure(stages[stage], solvers, args.seeds):
                rows.append({"network": args.network, "stage": stage, **row, "MiB": memory.get(row["solver"])})
    print(aligned(rows))
    if args.out:
        write_csv(output_directory("out", args.out) / f"sharpness-{args.network}.csv", rows)


if __name__ == "__main__":
    sys.exit(main())
