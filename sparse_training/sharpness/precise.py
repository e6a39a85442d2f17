"""Products and gradients summed over some samples in a given precision, anew at each call and without a kept graph."""

from collections.abc import Iterable

import torch
from torch import Tensor

from sparse_training.sharpness import products
from sparse_training.sharpness.batches import Batch
from sparse_training.sharpness.evaluation import evaluation
from sparse_training.sharpness.graphs import WAYS
from sparse_training.sharpness.losses import Part
from sparse_training.sharpness.network import Network
from sparse_training.sharpness.products import Piece


def summed(network: Network, pieces: Iterable[Piece], way: tuple[str, str], v: Tensor | None) -> Tensor:
    """The sum over the pieces of their parts of H v, or of the gradient where v is None, (size,) float64.

    way: curvature and graph, as in WAYS.
    """
    leaves = network.coordinates.values
    total = torch.zeros(network.coordinates.size, dtype=torch.float64, device=network.coordinates.device)
    with evaluation(network.model):
        for piece in pieces:
            if v is None:
                parts = products.gradient(piece.objective(leaves), leaves, create_graph=False)
            else:
                parts = WAYS[way](piece, leaves, ())(network.coordinates.tensors(v))
            total += network.coordinates.vector(parts)
    return total


def weighted(network: Network, batches: Iterable[tuple[Batch, float]]) -> list[Piece]:
    """Pieces whose loss counts as many times as stand beside each batch.

    Batches of one shape make one piece, since a graph for a few samples costs about as much as one for many.
    """
    placed = [(network.placed(x), network.placed(y), times) for (x, y), times in batches]
    if len({(x.shape[1:], y.shape[1:]) for x, y, _ in placed}) > 1:
        return [_piece(network, [one]) for one in placed]
    return [_piece(network, placed)] if placed else []


def _piece(network: Network, placed: list[tuple[Tensor, Tensor, float]]) -> Piece:
    inputs, sizes = torch.cat([x for x, _, _ in placed]), [len(x) for x, _, _ in placed]

    def part(output: Tensor) -> Part:
        rows = torch.split(output, sizes) if len(sizes) > 1 else [output]
        parts = [times * network.measured(row, y)[0] for row, (_, y, times) in zip(rows, placed, strict=True)]
        return torch.stack(parts).sum(), None

    return Piece(lambda leaves: network.output(inputs, leaves), part)
