"""λ_max by this project and by its peers, each as one call that also counts its products.

It times nothing.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sparse_training.sharpness import max_eigenvalue

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


def contenders(only: Sequence[str] = (), memory: int = 2**23) -> dict[str, Solver]:
    """Everything that can be imported, by name. memory: bytes that ours may take for graphs in chunks."""
    makers: dict[str, Callable[[], Solver]] = {
        "ours 1e-3": lambda: ours(1e-3),
        "ours 1e-4": lambda: ours(1e-4),
        "ours 1e-3 in chunks": lambda: ours(1e-3, memory=memory),
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
        except Exception as error:  # not there, or not able to run with what is there
            print(f"{name} is left out: {error}", flush=True)
    return found
