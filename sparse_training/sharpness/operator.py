"""`HessianOperator`: y = H v of a network's mean loss on its active weights, over any number of samples.

The network's parameters, gradients, buffers and mode are the same afterwards; weight decay is no part of the loss.
"""

import copy
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call

from commons.checks import choice, number, refuse
from sparse_training.sharpness import products
from sparse_training.sharpness.base import SymmetricOperator
from sparse_training.sharpness.batches import Batch, Data, chunks, count, fixed_batches, share
from sparse_training.sharpness.coordinates import Coordinates, Params
from sparse_training.sharpness.evaluation import evaluation
from sparse_training.sharpness.memory import available, graph_bytes
from sparse_training.sharpness.products import Piece, Product, Tensors

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Loss = Callable[[Tensor, Tensor], Tensor]

GRAPHS = ("auto", "kept", "rebuilt", "linearized", "compiled")
CURVATURES = ("hessian", "gauss-newton")
WAYS: dict[tuple[str, str], Callable[[Piece, Tensors, Tensors], Product]] = {
    ("hessian", "kept"): products.kept,
    ("hessian", "rebuilt"): products.rebuilt,
    ("hessian", "linearized"): products.linearized,
    ("hessian", "compiled"): products.compiled,
    ("gauss-newton", "kept"): products.gauss_newton,
    ("gauss-newton", "rebuilt"): products.rebuilt_gauss_newton,
}

# Most samples a piece where nothing else is asked: on a CPU, fewer than 500 cost up to 40 % more; more save nothing.
CHUNK = 1024
# Samples whose graph is measured to tell what all of them would take.
PROBE = 16


