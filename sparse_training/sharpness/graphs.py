"""The ways of forming a product, and which of them a network takes on how many samples at a time."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from sparse_training.sharpness import products
from sparse_training.sharpness.batches import Batch, count
from sparse_training.sharpness.memory import available, graph_bytes
from sparse_training.sharpness.network import Network
from sparse_training.sharpness.products import Piece, Product, Tensors

GRAPHS = ("auto", "kept", "rebuilt", "forward", "linearized", "compiled")
CURVATURES = ("hessian", "gauss-newton")
WAYS: dict[tuple[str, str], Callable[[Piece, Tensors, Tensors], Product]] = {
    ("hessian", "kept"): products.kept,
    ("hessian", "rebuilt"): products.rebuilt,
    ("hessian", "forward"): products.forward,
    ("hessian", "linearized"): products.linearized,
    ("hessian", "compiled"): products.compiled,
    ("gauss-newton", "kept"): products.gauss_newton,
    ("gauss-newton", "rebuilt"): products.rebuilt_gauss_newton,
}

# Most samples a piece where nothing else is asked: on a CPU, fewer than 500 cost up to 40 % more; more save nothing.
# Where memory is short, a piece that is rebuilt takes a fourth of it, or what SMALL samples take, and kept graphs the
# rest.
CHUNK, SMALL = 1024, 256
# As many on the devices on which products are forward over reverse: enough to fill them.
FORWARD_CHUNK = {"cuda": 8192}
# Samples whose graph is measured to tell what all of them would take.
PROBE = 16
# The peak of a product over the graph of a gradient: its own tensors take almost as much again, 1.8 times on ResNet-20,
# and so do, forward over reverse, the derivatives along v.
OF_A_PRODUCT = 2


@dataclass(frozen=True)
class Plan:
    """How products are formed: the way, the most samples a piece, and those for whose kept graphs there is room.

    room: only where the other pieces are rebuilt; 0 elsewhere.
    """

    graph: str
    chunk: int
    room: int = 0


def planned(
    network: Network, batches: list[Batch], curvature: str, chunk: int, memory: int | None, chunked: bool
) -> Plan:
    """Keep the graphs of all samples where they fit in memory, else of as many as fit, and rebuild the others.

    On the devices of FORWARD_CHUNK products are forward over reverse if each operator of the network can be
    differentiated so. chunk: most samples a piece. chunked: whether that was asked for. memory: bytes that graphs may
    take, or None for half of what is free.
    """
    if not batches:
        return Plan("kept", chunk)
    device = network.coordinates.device
    few = batches[0][0][:PROBE], batches[0][1][:PROBE]
    limit = available(device) // 2 if memory is None else memory
    fit = _fitting(network, few, limit, count(batches))
    if device.type in FORWARD_CHUNK and curvature == "hessian" and _has_forward(network, few):
        most = chunk if chunked else FORWARD_CHUNK[device.type]
        return Plan("forward", max(1, min(most, fit)))
    if count(batches) <= fit:
        return Plan("kept", chunk)
    chunk = max(1, min(chunk, fit, max(fit // 4, SMALL)))
    return Plan("rebuilt", chunk, max(0, fit - chunk))


def _fitting(network: Network, few: Batch, limit: int, wanted: int) -> int:
    """About how many samples' graphs of a gradient and a product fit in so many bytes, without what all share.

    Where the wanted number fits with all that they share, which half the work tells, it is that.
    """
    x, y = few
    leaves, half = network.coordinates.values, len(x) // 2

    def taken(n: int) -> int:
        piece = network.piece((x[:n], y[:n]))
        return OF_A_PRODUCT * graph_bytes(lambda: products.gradient(piece.objective(leaves), leaves))

    whole = taken(len(x))
    if whole * wanted <= limit * len(x):
        return wanted
    grown = whole - (taken(half) if half else 0)
    return int(limit / max(1.0, grown / (len(x) - half)))


def _has_forward(network: Network, few: Batch) -> bool:
    """Whether the gradient can be differentiated forward, which not every operator offers."""
    leaves = network.coordinates.values
    try:
        products.forward(network.piece(few), leaves, ())([torch.zeros_like(leaf) for leaf in leaves])
    except (NotImplementedError, RuntimeError):
        return False
    return True
