"""Sharpness along a run: the networks of a source one after another, each solve started from the one before."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sparse_training.sharpness.eigenpair import Eigenpair
from sparse_training.sharpness.operator import HessianOperator
from sparse_training.sharpness.solve import largest
from sparse_training.sharpness.sources import Checkpoint, Source
from sparse_training.sharpness.spaces import in_space
from sparse_training.sharpness.thick_restart import lanczos

# Share of the largest magnitude at which an eigenvalue counts as 0: the smallest one of a Gauss-Newton matrix is 0.
ZERO = 1e-5


@dataclass(frozen=True)
class Question:
    """What is asked of each network: the "largest" or "smallest" eigenvalue, in which space, and how closely.

    space: "theta", or "factors" or "flow", which take the weights that are written as factors and the network's own β.
    params, curvature, graph: as in `HessianOperator`.
    """

    which: str = "largest"
    tol: float = 1e-3
    seed: int = 0
    space: str = "theta"
    device: str = "cpu"
    params: str = "prunable"
    curvature: str = "hessian"
    graph: str = "auto"


def along(source: Source, question: Question) -> Iterator[tuple[Checkpoint, HessianOperator, Eigenpair]]:
    """Yield every network of a source in order, with its operator in θ and the eigenpair.

    Each solve starts from the first two Ritz vectors of the one before, where the number of coordinates is the same.
    """
    before: Eigenpair | None = None
    batches = [(x.to(question.device), y.to(question.device)) for x, y in source.samples.batches]
    for checkpoint in source.networks():
        in_theta = question.space == "theta" or checkpoint.betas is None
        hessian = HessianOperator(
            checkpoint.model.to(question.device),
            source.samples.loss,
            batches,
            checkpoint.masks,
            params=question.params if in_theta else list(checkpoint.betas or ()),
            curvature=question.curvature,
            graph=question.graph,
        )
        operator = in_space(hessian, question.space, checkpoint.betas)
        if before is not None and len(before.vector) != operator.size:
            before = None
        start, beside = (None, None) if before is None else (before.vector, before.beside)
        common: dict[str, Any] = {"start": start, "tol": question.tol, "seed": question.seed}
        if operator is hessian and question.which == "largest":
            pair = largest(hessian, beside=beside, **common)
        else:
            pair = lanczos(operator, which=question.which, zero=ZERO, **common)
        before = pair
        yield checkpoint, hessian, pair
        del hessian, operator  # two kept graphs at a time would be one too many
