"""`sparsify`: a network that keeps its masks under any optimizer, reparametrized or not, and merges to a plain one.

It never chooses a mask and never steps an optimizer.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from commons.checks import refuse
from sparse_training.masks import Masks
from sparse_training.reparam.base import Factors, Reparam


@dataclass
class Layer:
    """One masked weight: where it lives in the network and which of its entries are active."""

    name: str
    module: nn.Module
    attribute: str
    mask: Tensor
    factors: Factors | None = None

    @property
    def theta(self) -> Tensor:
        """The merged weight; the parameter itself where nothing is parametrized."""
        theta: Tensor = getattr(self.module, self.attribute)
        return theta

    @property
    def parameters(self) -> tuple[nn.Parameter, ...]:
        """What the optimizer holds of this weight: θ, or (m, w)."""
        if not parametrize.is_parametrized(self.module, self.attribute):
            return (self.module._parameters[self.attribute],)  # type: ignore[return-value]
        entry: Any = self.module.parametrizations[self.attribute]  # type: ignore[index]
        return (entry.original0, entry.original1) if entry.is_tensor is False else (entry.original,)

    def states(self, optimizer: torch.optim.Optimizer) -> list[Tensor]:
        """The optimizer's tensors of the shape of the weight: momentum, running averages."""
        shape = self.mask.shape
        held = (optimizer.state[p] for p in self.parameters if p in optimizer.state)
        return [
            value for state in held for value in state.values() if isinstance(value, Tensor) and value.shape == shape
        ]


