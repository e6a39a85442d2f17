"""Check that a loss in pieces is the loss of all samples: samples do not see each other, and a mean is a plain one.

For two sets of samples A and B the law is: the loss of A and B together is the sum of their losses, and so is its
weight. It is checked on the derivatives ∂loss/∂output, sample by sample, and not on the value alone: where all samples
have the same loss, as at an initialization with equal outputs, every weighting has the same value.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_training.sharpness.batches import Batch, count
from sparse_training.sharpness.losses import CrossEntropy, Part
from sparse_training.sharpness.network import Network

# Samples x, y and the network's output for them.
Answered = tuple[Tensor, Tensor, Tensor]

# Samples that each piece is put together with, and samples of each piece that the network is asked for again.
TOGETHER, AGAIN = 64, 3
# Most numbers in the outputs of the former: 128 MiB in float32.
LARGEST = 2**25


@dataclass(frozen=True, eq=False)
class Law:
    """The law for a network x -> output and a measure (output, y) -> (share of the loss, weight); no graph is kept.

    place: brings samples to the network's device and precision. A weight of None marks the share of a plain mean.
    known: the loss obeys the law by what it is, and only the network is checked.
    """

    network: Callable[[Tensor], Tensor]
    measure: Callable[[Tensor, Tensor], Part]
    place: Callable[[Tensor], Tensor]
    known: bool = False

    @classmethod
    def of(cls, network: Network) -> "Law":
        """The law for a network; cross-entropy obeys it by what it is."""
        return cls(network.answer, network.measured, network.placed, isinstance(network.part, CrossEntropy))

    def others(self, batches: list[Batch]) -> Answered | None:
        """Return a few samples from all batches, the same in every process; None where batches differ in shape."""
        if len({(x.shape[1:], y.shape[1:]) for x, y in batches}) > 1:
            return None
        output = self.network(self.place(batches[0][0][:1]))
        numbers = output.numel() if isinstance(output, Tensor) else 1
        chosen = spread(count(batches), max(2, min(TOGETHER, LARGEST // numbers)))
        picked, start = [], 0
        for x, y in batches:
            rows = chosen[(chosen >= start) & (chosen < start + len(x))] - start
            picked.append((x[rows.to(x.device)], y[rows.to(y.device)]))
            start += len(x)
        x, y = (self.place(torch.cat(parts)) for parts in zip(*picked, strict=True))
        return x, y, self.network(x)

    def faults(self, batch: Batch, output: object, others: Answered | None) -> tuple[bool, bool]:
        """Whether the loss, and whether the network, breaks the law on a piece with that output."""
        x, y = (self.place(part) for part in batch)
        if not isinstance(output, Tensor) or not output.ndim or len(output) != len(x):
            return self._value_differs(x, y, output, others), False
        rows = spread(len(x), TOGETHER).to(x.device)
        _, classes, answers = others or (x, y[rows], output.detach()[rows])
        incomparable = others is None and self.measure(output.detach(), y)[1] is None
        loss = not self.known and (incomparable or self._loss_differs(output, y, answers, classes))
        rows = spread(len(x), AGAIN).to(x.device)
        few = x[rows] if others is None else torch.cat([x[rows], others[0][:AGAIN]])
        return loss, not _close(self.network(few)[: len(rows)], output.detach()[rows], 0.5)

    def holds(self, batch: Batch) -> bool:
        """Whether the law holds for two halves of some samples of a batch; not if there is but one."""
        x, y = (self.place(part) for part in batch)
        rows = spread(len(x), 2 * TOGETHER).to(x.device)
        first, second = rows[::2], rows[1::2]
        if not len(second):
            return False
        try:
            outputs = [self.network(x[half]) for half in (first, second)]
            return not any(self.faults((x[first], y[first]), outputs[0], (x[second], y[second], outputs[1])))
        except RuntimeError:  # a loss for exactly these samples
            return False

    def _loss_differs(self, output: Tensor, y: Tensor, beside: Tensor, classes: Tensor) -> bool:
        """The law for the derivatives in float64, or where the loss has float32 of its own, in that."""
        try:
            wide = (part.double() if part.is_floating_point() else part for part in (output, y, beside, classes))
            return self._slopes_differ(*wide)
        except RuntimeError:
            return self._slopes_differ(output, y, beside, classes)

    def _slopes_differ(self, output: Tensor, y: Tensor, beside: Tensor, classes: Tensor) -> bool:
        together, weight = self._slopes(torch.cat([output, beside]), torch.cat([y, classes]))
        first, second = self._slopes(output, y), self._slopes(beside, classes)
        n, eps = len(output), torch.finfo(output.dtype).eps
        pairs = ((together[:n], first[0]), (together[n:], second[0]), (weight, first[1] + second[1]))
        # Where all samples are fitted, slopes as p − 1 are nothing but rounding, of numbers of the size of a share.
        share = 1.0 if self.measure(output.detach(), y)[1] is not None else 1 / n
        return not all(_close(a, b, 0.7, 30 * eps * share) for a, b in pairs)

    def _slopes(self, output: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """∂(share of the loss)/∂output, in the output's shape, and the weight as a scalar."""
        at = output.detach().requires_grad_()
        with torch.enable_grad():
            value, weight = self.measure(at, y)
        slope = torch.zeros_like(at)
        if value.requires_grad:
            (slope,) = torch.autograd.grad(value, at, materialize_grads=True)
        return slope, torch.as_tensor(weight or 0.0, dtype=torch.float64)

    def _value_differs(self, x: Tensor, y: Tensor, output: object, others: Answered | None) -> bool:
        """The law for the value of the loss, for outputs that do not tell samples apart."""
        if others is None:
            return True
        both = self.network(torch.cat([x, others[0]])), torch.cat([y, others[1]])
        with torch.no_grad():
            together, *apart = (self.measure(*part)[0] for part in (both, (output, y), (others[2], others[1])))  # type: ignore[arg-type]
        return not _close(together, sum(apart, start=torch.zeros_like(together)), 0.5)


def spread(n: int, k: int) -> Tensor:
    """Return at most k different indices from 0 to n − 1, evenly spread, with both ends."""
    return torch.linspace(0, n - 1, min(n, k), dtype=torch.float64).round().long()


def _close(a: Tensor, b: Tensor, power: float, floor: float = 0.0) -> bool:
    """Whether a and b agree up to εᵖᵒʷᵉʳ of the largest entry, or floor; what is not finite is told elsewhere."""
    scale = torch.maximum(a.detach().abs().max(), b.detach().abs().max())
    tolerance = torch.finfo(a.dtype).eps ** power
    return bool((a - b).abs().max() <= tolerance * scale + floor) or not bool(torch.isfinite(scale))
