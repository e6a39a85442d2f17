"""`merged`: a plain copy of a network whose weights are written by charts or by a training method."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from sparse_training.reparam.layer import Layer


def merged(model: nn.Module, layers: Sequence[Layer], names: Sequence[str]) -> nn.Module:
    """The copy, with bit-identical outputs; shared weights are shared in it.

    names: the keys of the state dict that the copy shall have, in their order.
    """
    refresh_recurrent(model)
    plain = copy.deepcopy(model)
    for layer in layers:
        shared, theta = None, layer.theta.detach().clone()
        for name in (layer.name, *layer.others):
            owner, _, attribute = name.rpartition(".")
            module = plain.get_submodule(owner)
            if parametrize.is_parametrized(module, attribute):
                shared = _unparametrize(module, attribute, shared)
                with torch.no_grad():
                    shared.copy_(theta)  # a threshold of a shared weight was applied once for each module
    places = {name: place for place, name in enumerate(names)}
    for prefix, module in plain.named_modules():
        own = module._parameters
        order = sorted(own, key=lambda attribute: places.get(f"{prefix}.{attribute}".lstrip("."), len(places)))
        module._parameters = {attribute: own[attribute] for attribute in order}
    for name in plain.state_dict():
        if name not in places:  # a buffer of the reparametrization
            owner, _, attribute = name.rpartition(".")
            delattr(plain.get_submodule(owner), attribute)
    refresh_recurrent(plain)
    return plain


@torch.no_grad()
def refresh_recurrent(model: nn.Module) -> None:
    """Let recurrent modules forget the weights of their last forward pass, which belong to its graph."""
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            module._init_flat_weights()


def _unparametrize(module: nn.Module, attribute: str, shared: Tensor | None) -> Tensor:
    """Make a parametrized weight a parameter of the module, or the one that another module has already."""
    kind = type(module)  # with the original module, so the property must go from a class of its own
    module.__class__ = type(kind.__name__, kind.__bases__, dict(vars(kind)))
    parametrize.remove_parametrizations(module, attribute, leave_parametrized=True)
    if shared is not None:
        module._parameters[attribute] = shared  # type: ignore[assignment]
    return module._parameters[attribute]  # type: ignore[return-value]
