"""What a sign initialization may look at and what it costs; `find_signs` runs one on a copy of the network."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from commons.checks import refuse
from commons.registry import Registry
from sparse_training.masks import Masks
from sparse_training.seeding import derive, isolated

Batch = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
Signs = dict[str, Tensor]
GRADIENT = 3  # forward passes that a gradient counts for: one forward, and a backward of twice its work


@dataclass(frozen=True)
class Layers:
    """What masked layers receive and give, by the name of their weight, and the network's outputs."""

    received: dict[str, Tensor]
    given: dict[str, Tensor]
    outputs: Tensor


class Probe:
    """A copy of the network that a method may use up, with a meter of the forward passes it takes.

    model: the copy, its inactive weights 0.   weights: its masked weights by name, from input to output.   masks: bool
    by name.   x, y: the samples, on the network's device.   loss(outputs, y): a mean.   seed: of the method's own
    draws.   passes: forward passes of one sample so far.
    """

    def __init__(self, model: nn.Module, masks: Masks, batch: Batch, loss: Loss, seed: int) -> None:
        self.model, self.masks, self.loss, self.seed, self.passes = copy.deepcopy(model), masks, loss, seed, 0
        self.weights = {name: self.model.get_parameter(name).requires_grad_() for name in masks}
        self.x, self.y = (t.to(masks.device) for t in batch)
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.mul_(masks[name])

    def forward(self, x: Tensor) -> Tensor:
        """The outputs of the copy, counted."""
        self.passes += len(x)
        outputs: Tensor = self.model(x)
        return outputs

    def gradient(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """∂loss/∂θ of every masked weight, inactive entries too, counted as three forward passes."""
        self.passes += (GRADIENT - 1) * len(x)
        gradients = torch.autograd.grad(self.loss(self.forward(x), y), list(self.weights.values()))
        return dict(zip(self.weights, gradients, strict=True))

    def layers(self, x: Tensor) -> "Layers":
        """Run x through the copy and say what its masked layers receive and give; one forward pass."""
        received: dict[str, Tensor] = {}
        given: dict[str, Tensor] = {}

        def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
            def keep(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
                received[name], given[name] = inputs[0], output

            return keep

        owners = {name: self.model.get_submodule(name.rpartition(".")[0]) for name in self.weights}
        hooks = [owner.register_forward_hook(watch(name)) for name, owner in owners.items()]
        try:
            with torch.no_grad():
                outputs = self.forward(x)
        finally:
            for hook in hooks:
                hook.remove()
        return Layers(received, given, outputs)

    def targets(self, outputs: Tensor) -> Tensor:
        """What the outputs should become, centred, up to a factor: −∂loss/∂outputs at the outputs 0, for any loss."""
        zero = torch.zeros_like(outputs, requires_grad=True)
        (slope,) = torch.autograd.grad(self.loss(zero, self.y), zero)
        return -(slope - slope.mean(0))

    def signs(self) -> Signs:
        """The signs of the copy's weights as they are now."""
        return {name: weight.detach().sign() for name, weight in self.weights.items()}


Method = Callable[[Probe], Mapping[str, Tensor]]
SIGN_INITS: Registry[Method] = Registry(
    "a function Probe -> {name: signs}", accept=lambda m: m if callable(m) else None
)


@dataclass(frozen=True)
class Found:
    """Signs by parameter name, ±1 where the weight is active and 0 elsewhere, in the dtype of the weight.

    passes: forward passes of one sample that were spent; a gradient counts as three.
    """

    signs: Signs
    passes: int


def find_signs(
    model: nn.Module, masks: Masks, method: str, batch: Batch, *, loss: Loss = cross_entropy, seed: int = 0
) -> Found:
    """Signs for the active weights of a network, the model, found from a sample of data; it is not changed.

    method: a name in `SIGN_INITS` or "package.module:callable".   batch: (x, y), which the method looks at in whatever
    pieces it likes.   loss(outputs, y): a mean.   seed: of what the method draws.   Where a method has no opinion on a
    weight, it keeps its sign.

    Raises:
        InputError: an unknown method, masks that do not fit, a batch that is none, or a network that the method cannot
            read.
    """
    function = SIGN_INITS.find("sign_init", method)
    masks.check(model)
    if not (isinstance(batch, tuple | list) and len(batch) == 2 and len(batch[0]) == len(batch[1]) > 0):
        refuse("batch", type(batch).__name__, "a pair (x, y) of equally many samples")
    probe = Probe(model, masks, batch, loss, seed)
    own = probe.signs()
    with isolated(derive(seed, "sign_init")), torch.enable_grad():
        found = function(probe)
    signs = {}
    for name, mask in masks.items():
        sign = found.get(name, own[name]).detach().sign().to(own[name].dtype)
        sign = torch.where(sign == 0, own[name], sign)
        signs[name] = torch.where(mask, torch.where(sign == 0, 1.0, sign), 0.0)
    return Found(signs, probe.passes)


@torch.no_grad()
def set_signs(model: nn.Module, signs: Mapping[str, Tensor]) -> None:
    """Give weights of the model these signs, in place and exactly: |θ| stays bit for bit.

    signs: by parameter name, in its shape; where a sign is 0 the weight stays as it is.
    """
    for name, sign in signs.items():
        weight = model.get_parameter(name)
        weight.copy_(torch.where(sign == 0, weight, torch.copysign(weight, sign)))
