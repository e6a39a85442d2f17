"""`HessianOperator`: y = H v of a network's mean loss on its active weights, over any number of samples.

The network's parameters, gradients, buffers and mode are the same afterwards. The loss is without weight decay.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from commons.checks import choice, number, refuse
from sparse_training.seeding import generator
from sparse_training.sharpness.additive import Answered, Law, spread
from sparse_training.sharpness.base import EXACT, UNKNOWN, Rounding, SymmetricOperator
from sparse_training.sharpness.batches import Data, chunks, count, fixed_batches, picked, share
from sparse_training.sharpness.coordinates import Coordinates, Params
from sparse_training.sharpness.evaluation import evaluation
from sparse_training.sharpness.first_pass import FirstPass, first_pass
from sparse_training.sharpness.graphs import CHUNK, CURVATURES, GRAPHS, WAYS, Plan, planned
from sparse_training.sharpness.losses import Loss, part_of
from sparse_training.sharpness.network import Network
from sparse_training.sharpness.precise import summed, weighted
from sparse_training.sharpness.sensitivity import sensitivity

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

# With up to FEW samples rounding is measured on all of them. With more it is measured on the STRATUM that a nudge moves
# most, see sensitivity.py, and on as many others. What is measured counts MARGIN times, and never less than UNSEEN of
# λ_max, or UNTOLD where x has no derivative: there may be a sample that rounds worse than it looks.
FEW, STRATUM, MARGIN, UNSEEN, UNTOLD = 256, 32, 10, 2e-5, 1e-4


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
        self._loss, self._group = loss, group
        self._again = 0.0  # gradients of work that is neither the first gradient nor a product
        batches = fixed_batches(data)
        self.samples = count(batches)
        self._network = Network.of(model, self.coordinates, part_of(loss, batches), self.samples)
        self._batches = batches if group is None else share(batches, group.rank(), group.size())
        with evaluation(model):
            plan = Plan(self.graph, self.chunk)
            if graph == "auto":
                plan = planned(self._network, self._batches, curvature, self.chunk, memory, chunk is not None)
                self.graph, self.chunk = plan.graph, plan.chunk
            checked = len(batches) > 1 or self.chunk < self.samples or (group is not None and group.size() > 1)
            self._law = Law.of(self._network)
            self._first = self._differentiate(plan, (self._law, self._law.others(batches)) if checked else None)
        self._refuse_faults(*self._first.faults)
        self._checked = checked

    @property
    def value(self) -> float:
        """The mean loss."""
        return self._first.value

    @property
    def gradient(self) -> Tensor:
        """∂L/∂θ, (size,)."""
        return self._first.gradient

    @property
    def weight(self) -> float:
        """What the summed loss is divided by, the number of samples for a plain mean."""
        return self._first.weight or float(self.samples)

    @property
    def gradient_equivalents(self) -> float:
        """Gradients of work so far, by operation count: 1 at the start, a product 2, or 3 where it rebuilds a graph.

        A gradient in float64 counts as two.
        """
        anew = 0.0 if self.graph in ("kept", "linearized") else 1 - self._first.kept / self.samples
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
        carried = self._first.pull.double().sort(descending=True).values.cumsum(0)
        return min(1 + int((carried < share * carried[-1]).sum()), self.samples)

    def hardest(self, n: int) -> "HessianOperator":
        """Return the operator on the n samples with the largest ‖∂loss/∂output‖, which carry most of a trained H."""
        return self._on(torch.topk(self._first.pull, n).indices)

    def drawn(self, n: int, seed: int) -> "HessianOperator":
        """Return the operator on n samples drawn at random by the seed, whose mean loss estimates that of all."""
        return self._on(torch.randperm(self.samples, generator=generator(seed, "drawn"))[:n].to(self.device))

    def _on(self, rows: Tensor) -> "HessianOperator":
        part = copy.copy(self)
        part._batches, part.samples = picked(self._batches, rows), len(rows)
        part._network = replace(self._network, samples=part.samples)
        part.products, part._again = 0, 0.0
        # A graph no larger than one that is rebuilt at a time has room, as long as the part is all that is worked on.
        anew = self.graph == "forward" or (self.graph == "rebuilt" and len(rows) > self.chunk)
        part.graph = self.graph if anew else "kept"
        part._first = part._differentiate(Plan(part.graph, self.chunk))
        return part

    @property
    def unseen(self) -> float:
        return 0.0 if self.dtype == torch.float64 else UNSEEN if self._first.slopes is not None else UNTOLD

    def rounding(self, v: Tensor) -> Rounding:
        """Estimate the rounding of H v, with a margin, on the samples that round worst and some others.

        It is UNKNOWN where samples are few or see each other.
        """
        if self.dtype == torch.float64:
            return EXACT
        if self.samples <= FEW or not self._independent:
            return UNKNOWN
        worst, others = self._by_sensitivity()
        some = others[spread(len(others), STRATUM).to(others.device)]
        often = len(others) / max(len(some), 1)
        counted = [(batch, n) for rows, n in ((worst, 1.0), (some, often)) for batch in picked(self._batches, rows)]
        exact, rounded = (
            summed(network, weighted(network, counted), self._anew, v)
            for network in (self._network.to(torch.float64), self._network)
        )
        self._again += 9 * (len(worst) + len(some)) / self.samples
        found = self._over_processes(exact - rounded) / self._divisor
        vector = MARGIN * float(found.norm())
        # What is random among the others adds up as their root, of which `found` has `often` too much.
        value = MARGIN * abs(float(found @ v.double())) + vector / max(often, 1.0) ** 0.5
        return Rounding(value, vector)

    def _by_sensitivity(self) -> tuple[Tensor, Tensor]:
        """Indices of the samples that seem to round worst, and of the others."""
        first = self._first
        with evaluation(self._network.model):
            moved = sensitivity(self._network, self._batches, self.chunk, first.answers, first.slopes)
        self._again += 2 / 3 if first.answers else 1
        order = (first.pull if moved is None else moved).argsort(descending=True, stable=True)
        return order[:STRATUM], order[STRATUM:]

    def in_float64(self, v: Tensor) -> Tensor:
        """H v over all samples in float64."""
        self._again += 6
        return self._all_in_float64(v)

    def gradient_in_float64(self) -> Tensor:
        """∂L/∂θ over all samples in float64, (size,)."""
        self._again += 2
        return self._all_in_float64(None)

    def _all_in_float64(self, v: Tensor | None) -> Tensor:
        network = self._network.to(torch.float64)
        half = chunks(self._batches, max(1, self.chunk // 2))  # half as many at a time, twice as wide
        return self._over_processes(summed(network, map(network.piece, half), self._anew, v)) / self._divisor

    @property
    def _anew(self) -> tuple[str, str]:
        """The way of products without a kept graph."""
        return self.curvature, "forward" if self.graph == "forward" else "rebuilt"

    def outputs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the network's output and the targets of each piece, without a graph; those of the gradient are kept."""
        network, answers = self._network, self._first.answers
        for index, batch in enumerate(chunks(self._batches, self.chunk)):
            x, y = (network.placed(part) for part in batch)
            if answers:
                yield answers[index], y
                continue
            with evaluation(network.model):
                output = network.answer(x)
            yield output, y

    def loss_at(self, shift: Tensor) -> float:
        """Return the mean loss at θ + shift, where shift (size,) is in the active weights."""
        leaves = [a.detach() + b for a, b in zip(self.coordinates.values, self.coordinates.tensors(shift), strict=True)]
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        with evaluation(self._network.model), torch.no_grad():
            for batch in chunks(self._batches, self.chunk):
                total += self._network.piece(batch).objective(leaves)
        return float(self._over_processes(total) / self._divisor)

    def _product(self, v: Tensor) -> Tensor:
        tangents, products = self.coordinates.tensors(v), self._first.products
        if len(products) == 1 and self._divisor == 1 and self._group is None:  # nothing to sum in float64
            with evaluation(self._network.model):
                return self.coordinates.vector(products[0](tangents))
        total = torch.zeros(self.size, dtype=torch.float64, device=self.device)
        with evaluation(self._network.model):
            for product in products:
                total += self.coordinates.vector(product(tangents))
        return (self._over_processes(total) / self._divisor).to(self.dtype)

    @property
    def _divisor(self) -> float:
        return self._first.weight or 1.0

    @cached_property
    def _independent(self) -> bool:
        """Whether samples do not see each other; it was checked before where they come in pieces."""
        with evaluation(self._network.model):
            return self._checked or self._law.holds(self._batches[0])

    def _differentiate(self, plan: Plan, checked: tuple[Law, Answered | None] | None = None) -> FirstPass:
        with evaluation(self._network.model):
            return first_pass(self._network, self._batches, plan, self.curvature, self._over_processes, checked)

    def _refuse_faults(self, loss: bool, network: bool) -> None:
        together = "pass all samples as one batch and one chunk"
        if network:
            name = type(self._network.model).__name__
            refuse("model", name, "a network in which samples do not see each other", together)
        if loss:
            name = getattr(self._loss, "__name__", type(self._loss).__name__)
            weights = 'return losses with reduction="none" or (sum, weight), or '
            refuse("loss", name, "a mean over independent samples", weights + together)

    def _over_processes(self, local: Tensor) -> Tensor:
        if self._group is not None:
            torch.distributed.all_reduce(local, group=self._group)
        return local

    def __str__(self) -> str:
        """What is measured, in one line."""
        kind = {"hessian": "Hessian", "gauss-newton": "Gauss-Newton matrix"}[self.curvature]
        precision = str(self.dtype).removeprefix("torch.")
        weights = f"{self.size} active of {self.coordinates.total} weights in {len(self.coordinates.names)} tensors"
        return f"{kind} of the mean loss over {self.samples} samples in {weights}, {precision}, graph {self.graph}"
