"""Sharpness along a run: the saved networks one after another, each solve started from the one before.

It reads runs and checkpoints; it never trains.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from commons.checks import InputError
from sparse_training.masks import Masks
from sparse_training.runs.run import Run
from sparse_training.sharpness.batches import Batch
from sparse_training.sharpness.eigenpair import Eigenpair
from sparse_training.sharpness.operator import HessianOperator
from sparse_training.sharpness.solve import largest
from sparse_training.sharpness.spaces import in_space
from sparse_training.sharpness.thick_restart import lanczos


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network of a run: epoch None where there is no run."""

    epoch: int | None
    model: nn.Module
    masks: Mapping[str, Tensor] | None


@dataclass(frozen=True)
class Question:
    """What is asked of each network. space: "theta", "factors" or "flow"; the last three as of `HessianOperator`."""

    which: str = "largest"
    tol: float = 1e-3
    seed: int = 0
    space: str = "theta"
    beta: float = 1.0
    device: str = "cpu"
    params: str = "prunable"
    curvature: str = "hessian"
    graph: str = "auto"


def of_run(run: Run) -> Iterator[Checkpoint]:
    """Every saved network of a run, in order, merged."""
    for epoch in run.epochs:
        yield Checkpoint(epoch, run.model(epoch), run.masks(epoch))


def of_files(name: str, shape: tuple[int, int, int], classes: int, state: Path, masks: Path | None) -> Checkpoint:
    """The network that "module:callable" returns, with the state dict of a .safetensors file.

    Raises:
        InputError: the file cannot be read, or does not fit the network.
    """
    from sparse_training import models
    from sparse_training.tensor_files import read_tensors

    model = models.build(name, in_channels=shape[0], image_size=shape[-1], num_classes=classes)
    tensors, _ = read_tensors(state)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(f"checkpoint={str(state)!r} cannot be loaded: {' '.join(str(error).split())[:300]}") from None
    return Checkpoint(None, model, None if masks is None else Masks.load(masks))


def along(
    checkpoints: Iterable[Checkpoint], batch: Batch, question: Question
) -> Iterator[tuple[Checkpoint, HessianOperator, Eigenpair]]:
    """The eigenpair of every checkpoint in order.

    The start is the eigenvector of the one before, where the number of coordinates is the same.
    """
    start: Tensor | None = None
    x, y = (part.to(question.device) for part in batch)
    for checkpoint in checkpoints:
        hessian = HessianOperator(
            checkpoint.model.to(question.device),
            cross_entropy,
            (x, y),
            checkpoint.masks,
            params=question.params,
            curvature=question.curvature,
            graph=question.graph,
        )
        operator = in_space(hessian, question.space, question.beta)
        if start is not None and len(start) != operator.size:
            start = None
        if operator is hessian and question.which == "largest":
            pair = largest(hessian, start, tol=question.tol, seed=question.seed)
        else:
            pair = lanczos(operator, which=question.which, tol=question.tol, start=start, seed=question.seed)
        start = pair.vector
        yield checkpoint, hessian, pair
        del hessian, operator  # two kept graphs at a time would be one too many