class HessianOperator(SymmetricOperator):
    """v -> H v, H the Hessian (or Gauss-Newton matrix) of the mean loss in the active weights.

    Arguments:
        model: any network; measured in evaluation mode, with the weights it has now.
        loss: loss(model(x), y), a mean over samples.
        data: (x, y), or an iterable of such batches of any sizes, read once and kept.
        masks: boolean tensors by parameter name; weights off the mask are zero and no coordinates.
        params: "prunable" (weights of linear, convolution and attention layers, and whatever masks name), "all", or
            names of parameters.
        curvature: "hessian", or "gauss-newton" for Σ Jᵀ (∂²loss/∂output²) J / N (Schraudolph 2002).
        graph: "kept" for the whole life of the operator (two gradients a product); "rebuilt" at each (three, memory for
            one chunk); "linearized": forward over reverse, linearized once; "compiled": forward over reverse through
            torch.compile, which pays on a GPU; "auto": kept if it fits in `memory`, else rebuilt.
        chunk: samples differentiated at once; None chooses.
        memory: bytes that graphs may take; None for half of what is free.
        dtype: torch.float32 or float64; None for that of the weights.
        group: processes that share the samples, each called with the same data; None for this process alone.

    Attributes: `coordinates` (names and order of the weights), `samples`, `graph` and `chunk` as chosen.

    Raises:
        InputError: no active weight, no sample, a name that is no parameter's, a weight or loss that is not finite, or
            several batches with a loss that is not a mean over independent samples.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        data: Data,
        masks: Mapping[str, Tensor] | None = None,
        *,
        params: Params = "prunable",
        curvature: str = "hessian",
        graph: str = "auto",
        chunk: int | None = None,
        memory: int | None = None,
        dtype: torch.dtype | None = None,
        group: "ProcessGroup | None" = None,
    ) -> None:
        self.coordinates = Coordinates(model, masks, params, dtype)
        super().__init__(self.coordinates.size, self.coordinates.dtype, self.coordinates.device)
        self.curvature, self.graph = choice("curvature", curvature, CURVATURES), choice("graph", graph, GRAPHS)
        self.chunk = int(number("chunk", CHUNK if chunk is None else chunk, at_least=1, integer=True))
        if graph != "auto" and (curvature, graph) not in WAYS:
            refuse("graph", graph, f"offered for curvature={curvature!r}", 'use "kept" or "rebuilt"')
        self._model, self._loss, self._group = model, loss, group
        self._constants = {
            name: self._placed(tensor).clone()
            for name, tensor in (*model.named_parameters(), *model.named_buffers())
            if name not in set(self.coordinates.names)
        }
        batches = fixed_batches(data)
        self.samples = count(batches)
        self._batches = batches if group is None else share(batches, group.rank(), group.size())
        with evaluation(model):
            if self.graph == "auto":
                self._choose_graph(memory)
            apart = len(batches) > 1 or self.chunk < self.samples or (group is not None and group.size() > 1)
            if apart and self._some_process_says(bool(self._batches) and not self._is_mean()):
                name = getattr(loss, "__name__", type(loss).__name__)
                refuse("loss", name, "a mean over independent samples", "pass all samples as one batch and one chunk")
            self._products = self._differentiate()

    @property
    def gradient_equivalents(self) -> float:
        """Gradients of work so far, by operation count: 1 at the start, a product 2, or 3 where it rebuilds a graph."""
        return 1.0 + self.products * (3.0 if self.graph in ("rebuilt", "compiled") else 2.0)

    def carrying(self, share: float) -> int:
        """How many samples carry that share of Σ‖∂loss/∂output‖; all, if they see each other or are spread out."""
        with evaluation(self._model):
            if self._group is not None or not self._is_mean():
                return self.samples
        carried = self._pull.double().sort(descending=True).values.cumsum(0)
        return min(1 + int((carried < share * carried[-1]).sum()), self.samples)

    def hardest(self, n: int) -> "HessianOperator":
        """The operator on the n samples with the largest ‖∂loss/∂output‖, which carry most of a trained network's H."""
        chosen = torch.zeros_like(self._pull, dtype=torch.bool)
        chosen[torch.topk(self._pull, n).indices] = True
        of_batches = zip(self._batches, torch.split(chosen, [len(x) for x, _ in self._batches]), strict=True)
        picked = [(x[keep.to(x.device)], y[keep.to(y.device)]) for (x, y), keep in of_batches]
        part = copy.copy(self)
        part._batches = [(torch.cat([x for x, _ in picked]), torch.cat([y for _, y in picked]))]
        part.samples, part.products = n, 0
        part.graph = "rebuilt" if self.graph == "rebuilt" else "kept"
        with evaluation(self._model):
            part._products = part._differentiate()
        return part

    def loss_at(self, shift: Tensor) -> float:
        """The mean loss at θ + shift, shift (size,) in the active weights."""
        leaves = [a.detach() + b for a, b in zip(self.coordinates.values, self.coordinates.tensors(shift), strict=True)]
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        with evaluation(self._model), torch.no_grad():
            for batch in chunks(self._batches, self.chunk):
                total += self._piece(batch).objective(leaves)
        return float(self._summed(total))

    def _product(self, v: Tensor) -> Tensor:
        tangents = self.coordinates.tensors(v)
        total = torch.zeros(self.size, dtype=torch.float64, device=self.device)
        with evaluation(self._model):
            for product in self._products:
                total += self.coordinates.vector(product(tangents))
        return self._summed(total).to(self.dtype)

    def _differentiate(self) -> list[Product]:
        """Sets `value` (the mean loss) and `gradient` (size,), and returns the product of each piece."""
        leaves, way = self.coordinates.values, WAYS[self.curvature, self.graph]
        total = torch.zeros(self.size + 1, dtype=torch.float64, device=self.device)
        made, pulls = [], []
        for batch in chunks(self._batches, self.chunk):
            piece = self._piece(batch)
            output = piece.output(leaves)
            loss = piece.loss(output)
            inputs = [*leaves, output] if isinstance(output, Tensor) else leaves
            slopes = products.gradient(loss, inputs, create_graph=way is products.kept)
            slope = slopes[: len(leaves)]
            pulls.append(_pull(slopes[len(leaves) :], len(batch[0])))
            total[0] += loss.detach()
            total[1:] += self.coordinates.vector([part.detach() for part in slope])
            made.append(way(piece, leaves, slope))
            del inputs, output, loss, slopes, slope
        total = self._summed(total)
        if not bool(torch.isfinite(total).all()):
            refuse("loss", float(total[0]), "finite, with a finite gradient")
        self.value, self.gradient = float(total[0]), total[1:].to(self.dtype)
        self._pull = torch.cat(pulls) if pulls else torch.zeros(0, device=self.device)
        return made

    def _piece(self, batch: Batch) -> Piece:
        x, y = (self._placed(part) for part in batch)
        weight = len(x) / self.samples

        def output(leaves: Tensors) -> Tensor:
            state = {**self._constants, **dict(zip(self.coordinates.names, leaves, strict=True))}
            result: Tensor = functional_call(self._model, state, (x,))
            return result

        return Piece(output, lambda prediction: self._loss(prediction, y) * weight)

    def _placed(self, tensor: Tensor) -> Tensor:
        dtype = self.dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.detach().to(self.device, dtype)

    def _choose_graph(self, memory: int | None) -> None:
        """Kept where the graphs of all samples fit in memory, else rebuilt with as many samples as fit."""
        if not self._batches:
            self.graph = "kept"
            return
        x, y = (part[:PROBE] for part in self._batches[0])
        piece, leaves = self._piece((x, y)), self.coordinates.values
        each = graph_bytes(lambda: products.gradient(piece.objective(leaves), leaves)) / len(x)
        limit = available(self.device) // 2 if memory is None else memory
        self.graph = "kept" if each * count(self._batches) <= limit else "rebuilt"
        if self.graph == "rebuilt":
            self.chunk = max(1, min(self.chunk, int(limit / each)))

    def _some_process_says(self, yes: bool) -> bool:
        return bool(self._summed(torch.tensor(float(yes), device=self.device)) > 0)

    def _is_mean(self) -> bool:
        """Whether the loss is a mean over samples that do not see each other: on three samples, together and apart.

        They are the first, the middle and the last of a batch, which are of different classes where it is sorted.
        """
        x, y = self._batches[0]
        three = torch.tensor(sorted({0, len(x) // 2, len(x) - 1}))
        x, y = x[three.to(x.device)], y[three.to(y.device)]
        losses = []
        for part in (slice(None), slice(0, 1), slice(1, None)):
            if len(x[part]):
                piece = self._piece((x[part], y[part]))
                losses.append(float(piece.objective(self.coordinates.values).detach()))
        whole, parts = losses[0], losses[1:]
        return abs(whole - sum(parts)) <= 1e-4 * sum(map(abs, parts)) or not math.isfinite(whole)

    def _summed(self, local: Tensor) -> Tensor:
        if self._group is not None:
            torch.distributed.all_reduce(local, group=self._group)
        return local

    def __str__(self) -> str:
        """What is measured, in one line."""
        kind = {"hessian": "Hessian", "gauss-newton": "Gauss-Newton matrix"}[self.curvature]
        precision = str(self.dtype).removeprefix("torch.")
        weights = f"{self.size} active of {self.coordinates.total} weights in {len(self.coordinates.names)} tensors"
        return f"{kind} of the mean loss over {self.samples} samples in {weights}, {precision}, graph {self.graph}"


def _pull(slopes: Tensors, n: int) -> Tensor:
    """‖∂loss/∂output‖ of each of n samples, from that slope; all alike where the output does not tell samples apart."""
    if slopes and slopes[0].ndim and len(slopes[0]) == n:
        norms: Tensor = torch.linalg.vector_norm(slopes[0].detach().reshape(n, -1), dim=1)
        return norms
    return torch.ones(n, device=slopes[0].device if slopes else None)
