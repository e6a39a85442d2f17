"""`sparsify`: from a network, masks and a reparametrization to a `Sparse` network, in place."""

import torch
from torch import nn
from torch.nn.utils import parametrize

from commons.checks import refuse
from sparse_training.masks import Masks
from sparse_training.reparam.base import Reparam
from sparse_training.reparam.factors import Factors, check_support
from sparse_training.reparam.layer import Layer
from sparse_training.reparam.scaling import Scaling
from sparse_training.reparam.sparse import Sparse


@torch.no_grad()
def sparsify(model: nn.Module, masks: Masks, reparam: Reparam | None = None, scaling: Scaling | None = None) -> Sparse:
    """Zero the inactive weights of a network and write the others as `reparam` has it; in place.

    model: the network. masks: bool by parameter name; other parameters are left alone. scaling: what multiplies
    gradients or learning rates before each step. The network must be on its device already, and the optimizer is built
    afterwards, because it must hold the factors.

    Raises:
        InputError: masks that do not fit, a reparam that is none, a network that is sparse already, a reparametrized
            weight that two modules share, or a chart that does not give 0 where its factors are 0.
    """
    if not isinstance(reparam, Reparam | None):
        refuse("reparam", reparam, "a reparametrization", "pass an object such as SignIn(beta=1.0), or None")
    if not isinstance(scaling, Scaling | None):
        refuse("scaling", scaling, "a scaling", "pass an object such as SparseOpt(), or None")
    if any(isinstance(module, Factors) for module in model.modules()):
        refuse("model", type(model).__name__, "a plain network: it is reparametrized already", "merge() gives one")
    masks.check(model)
    names = list(model.state_dict())
    layers = []
    for name in masks:
        owner, _, attribute = name.rpartition(".")
        module = model.get_submodule(owner)
        parameter = module.get_parameter(attribute)
        own = torch.empty_like(parameter, dtype=torch.bool).copy_(masks[name])  # it will be written to
        layers.append(Layer(name, module, attribute, own))
        parameter.masked_fill_(~layers[-1].mask, 0.0)
    if reparam is not None and reparam.is_chart:
        for layer, chart in zip(layers, reparam.factors([layer.mask for layer in layers]), strict=True):
            _write_by_factors(model, layer, chart)
    if reparam is not None:
        reparam.begin(layers)
    return Sparse(model, layers, reparam, names, scaling)


def _write_by_factors(model: nn.Module, layer: Layer, chart: Factors) -> None:
    """Let the chart write the weight of a layer."""
    _refuse_shared(model, layer)
    parametrize.register_parametrization(layer.module, layer.attribute, chart)
    layer.factors = chart
    entry: nn.Module = layer.module.parametrizations[layer.attribute]  # type: ignore[index,assignment]
    entry.register_load_state_dict_pre_hook(check_support)  # type: ignore[no-untyped-call]
    if bool(layer.theta[~layer.mask].any()):
        refuse("reparam", type(chart).__name__, "a chart that gives 0 where every factor is 0")


def _refuse_shared(model: nn.Module, layer: Layer) -> None:
    parameter = layer.module._parameters[layer.attribute]
    names = [name for name, p in model.named_parameters(remove_duplicate=False) if p is parameter]
    if len(names) > 1:
        refuse("model", " = ".join(names), "free of reparametrized weights that two modules share")
