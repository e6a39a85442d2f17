"""`HessianOperator`: y = H v of a network's mean loss on its active weights, over any number of samples.

The network's parameters, gradients, buffers and mode are the same afterwards. The loss is without weight decay.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call

from commons.checks import choice, number, refuse
from sparse_training.seeding import generator
from sparse_training.sharpness import products
from sparse_training.sharpness.additive import Answered, Law, spread
from sparse_training.sharpness.base import SymmetricOperator
from sparse_training.sharpness.batches import Batch, Data, chunks, count, fixed_batches, share
from sparse_training.sharpness.coordinates import Coordinates, Params
from sparse_training.sharpness.evaluation import evaluation
from sparse_training.sharpness.losses import CrossEntropy, Loss, Part, part_of
from sparse_training.sharpness.memory import available, graph_bytes
from sparse_training.sharpness.products import Piece, Product, Tensors

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

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
# With up to FEW samples rounding is measured on all of them. With more it is measured on the STRATUM whose outputs
# differ most in float64, and on as many others. A sample for which a normalization all but divides by zero can be most
# of it and be none of these: so it was in 1 of 520 networks of up to 600 samples, with 2e-4 of λ_max. Hence what is
# measured counts MARGIN times, and never less than UNSEEN of λ_max.
FEW, STRATUM, MARGIN, UNSEEN = 1024, 32, 10, 1e-4
# Most numbers in the network's outputs on all samples that are kept from the gradient: 4 MiB in float32.
KEPT = 2**20
# Samples whose graph is measured to tell what all of them would take.
PROBE = 16
# The peak of a product over the graph of a gradient: its own tensors take almost as much again, 1.8 times on ResNet-20,
# and so do, forward over reverse, the derivatives along v.
OF_A_PRODUCT = 2


class HessianOperator(SymmetricOperator):
    """v -> H v, H the Hessian (or Gauss-Newton matrix) of the mean loss in the active weights.

    Arguments:
        model: any network; measured in evaluation mode, with the weights it has now.
        loss: loss(model(x), y), a mean over samples, or one of the weighted kinds of losses.py.
        data: (x, y), or an iterable of such batches of any sizes, read once and kept.
        masks: boolean tensors by parameter name; weights off the mask are zero and no coordinates.
        params: "prunable" (weights of linear, convolution and attention layers, and whatever masks name), "all", or
            names of parameters.
        curvature: "hessian", or "gauss-newton" for Σ Jᵀ (∂²loss/∂output²) J / N (Schraudolph 2002).
        graph: "kept" for the whole life of the operator (two gradients a product); "rebuilt" at each (three, memory for
            one chunk); "forward": forward over reverse, anew at each; "linearized": forward over reverse, linearized
            once; "compiled": forward over reverse through torch.compile; "auto": kept as far as `memory` allows and
            rebuilt beyond, but forward on cuda, where the convolutions of reverse over reverse are of unusual shapes.
        chunk: samples differentiated at once; None chooses.
        memory: bytes that graphs may take; None for half of what is free.
        dtype: torch.float32 or float64; None for that of the weights.
        group: processes that share the samples, each called with the same data; None for this process alone.

    Attributes: `coordinates` (names and order of the weights), `samples`, `weight` (what the summed loss is divided by,
    the number of samples for a plain mean), `value` (the mean loss), `gradient` (size,), `graph` and `chunk` as chosen.

    Raises:
        InputError: There is no active weight or no sample, a name is no parameter's, a weight or the loss is not
            finite, or samples in several pieces are not independent, or their loss is a weighted mean without weights.
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
        if not callable(loss):
            refuse("loss", type(loss).__name__, "a function of (outputs, y), such as torch.nn.functional.cross_entropy")
        self.coordinates = Coordinates(model, masks, params, dtype)
        super().__init__(self.coordinates.size, self.coordinates.dtype, self.coordinates.device)
        self.curvature, self.graph = choice("curvature", curvature, CURVATURES), choice("graph", graph, GRAPHS)
        self.chunk = int(number("chunk", CHUNK if chunk is None else chunk, at_least=1, integer=True))
        if graph != "auto" and (curvature, graph) not in WAYS:
            refuse("graph", graph, f"offered for curvature={curvature!r}", 'use "kept" or "rebuilt"')
        self._model, self._loss, self._group = model, loss, group
        self._again = 0.0  # gradients of work that is neither the first gradient nor a product
        # Where graphs are rebuilt: the samples for whose graphs there is room, and those whose graphs are kept for it.
        self._room = self._kept = 0
        self._constants = {
            name: self._placed(tensor).clone()
            for name, tensor in (*model.named_parameters(), *model.named_buffers())
            if name not in set(self.coordinates.names)
        }
        batches = fixed_batches(data)
        self.samples = count(batches)
        self._part = part_of(loss, batches)
        self._batches = batches if group is None else share(batches, group.rank(), group.size())
        with evaluation(model):
            if self.graph == "auto":
                self._choose_graph(memory, chunk is not None)
            self._checked = len(batches) > 1 or self.chunk < self.samples or (group is not None and group.size() > 1)
            self._law = Law(self._at_leaves, self._measured, self._placed, isinstance(self._part, CrossEntropy))
            others = self._law.others(batches) if self._checked else None
            self._products = self._differentiate(self._checked, others)

    @property
    def gradient_equivalents(self) -> float:
        """Gradients of work so far, by operation count: 1 at the start, a product 2, or 3 where it rebuilds a graph.

        A gradient in float64 counts as two.
        """
        anew = 0.0 if self.graph in ("kept", "linearized") else 1 - self._kept / self.samples
        return 1.0 + self._again + self.products * (2.0 + anew)

    def spend(self, gradients: float) -> None:
        """Count work that was done for this operator elsewhere, in gradients over all samples."""
        self._again += gradients

    @property
    def divisible(self) -> bool:
        """Whether some of the samples can be looked at apart: they do not see each other, and one process has them."""
        return self._group is None and self._independent

    def carrying(self, share: float) -> int:
        """Return how many samples, taken by ‖∂loss/∂output‖, carry that share of its sum."""
        carried = self._pull.double().sort(descending=True).values.cumsum(0)
        return min(1 + int((carried < share * carried[-1]).sum()), self.samples)

    def hardest(self, n: int) -> "HessianOperator":
        """Return the operator on the n samples with the largest ‖∂loss/∂output‖, which carry most of a trained H."""
        return self._on(torch.topk(self._pull, n).indices)

    def drawn(self, n: int, seed: int) -> "HessianOperator":
        """Return the operator on n samples drawn at random by the seed, whose mean loss estimates that of all."""
        return self._on(torch.randperm(self.samples, generator=generator(seed, "drawn"))[:n].to(self.device))

    def _on(self, rows: Tensor) -> "HessianOperator":
        part = copy.copy(self)
        part._batches = self._picked(rows)
        part.samples, part.products, part._again = len(rows), 0, 0.0
        # A graph no larger than one that is rebuilt at a time has room, as long as the part is all that is worked on.
        anew = self.graph == "forward" or (self.graph == "rebuilt" and len(rows) > self.chunk)
        part.graph, part._room = (self.graph if anew else "kept"), 0
        with evaluation(self._model):
            part._products = part._differentiate()
        return part

    def rounding(self, v: Tensor, size: float, most: float = math.inf) -> float:
        """Estimate ‖H v − (H v in float64)‖, with a margin, on the samples that round worst and some others.

        It is infinite where all samples are to be asked instead: where they are few, or where no estimate from some of
        them could be as small as `most`.
        """
        if self.dtype == torch.float64:
            return 0.0
        if self.samples <= FEW or UNSEEN * size > most or not self._independent:
            return math.inf
        worst, others = self._by_rounding()
        some = others[spread(len(others), STRATUM).to(others.device)]
        times = len(others) / max(len(some), 1)
        weighted = [*self._cut(self._picked(worst), 1.0), *self._cut(self._picked(some), times)]
        total = self._anew(torch.float64, weighted, v) - self._anew(self.dtype, weighted, v)
        self._again += 9 * (len(worst) + len(some)) / self.samples
        found = MARGIN * float((self._summed(total) / self._divisor).norm())
        return max(found, UNSEEN * size)

    def _by_rounding(self) -> tuple[Tensor, Tensor]:
        """Indices of the samples whose output differs most between the precisions, and of the others."""
        order = self._pull.argsort(descending=True, stable=True)
        wide = self._in(torch.float64)
        differences = []
        for (output, _), (exact, _) in zip(self.outputs(), wide.outputs(), strict=True):
            if not isinstance(output, Tensor):
                return order[:STRATUM], order[STRATUM:]
            differences.append((output - exact).reshape(len(output), -1).norm(dim=1))
        self._again += 2 / 3 if self._answers else 1
        if (apart := torch.cat(differences)).shape == order.shape:
            order = apart.argsort(descending=True, stable=True)
        return order[:STRATUM], order[STRATUM:]

    def in_float64(self, v: Tensor) -> Tensor:
        """H v over all samples in float64."""
        self._again += 6
        return self._summed(self._anew(torch.float64, self._cut(self._batches, 1.0), v)) / self._divisor

    def gradient_in_float64(self) -> Tensor:
        """∂L/∂θ over all samples in float64, (size,)."""
        self._again += 2
        return self._summed(self._anew(torch.float64, self._cut(self._batches, 1.0), None)) / self._divisor

    def outputs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the network's output and the targets of each piece, without a graph; those of the gradient are kept."""
        for index, batch in enumerate(chunks(self._batches, self.chunk)):
            x, y = (self._placed(part) for part in batch)
            if self._answers:
                yield self._answers[index], y
                continue
            with evaluation(self._model):
                output = self._at_leaves(x)
            yield output, y

    def loss_at(self, shift: Tensor) -> float:
        """Return the mean loss at θ + shift, where shift (size,) is in the active weights."""
        leaves = [a.detach() + b for a, b in zip(self.coordinates.values, self.coordinates.tensors(shift), strict=True)]
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        with evaluation(self._model), torch.no_grad():
            for batch in chunks(self._batches, self.chunk):
                total += self._piece(batch).objective(leaves)
        return float(self._summed(total) / self._divisor)

    def _product(self, v: Tensor) -> Tensor:
        tangents = self.coordinates.tensors(v)
        if len(self._products) == 1 and self._divisor == 1 and self._group is None:  # nothing to sum in float64
            with evaluation(self._model):
                return self.coordinates.vector(self._products[0](tangents))
        total = torch.zeros(self.size, dtype=torch.float64, device=self.device)
        with evaluation(self._model):
            for product in self._products:
                total += self.coordinates.vector(product(tangents))
        return (self._summed(total) / self._divisor).to(self.dtype)

    def _in(self, dtype: torch.dtype) -> "HessianOperator":
        """Return this operator in another precision, to evaluate pieces with and not for its own products."""
        part = copy.copy(self)
        part.dtype, part.coordinates, part._answers = dtype, self.coordinates.to(dtype), []
        part._constants = {name: part._placed(tensor) for name, tensor in self._constants.items()}
        return part

    def _cut(self, batches: list[Batch], times: float) -> list[tuple[Batch, float]]:
        """Pieces that count `times`, half as large as usual, for a precision twice as wide."""
        return [(batch, times) for batch in chunks(batches, max(1, self.chunk // 2))]

    def _anew(self, dtype: torch.dtype, weighted: list[tuple[Batch, float]], v: Tensor | None) -> Tensor:
        """Σ times · (summed part of H v, or of the gradient for None) over (batch, times), in a precision.

        The sum is (size,) float64.
        """
        part = self._in(dtype)
        leaves, way = part.coordinates.values, WAYS[self.curvature, "forward" if self.graph == "forward" else "rebuilt"]
        total = torch.zeros(self.size, dtype=torch.float64, device=self.device)
        with evaluation(self._model):
            for batch, times in weighted:
                piece = part._piece(batch)
                if v is None:
                    parts = products.gradient(piece.objective(leaves), leaves, create_graph=False)
                else:
                    parts = way(piece, leaves, ())(part.coordinates.tensors(v))
                total += times * part.coordinates.vector(parts)
        return total

    def _picked(self, rows: Tensor) -> list[Batch]:
        """The samples of these indices, in their order; as one batch where their shapes agree."""
        chosen = torch.zeros_like(self._pull, dtype=torch.bool)
        chosen[rows] = True
        of_batches = zip(self._batches, torch.split(chosen, [len(x) for x, _ in self._batches]), strict=True)
        picked = [(x[keep.to(x.device)], y[keep.to(y.device)]) for (x, y), keep in of_batches]
        if len({(x.shape[1:], y.shape[1:]) for x, y in picked}) == 1:
            picked = [(torch.cat([x for x, _ in picked]), torch.cat([y for _, y in picked]))]
        return [(x, y) for x, y in picked if len(x)]

    @cached_property
    def _independent(self) -> bool:
        """Whether samples do not see each other; it was checked before where they come in pieces."""
        with evaluation(self._model):
            return self._checked or self._law.holds(self._batches[0])

    def _differentiate(self, checked: bool = False, others: Answered | None = None) -> list[Product]:
        """Set `value`, `gradient` and `weight`, and return the product of each piece.

        checked: whether to hold each piece to the law of additive.py, with the samples `others`.
        """
        leaves, self._kept = self.coordinates.values, 0
        total = torch.zeros(self.size + 4, dtype=torch.float64, device=self.device)
        made, pulls, weighted = [], [], False
        answers: list[Tensor] = []
        numbers = 0.0
        for x, y in chunks(self._batches, self.chunk):
            keep = self.graph == "rebuilt" and self._kept + len(x) <= self._room
            self._kept += len(x) if keep else 0
            way = WAYS[self.curvature, "kept" if keep else self.graph]
            piece = self._piece((x, y))
            output = piece.output(leaves)
            loss, weight = piece.part(output)
            inputs = [*leaves, output] if isinstance(output, Tensor) else leaves
            slopes = products.gradient(loss, inputs, create_graph=way is products.kept)
            slope = slopes[: len(leaves)]
            pulls.append(_pull(slopes[len(leaves) :], len(x)))
            numbers += output.numel() if isinstance(output, Tensor) else math.inf
            answers = [*answers, output.detach()] if numbers <= KEPT else []
            total[0] += loss.detach()
            if weight is not None:
                total[1] += weight
                weighted = True
            if checked:
                total[2:4] += torch.tensor(self._law.faults((x, y), output, others), device=self.device)
            total[4:] += self.coordinates.vector([part.detach() for part in slope])
            made.append(way(piece, leaves, slope))
            del inputs, output, loss, slopes, slope
        total = self._summed(total)
        if made and weighted and not total[1] > 0:
            refuse("loss", f"of weight {float(total[1]):g}", "one in which some sample or token has weight")
        self._divisor = float(total[1]) or 1.0
        self.weight = float(total[1]) or float(self.samples)
        total[0] /= self._divisor
        total[4:] /= self._divisor
        if not bool(torch.isfinite(total).all()):
            refuse("loss", float(total[0]), "finite, with a finite gradient")
        self._refuse_faults(*(bool(fault) for fault in total[2:4]))
        self.value, self.gradient = float(total[0]), total[4:].to(self.dtype)
        self._pull = torch.cat(pulls) if pulls else torch.zeros(0, device=self.device)
        self._answers = answers
        return made

    def _refuse_faults(self, loss: bool, network: bool) -> None:
        together = "pass all samples as one batch and one chunk"
        if network:
            refuse("model", type(self._model).__name__, "a network in which samples do not see each other", together)
        if loss:
            name = getattr(self._loss, "__name__", type(self._loss).__name__)
            weighted = 'return losses with reduction="none" or (sum, weight), or '
            refuse("loss", name, "a mean over independent samples", weighted + together)

    def _piece(self, batch: Batch) -> Piece:
        x, y = (self._placed(part) for part in batch)
        return Piece(lambda leaves: self._output(x, leaves), lambda output: self._measured(output, y))

    def _output(self, x: Tensor, leaves: Tensors) -> Tensor:
        state = {**self._constants, **dict(zip(self.coordinates.names, leaves, strict=True))}
        result: Tensor = functional_call(self._model, state, (x,))
        return result

    def _measured(self, output: Tensor, y: Tensor) -> Part:
        """The summed loss of some samples and its weight, or of a plain mean their share of it and None."""
        loss, weight = self._part(output, y)
        return (loss * (len(y) / self.samples), None) if weight is None else (loss, weight)

    def _placed(self, tensor: Tensor) -> Tensor:
        dtype = self.dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.detach().to(self.device, dtype)

    def _choose_graph(self, memory: int | None, chunked: bool) -> None:
        """Keep the graphs of all samples where they fit in memory, else of as many as fit, and rebuild the others.

        On the devices of FORWARD_CHUNK it is forward if each operator of the network can be differentiated so. chunked:
        whether the size of a chunk was asked for.
        """
        if not self._batches:
            self.graph = "kept"
            return
        few = self._batches[0][0][:PROBE], self._batches[0][1][:PROBE]
        each = self._bytes_a_sample(few)
        limit = available(self.device) // 2 if memory is None else memory
        fit = int(limit / each)
        forward = self.device.type in FORWARD_CHUNK and self.curvature == "hessian"
        if forward and _has_forward(self._piece(few), self.coordinates.values):
            self.graph, most = "forward", self.chunk if chunked else FORWARD_CHUNK[self.device.type]
            self.chunk = max(1, min(most, fit))
            return
        self.graph = "kept" if count(self._batches) <= fit else "rebuilt"
        if self.graph == "rebuilt":
            self.chunk = max(1, min(self.chunk, fit, max(fit // 4, SMALL)))
            self._room = max(0, fit - self.chunk)

    def _bytes_a_sample(self, few: Batch) -> float:
        """About what the graph of one sample's gradient and a product on it take, without what all samples share."""
        x, y = few
        leaves, half = self.coordinates.values, len(x) // 2

        def taken(n: int) -> int:
            piece = self._piece((x[:n], y[:n]))
            return graph_bytes(lambda: products.gradient(piece.objective(leaves), leaves))

        grown = taken(len(x)) - (taken(half) if half else 0)
        return OF_A_PRODUCT * max(1.0, grown / (len(x) - half))

    @torch.no_grad()
    def _at_leaves(self, x: Tensor) -> Tensor:
        """The output for samples x at the present weights, without a graph."""
        return self._output(x, self.coordinates.values)

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


def _has_forward(piece: Piece, leaves: Tensors) -> bool:
    """Whether the gradient can be differentiated forward, which not every operator offers."""
    try:
        products.forward(piece, leaves, ())([torch.zeros_like(leaf) for leaf in leaves])
    except (NotImplementedError, RuntimeError):
        return False
    return True


def _pull(slopes: Tensors, n: int) -> Tensor:
    """‖∂loss/∂output‖ of each of n samples, from that slope; all alike where the output does not tell samples apart."""
    if slopes and slopes[0].ndim and len(slopes[0]) == n:
        norms: Tensor = torch.linalg.vector_norm(slopes[0].detach().reshape(n, -1), dim=1)
        return norms
    return torch.ones(n, device=slopes[0].device if slopes else None)
