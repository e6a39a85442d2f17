"""One masked weight of a network: where it lives, what the optimizer holds of it, and how it is kept on its mask."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from commons.checks import refuse
from sparse_training.masks.matrices import USUAL
from sparse_training.reparam.factors import Factors
from sparse_training.reparam.optimizer_states import PER_WEIGHT, kinds_of
from sparse_training.reparam.sharding import is_sharded, local, sharded_like, whole

Groups = Mapping[int, dict[str, Any]]

_WORDS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass
class Layer:
    """One masked weight: where it lives in the network, which of its entries are active, and its chart, if any.

    name: of the parameter in the network. module, attribute: where it is found. mask: bool, of the weight's shape, on
    its device; `use_mask` writes into it. factors: the chart that writes it, None for a plain weight. others: the
    further names of a weight that several modules share. axes: which of its axes are outputs and inputs, as in
    `masks.Matrix`. words: where launches cost, the mask as integers 0 and 1, by dtype.
    """

    name: str
    module: nn.Module
    attribute: str
    mask: Tensor
    factors: Factors | None = None
    others: tuple[str, ...] = ()
    axes: str = USUAL
    words: dict[torch.dtype, Tensor] = field(default_factory=dict, repr=False)

    @property
    def frozen(self) -> bool:
        """Whether nothing of the weight is trained, so that every reparametrization leaves it alone."""
        return not any(parameter.requires_grad for parameter in self.parameters)

    @property
    def compact(self) -> bool:
        """Whether its factors are stored for the active entries alone, so that its support cannot change."""
        return self.factors is not None and self.factors.entries is not None

    @property
    def theta(self) -> Tensor:
        """The merged weight; it is the parameter itself where nothing is parametrized."""
        theta: Tensor = getattr(self.module, self.attribute)
        return theta

    @property
    def parameters(self) -> tuple[nn.Parameter, ...]:
        """What the optimizer holds of this weight: θ, or its factors."""
        if not parametrize.is_parametrized(self.module, self.attribute):
            return (self.module._parameters[self.attribute],)  # type: ignore[return-value]
        entry: Any = self.module.parametrizations[self.attribute]  # type: ignore[index]
        if entry.is_tensor:
            return (entry.original,)
        return tuple(getattr(entry, f"original{index}") for index in range(entry.ntensors))

    def gathered(self) -> "Layer":
        """The layer itself, or a copy with all of a weight that is sharded, to look at; every process must ask."""
        if not is_sharded(self.mask):
            return self
        parts = tuple(nn.Parameter(whole(parameter.detach())) for parameter in self.parameters)
        return Gathered(self.name, self.module, self.attribute, whole(self.mask), self.factors, parts=parts)

    def states(self, optimizer: torch.optim.Optimizer) -> list[Tensor]:
        """The optimizer's momentum and running averages of this weight: of its parameters' shape, 0 at the start.

        Empty for an optimizer that `optimizer_states.STATES` does not know, whose state has a meaning of its own.
        """
        kinds = kinds_of(optimizer) or {}
        return [
            value
            for parameter in self.parameters
            if parameter in optimizer.state
            for key, value in optimizer.state[parameter].items()
            if kinds.get(key) in PER_WEIGHT and isinstance(value, Tensor) and value.shape == parameter.shape
        ]

    def use_mask(self, mask: Tensor) -> None:
        """Take the entries of another mask, bool of the same shape on any device; no weight is written.

        The tensor `mask` stays the same, because a CUDA graph that was captured earlier reads it.

        Raises:
            InputError: factors that are stored for the present support alone, and another support.
        """
        if self.compact:
            if not torch.equal(mask.to(self.mask.device), self.mask):
                hint = "storage='dense' can change it"
                refuse("masks", f"another support of {self.name}", "the one that storage='active' keeps", hint)
            return
        mask = sharded_like(mask.to(self.mask.device), self.mask)
        local(self.mask).copy_(local(mask))
        if self.factors is not None and self.factors.mask is not self.mask:
            local(self.factors.mask).copy_(local(mask))
        for word in self.words.values():
            word.copy_(local(self.mask))

    @torch.no_grad()
    def change_mask(self, mask: Tensor, optimizer: torch.optim.Optimizer | None) -> None:
        """Take another mask as `use_mask` does; what is dropped becomes 0, what is grown starts at θ = 0.

        The optimizer's states with one entry a weight become 0 wherever the mask changed.

        Raises:
            InputError: as `use_mask`.
        """
        if self.compact:
            self.use_mask(mask)
            return
        new = sharded_like(mask.to(self.mask.device), self.mask)
        unchanged, grown = self.mask & new, new & ~self.mask
        for tensor in (*self.parameters, *(self.states(optimizer) if optimizer is not None else ())):
            tensor.masked_fill_(~unchanged, 0.0)
        self.use_mask(new)
        if self.factors is not None:
            start = self.factors.right_inverse(torch.zeros_like(self.theta))
            for parameter, value in zip(self.parameters, start, strict=True):
                parameter.copy_(torch.where(grown, value, parameter))

    def shard(self) -> None:
        """Shard the mask as the parameters are, where `fully_shard` has sharded these since.

        Raises:
            InputError: the factors are stored for the active entries alone.
        """
        if self.compact:
            refuse("storage", "active", "dense, as sharded factors are")
        self.mask, self.words = sharded_like(self.mask, self.parameters[0]), {}
        if self.factors is not None:
            self.factors.mask = self.mask

    def hold(self, optimizer: torch.optim.Optimizer) -> None:
        """Set parameters and optimizer state to exactly +0 off the mask, whatever they hold there.

        A bitwise "and" of each number with a word of ones or zeros costs as much as a multiplication by the mask, which
        would leave −0 and NaN; `masked_fill_` costs four times as much on a CPU.
        """
        if self.compact:
            return  # nothing is stored off the mask
        words: dict[torch.dtype, Tensor] = {}
        for tensor in (*self.parameters, *self.states(optimizer)):
            kind = _WORDS[tensor.element_size()]
            if kind not in words:
                words[kind] = local(self.mask).view(torch.int8).neg().to(kind)  # −1 has every bit set
            local(tensor.detach()).view(kind).bitwise_and_(words[kind])

    def word(self, kind: torch.dtype) -> Tensor:
        """The mask as integers 0 and 1 of a dtype, which is kept."""
        if kind not in self.words:
            self.words[kind] = local(self.mask).to(kind)
        return self.words[kind]


def launches_cost(tensor: Tensor) -> bool:
    """Whether an operator on a small tensor costs its launch, so that it had better work on many of them at once."""
    return tensor.is_cuda


def hold(layers: Sequence[Layer], optimizer: torch.optim.Optimizer) -> None:
    """`Layer.hold` for many layers; where launches cost, by products of the numbers' bits, as integers, with 0 or 1."""
    by_kind: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for layer in layers:
        if not launches_cost(layer.mask):
            layer.hold(optimizer)
            continue
        for tensor in () if layer.compact else (*layer.parameters, *layer.states(optimizer)):
            kind = _WORDS[tensor.element_size()]
            held, words = by_kind.setdefault(kind, ([], []))
            held.append(local(tensor.detach()).view(kind))
            words.append(layer.word(kind))
    for held, words in by_kind.values():
        torch._foreach_mul_(held, words)


def together(layers: Sequence[Layer], groups: Groups) -> list[list[Layer]]:
    """The layers of each parameter group where launches cost; elsewhere each by itself, which takes least memory.

    groups: as `groups_of` gives them.
    """
    parts: dict[int, list[Layer]] = {}
    for layer in layers:
        first = layer.parameters[0]
        parts.setdefault(id(groups[id(first)]) if launches_cost(first) else id(layer), []).append(layer)
    return list(parts.values())


@dataclass
class Gathered(Layer):
    """A sharded layer whose parts were put together. parts: what the optimizers of all processes hold, whole."""

    parts: tuple[nn.Parameter, ...] = ()

    @property
    def parameters(self) -> tuple[nn.Parameter, ...]:
        return self.parts

    @property
    def theta(self) -> Tensor:
        return self.parts[0] if self.factors is None else self.factors.join(*self.parts)
