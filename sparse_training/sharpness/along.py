"""Sharpness along a run: the saved networks one after another, each solve started from the one before.

It reads runs; it never trains.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import cross_entropy

from sparse_training.runs import Run
from sparse_training.sharpness.batches import Batch
from sparse_training.sharpness.eigenpair import Eigenpair
from sparse_training.sharpness.lanczos import lanczos
from sparse_training.sharpness.operator import HessianOperator
from sparse_training.sharpness.solve import first_vector
from sparse_training.sharpness.spaces import in_space


@dataclass(frozen=True)
class Question:
    """What is asked of each network. space: "theta", "factors" or "flow"; the last four as of `HessianOperator`."""

    which: str = "largest"
    tol: float = 1e-3
    seed: int = 0
    space: str = "theta"
    beta: float = 1.0
    params: str = "prunable"
    curvature: str = "hessian"
    graph: str = "auto"
    device: str = "cpu"


def operator_of(run: Run, epoch: int, batch: Batch, question: Question) -> HessianOperator:
    """H of a saved network: mean cross-entropy in θ on its active weights."""
    x, y = (part.to(question.device) for part in batch)
    return HessianOperator(
        run.model(epoch).to(question.device),
        cross_entropy,
        (x, y),
        run.masks(epoch),
        params=question.params,
        curvature=question.curvature,
        graph=question.graph,
    )


def along_run(run: Run, batch: Batch, question: Question) -> Iterator[tuple[int, HessianOperator, Eigenpair]]:
    """(epoch, operator, eigenpair) of every saved network of a run, in order.

    The start is the eigenvector of the epoch before, where the number of active weights is the same.
    """
    start: Tensor | None = None
    for epoch in run.epochs:
        hessian = operator_of(run, epoch, batch, question)
        operator = in_space(hessian, question.space, question.beta)
        warm = start is not None and len(start) == operator.size
        begin = start if warm else first_vector(hessian, question.seed) if question.space == "theta" else None
        pair = lanczos(operator, which=question.which, tol=question.tol, start=begin, seed=question.seed)
        start = pair.vector
        yield epoch, hessian, pair
