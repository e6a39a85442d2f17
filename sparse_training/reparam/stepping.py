"""Around one step of an optimizer: learning rates and gradients of layers scaled, and layers stepped apart."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from commons.checks import refuse
from sparse_training.reparam.layer import Groups, Layer, launches_cost
from sparse_training.reparam.scaling import Scaling
from sparse_training.reparam.sharding import is_sharded

Group = dict[str, Any]
Args = tuple[Any, ...]
Named = dict[str, Any]


def with_gradients(optimizer: torch.optim.Optimizer, args: Args, named: Named) -> tuple[Args, Named] | None:
    """Call the closure of a step, if it has one, so that the gradients are there; None where it has none.

    Returns the arguments of the step with a closure in its place that only returns the loss.

    Raises:
        InputError: the optimizer calls its closure as often as it likes.
    """
    closures = [value for value in (*args[1:], *named.values()) if callable(value)]
    if not closures:
        return None
    if isinstance(optimizer, torch.optim.LBFGS):
        refuse("optimizer", type(optimizer).__name__, "one whose step evaluates the loss once")
    with torch.enable_grad():
        loss = closures[0]()

    def known() -> Any:
        return loss

    same = tuple(known if callable(value) else value for value in args[1:])
    return (args[0], *same), {key: known if callable(value) else value for key, value in named.items()}


def put_gradients_aside(optimizer: torch.optim.Optimizer) -> ExitStack:
    """Take every gradient from the optimizer, which then steps nothing, until the stack that is returned is closed."""
    put_back = ExitStack()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            put_back.callback(setattr, parameter, "grad", parameter.grad)
            parameter.grad = None
    return put_back


def scale(scaling: Scaling, layers: Sequence[Layer], held: Sequence[Layer], groups: Groups) -> ExitStack:
    """Scale gradients for good, and learning rates until the stack that is returned is closed.

    layers: all masked weights, from which the rates follow. held: those that the optimizer steps.
    """
    undo = ExitStack()
    rates = dict(zip((layer.name for layer in layers), scaling.rates(layers), strict=True)) if scaling.by_layer else {}
    for layer in held:
        factor = scaling.gradient(layer)
        if factor is not None and layer.factors is not None:
            factor = layer.factors.stored(factor)
        for parameter in layer.parameters:
            if factor is not None and parameter.grad is not None:
                parameter.grad.mul_(factor)
        rate = rates.get(layer.name, 1.0)
        group = groups[id(layer.parameters[0])]
        if rate == 1:
            continue
        changed = {"lr": group["lr"] * rate}
        changed |= {key: group[key] / rate for key in ("weight_decay", "theta_decay") if key in group}
        undo.callback(group.update, {key: group[key] for key in changed})
        group.update(changed)
    return undo


def step_in_parts(
    optimizer: torch.optim.Optimizer,
    parts: Sequence[Sequence[Layer]],
    follow: Callable[[list[Layer], list[Tensor]], None],
) -> ExitStack:
    """Let the optimizer step layers apart, part by part, and call follow(part, its parameters before) each time.

    A parameter without a gradient is not stepped, so the gradients of all others are put aside meanwhile. Those of the
    layers stay aside until the stack that is returned is closed, so that the step in which this happens is that of the
    other parameters.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    gradients = [parameter.grad for parameter in parameters]
    own = {id(parameter) for part in parts for layer in part for parameter in layer.parameters}
    put_back, whole = ExitStack(), False
    try:
        for parameter in parameters:
            parameter.grad = None
        of = dict(zip(map(id, parameters), gradients, strict=True))
        for part in parts:
            stepped = [layer for layer in part if of[id(layer.parameters[0])] is not None]
            if not stepped:
                continue
            thetas = [layer.parameters[0] for layer in stepped]
            befores = copies([theta.detach() for theta in thetas])
            for theta in thetas:
                theta.grad = of[id(theta)]
            optimizer.step()
            for theta in thetas:
                theta.grad = None
            follow(stepped, befores)
            del befores
        whole = True
    finally:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if whole and id(parameter) in own:
                put_back.callback(setattr, parameter, "grad", gradient)
            else:
                parameter.grad = gradient
    return put_back


def copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    """A copy of each tensor, made at once where launches cost."""
    if not tensors or not launches_cost(tensors[0]) or is_sharded(tensors[0]):
        return [tensor.clone() for tensor in tensors]
    made = [torch.empty_like(tensor) for tensor in tensors]
    torch._foreach_copy_(made, list(tensors))
    return made


def check_groups(optimizer: torch.optim.Optimizer, held: Sequence[Layer], by_layer: bool, own_decay: bool) -> None:
    """Refuse an optimizer whose groups do not fit.

    by_layer: each layer in `held` needs a group of its own. own_decay: the optimizer must not let them decay.

    Raises:
        InputError: says what is needed, and names the layer.
    """
    for layer in held:
        mine = {id(parameter) for parameter in layer.parameters}
        for group in optimizer.param_groups:
            inside = {id(parameter) for parameter in group["params"]}
            need = ""
            if by_layer and inside & mine and not inside <= mine:
                need = f"a group for {layer.name} alone"
            elif own_decay and inside & mine and group.get("weight_decay"):
                need = f"no weight decay of its own for {layer.name}"
            if need:
                hint = "build it over sparse.parameter_groups(weight_decay)"
                refuse("optimizer", type(optimizer).__name__, f"one with {need}", hint)


def parameter_groups(
    model: nn.Module, layers: Sequence[Layer], weight_decay: float, share: float, vectors: bool, by_layer: bool
) -> list[Group]:
    """The parameter groups of `Sparse.parameter_groups`, in the order of the network's parameters.

    share: that of the weight decay which each factor gets; 0 where θ decays by "theta_decay" instead. by_layer: whether
    each of the layers has groups of its own.
    """
    layer_of = {id(parameter): layer for layer in layers for parameter in layer.parameters}
    groups: dict[tuple[str, float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        layer = layer_of.get(id(parameter))
        decays = vectors or parameter.ndim > 1 or ".parametrizations." in f".{name}"
        decay, theta_decay = weight_decay if decays else 0.0, 0.0
        if layer is not None and not share:
            decay, theta_decay = 0.0, weight_decay
        elif layer is not None and layer.factors is not None:
            decay = share * weight_decay
        own = layer.name if layer is not None and by_layer else ""
        groups.setdefault((own, decay, theta_decay), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, **({"theta_decay": theta_decay} if theta_decay else {})}
        for (_, decay, theta_decay), parameters in groups.items()
    ]
