"""The gradient over all samples, and all that one pass over them tells of each and leaves for the products."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from commons.checks import refuse
from sparse_training.sharpness import products
from sparse_training.sharpness.additive import Answered, Law
from sparse_training.sharpness.batches import Batch, chunks
from sparse_training.sharpness.graphs import WAYS, Plan
from sparse_training.sharpness.network import Network
from sparse_training.sharpness.products import Product, Tensors
from sparse_training.sharpness.sensitivity import sketch

# Most numbers in the network's outputs on all samples that are kept: 4 MiB in float32.
KEPT = 2**20


@dataclass(frozen=True, eq=False)
class FirstPass:
    """value: the mean loss. gradient: (size,). weight: what the summed loss was divided by, None for a plain mean.

    products: of each piece. kept: samples whose graphs are kept though others are rebuilt. faults: whether the loss,
    and whether the network, breaks the law of additive.py. Of this process's samples alone: pull (n,), ‖∂loss/∂output‖
    of each; answers, the outputs of each piece, or none where they are large; slopes (n, SKETCH), projections of
    ∂loss/∂x, or None where x has no derivative.
    """

    value: float
    gradient: Tensor
    weight: float | None
    products: list[Product]
    kept: int
    faults: tuple[bool, bool]
    pull: Tensor
    answers: list[Tensor]
    slopes: Tensor | None


def first_pass(
    network: Network,
    batches: list[Batch],
    plan: Plan,
    curvature: str,
    summed: Callable[[Tensor], Tensor],
    checked: tuple[Law, Answered | None] | None = None,
) -> FirstPass:
    """Differentiate the loss on the pieces of batches, one after another.

    summed: the sum of a tensor over all processes. checked: the law that each piece is held to, and the samples that
    it is put together with.

    Raises:
        InputError: The samples have no weight, or the loss or its gradient is not finite.
    """
    coordinates = network.coordinates
    leaves, device = coordinates.values, coordinates.device
    total = torch.zeros(coordinates.size + 4, dtype=torch.float64, device=device)
    made: list[Product] = []
    pulls, answers, sketches = [], list[Tensor](), list[Tensor | None]()
    kept, numbers, weighted = 0, 0.0, False
    for x, y in chunks(batches, plan.chunk):
        keep = plan.graph == "rebuilt" and kept + len(x) <= plan.room
        kept += len(x) if keep else 0
        way = WAYS[curvature, "kept" if keep else plan.graph]
        piece, placed = network.piece((x, y)), network.placed(x)
        inputs = [placed.requires_grad_()] if placed.is_floating_point() else []
        output = network.output(placed.clone() if inputs else placed, leaves)  # a layer may write its input in place
        loss, weight = piece.part(output)
        answered = [output] if isinstance(output, Tensor) else []
        found = products.gradient(loss, [*leaves, *answered, *inputs], create_graph=way is products.kept)
        slope = found[: len(leaves)]
        pulls.append(_pull(found[len(leaves) : len(leaves) + len(answered)], len(x)))
        sketches.append(sketch(found[-1].detach()) if inputs else None)
        numbers += output.numel() if answered else math.inf
        answers = [*answers, output.detach()] if numbers <= KEPT else []
        total[0] += loss.detach()
        if weight is not None:
            total[1] += weight
            weighted = True
        if checked:
            total[2:4] += torch.tensor(checked[0].faults((x, y), output, checked[1]), device=device)
        total[4:] += coordinates.vector([part.detach() for part in slope])
        made.append(way(piece, leaves, slope))
        del answered, inputs, placed, output, loss, found, slope  # or two graphs would be held at a time
    total = summed(total)
    if made and weighted and not total[1] > 0:
        refuse("loss", f"of weight {float(total[1]):g}", "one in which some sample or token has weight")
    divisor = float(total[1]) or 1.0
    total[0] /= divisor
    total[4:] /= divisor
    if not bool(torch.isfinite(total).all()):
        refuse("loss", float(total[0]), "finite, with a finite gradient")
    return FirstPass(
        value=float(total[0]),
        gradient=total[4:].to(coordinates.dtype),
        weight=float(total[1]) or None,
        products=made,
        kept=kept,
        faults=(bool(total[2]), bool(total[3])),
        pull=torch.cat(pulls) if pulls else torch.zeros(0, device=device),
        answers=answers,
        slopes=_joined(sketches),
    )


def _joined(parts: list[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.cat(known) if known and len(known) == len(parts) else None


def _pull(slopes: Tensors, n: int) -> Tensor:
    """‖∂loss/∂output‖ of each of n samples, from that slope; all alike where the output does not tell samples apart."""
    if slopes and slopes[0].ndim and len(slopes[0]) == n:
        norms: Tensor = torch.linalg.vector_norm(slopes[0].detach().reshape(n, -1), dim=1)
        return norms
    return torch.ones(n, device=slopes[0].device if slopes else None)