class Sparse:
    """A network with masks on its prunable weights; made by `sparsify`.

    model: the network, changed in place. reparam: how its weights are written, or None.
    """

    def __init__(self, model: nn.Module, layers: list[Layer], reparam: Reparam | None, names: list[str]) -> None:
        self.model, self.reparam, self._layers = model, reparam, layers
        self._names = names
        self._known: torch.optim.Optimizer | None = None  # the optimizer last seen to hold the present weights

    @property
    def reparametrized(self) -> bool:
        """Whether the optimizer holds factors instead of θ."""
        return any(layer.factors is not None for layer in self._layers)

    @property
    def masks(self) -> Masks:
        """The present support."""
        return Masks({layer.name: layer.mask for layer in self._layers})

    def weights(self) -> dict[str, Tensor]:
        """θ of every masked weight by its original parameter name, detached; not to be written to."""
        with torch.no_grad():
            return {layer.name: layer.theta.detach() for layer in self._layers}

    def state_dict(self) -> dict[str, Tensor]:
        """The state dict of the plain network, as `merge` would have it, without building one."""
        state, merged = self.model.state_dict(), self.weights()
        return {name: merged[name] if name in merged else state[name] for name in self._names}

    def load_masks(self, masks: Masks) -> None:
        """Take masks as the support that the weights already have; nothing is zeroed or grown."""
        check_same_layers(masks, self.masks)
        for layer in self._layers:
            layer.mask = _like(masks[layer.name], layer.mask)
            if layer.factors is not None:
                layer.factors.mask = layer.mask

    @torch.no_grad()
    def after_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Keep inactive weights and their optimizer state at exactly 0; to be called after each optimizer step.

        Raises:
            InputError: the optimizer holds none of the weights as they are written now.
        """
        self._check(optimizer)
        if self.reparam is not None:
            self.reparam.after_step(self._layers, optimizer)
        for layer in self._layers:
            if layer.factors is None:
                off = ~layer.mask
                for tensor in (*layer.parameters, *layer.states(optimizer)):
                    tensor.masked_fill_(off, 0.0)

    @torch.no_grad()
    def reset(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Redistribute the factors at unchanged θ, as the reparametrization has it; nothing without one.

        Raises:
            InputError: as `after_step`.
        """
        if optimizer is not None:
            self._check(optimizer)
        if self.reparam is not None:
            self.reparam.reset(self._layers, optimizer)

    def _check(self, optimizer: torch.optim.Optimizer) -> None:
        """An optimizer built before `sparsify` steps tensors that the network no longer reads."""
        if optimizer is self._known:
            return
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if self._layers and not any(id(p) in held for layer in self._layers for p in layer.parameters):
            refuse("optimizer", type(optimizer).__name__, "built over the sparse network", "build it after sparsify")
        self._known = optimizer

    @torch.no_grad()
    def set_masks(self, masks: Masks, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Change the support: what is dropped becomes 0 with its optimizer state, what is grown starts at θ = 0.

        Grown Sign-In weights start at m = √β, w = 0. Optimizer state is 0 wherever the support changed.

        Raises:
            InputError: masks of other layers or shapes.
        """
        check_same_layers(masks, self.masks)
        for layer in self._layers:
            new = _like(masks[layer.name], layer.mask)
            unchanged, grown = layer.mask & new, new & ~layer.mask
            for tensor in layer.states(optimizer) if optimizer is not None else ():
                tensor.masked_fill_(~unchanged, 0.0)
            for parameter in layer.parameters:
                parameter.masked_fill_(~unchanged, 0.0)
            layer.mask = new
            if layer.factors is not None:
                layer.factors.mask = new
                start = layer.factors.right_inverse(torch.zeros_like(layer.theta))
                for parameter, value in zip(layer.parameters, start, strict=True):
                    parameter.copy_(torch.where(grown, value, parameter))

    def mask_gradients(self) -> None:
        """Set the gradients of inactive weights to 0, for a norm over the active ones."""
        for layer in self._layers:
            for parameter in layer.parameters:
                if parameter.grad is not None and layer.factors is None:
                    parameter.grad.masked_fill_(~layer.mask, 0.0)

    def dense_gradient(self, loss: Callable[[], Tensor]) -> dict[str, Tensor]:
        """∂loss/∂θ of every masked weight, inactive entries too.

        Without a reparametrization this is the gradient at hand. With one, loss() is evaluated once more, and the
        network's buffers, its gradients and the random state stay as they were.
        """
        if all(layer.factors is None for layer in self._layers):
            return {layer.name: layer.parameters[0].grad for layer in self._layers}  # type: ignore[misc]
        probes = {layer.name: torch.zeros_like(layer.theta, requires_grad=True) for layer in self._layers}
        buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        devices = [self.masks.device] if self.masks.device.type == "cuda" else []
        try:
            for layer in self._layers:
                layer.factors.probe = probes[layer.name]  # type: ignore[union-attr]
            with torch.random.fork_rng(devices):
                gradients = torch.autograd.grad(loss(), list(probes.values()), materialize_grads=True)
        finally:
            for layer in self._layers:
                layer.factors.probe = None  # type: ignore[union-attr]
            with torch.no_grad():
                for buffer, value in buffers:
                    buffer.copy_(value)
        return dict(zip(probes, gradients, strict=True))

    def merge(self) -> nn.Module:
        """A plain copy of the network whose outputs are bit-identical: each weight is the product of its factors."""
        plain = copy.deepcopy(self.model)
        for layer in self._layers:
            if parametrize.is_parametrized(layer.module, layer.attribute):
                module = plain.get_submodule(layer.name.rpartition(".")[0])
                shared = type(module)  # with the original module, so the property must go from a class of its own
                module.__class__ = type(shared.__name__, shared.__bases__, dict(vars(shared)))
                later = [name for name in module._parameters if name != layer.attribute]
                parametrize.remove_parametrizations(module, layer.attribute, leave_parametrized=True)
                for name in later:  # a weight comes before its bias, as in the network that was given
                    module._parameters[name] = module._parameters.pop(name)
        return plain

    def parameter_groups(self, weight_decay: float, *, vectors: bool = True) -> list[dict[str, Any]]:
        """Parameter groups for an optimizer under which θ decays as a plain weight with `weight_decay` does.

        A decay λ of both factors acts as 2λ on θ = m w, so each Sign-In factor gets half. vectors: False leaves
        biases and normalisations without decay.
        """
        share = 1.0 if self.reparam is None else self.reparam.decay_share
        own = {id(p) for layer in self._layers if layer.factors is not None for p in layer.parameters}
        decays: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            plain = weight_decay if vectors or parameter.ndim > 1 or ".parametrizations." in f".{name}" else 0.0
            decays.setdefault(share * weight_decay if id(parameter) in own else plain, []).append(parameter)
        return [{"params": parameters, "weight_decay": decay} for decay, parameters in decays.items()]


@torch.no_grad()
def sparsify(model: nn.Module, masks: Masks, reparam: Reparam | None = None) -> Sparse:
    """Zero the inactive weights of a network and write the others as `reparam` has it; in place.

    masks: bool by parameter name; other parameters are left alone. Move the network to its device before.

    Raises:
        InputError: masks that do not fit, a reparam that is none, a network that is sparse already, or a
            reparametrized weight that two modules share.
    """
    if not isinstance(reparam, Reparam | None):
        refuse("reparam", reparam, "a reparametrization", "pass an object such as SignIn(beta=1.0), or None")
    if any(isinstance(module, Factors) for module in model.modules()):
        refuse("model", type(model).__name__, "a plain network: it is reparametrized already", "merge() gives one")
    masks.check(model)
    names = list(model.state_dict())
    layers = []
    for name in masks:
        owner, _, attribute = name.rpartition(".")
        module = model.get_submodule(owner)
        parameter = module.get_parameter(attribute)
        layers.append(Layer(name, module, attribute, _like(masks[name], parameter)))
        parameter.masked_fill_(~layers[-1].mask, 0.0)
    charts = None if reparam is None else reparam.factors([layer.mask for layer in layers])
    for layer, chart in zip(layers, charts or (), strict=charts is not None):
        _refuse_shared(model, layer)
        parametrize.register_parametrization(layer.module, layer.attribute, chart)
        layer.factors = chart
    return Sparse(model, layers, reparam, names)


def _like(mask: Tensor, model: Tensor) -> Tensor:
    """mask on the device and with the strides of model; the same tensor where it has them."""
    if mask.device == model.device and mask.stride() == model.stride():
        return mask
    return torch.empty_like(model, dtype=torch.bool).copy_(mask)


def check_same_layers(masks: Masks, known: Masks) -> None:
    """Raise InputError unless both have the same layers, in shape and order."""
    given, expected = ([(name, tuple(mask.shape)) for name, mask in m.items()] for m in (masks, known))
    if given != expected:
        refuse("masks", given, f"those of the present layers, {expected}")


def _refuse_shared(model: nn.Module, layer: Layer) -> None:
    parameter = layer.module._parameters[layer.attribute]
    names = [name for name, p in model.named_parameters(remove_duplicate=False) if p is parameter]
    if len(names) > 1:
        refuse("model", " = ".join(names), "free of reparametrized weights that two modules share")
