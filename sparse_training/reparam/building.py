"""`sparsify`: from a network, masks and a reparametrization to a `Sparse` network, in place."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrize

from commons.checks import refuse
from sparse_training.masks import Masks
from sparse_training.masks.matrices import axes_by_name, check_real
from sparse_training.masks.selection import names_of
from sparse_training.reparam.base import Reparam
from sparse_training.reparam.factors import Factors, check_support
from sparse_training.reparam.layer import Layer
from sparse_training.reparam.scaling import Scaling
from sparse_training.reparam.sharding import check_equal, is_sharded, wrap_again
from sparse_training.reparam.sparse import Sparse


@torch.no_grad()
def sparsify(
    model: nn.Module,
    masks: Mapping[str, Tensor],
    reparam: Reparam | None = None,
    scaling: Scaling | None = None,
) -> Sparse:
    """Zero the inactive weights of a network and write the others as `reparam` has it; in place.

    model: the network. masks: bool by parameter name; other parameters are left alone. A weight that modules share has
    one mask and one set of factors, under its first name. A weight that needs no gradient is masked and not
    reparametrized. scaling: what multiplies gradients or learning rates before each step. The network must be on its
    device already, and the optimizer is built afterwards, because it must hold the factors.

    A network in DistributedDataParallel is made sparse inside of it, and names and `Sparse.model` are those of the
    network. `fully_shard` comes after sparsify, and masks and factors are then sharded as their weights would be.

    Raises:
        InputError: masks that do not fit or differ between processes, a reparam that is none, a network that is sparse
            or sharded already, a weight without values, or a chart that does not give 0 where its factors are 0.
    """
    if not isinstance(reparam, Reparam | None):
        refuse("reparam", reparam, "a reparametrization", "pass an object such as SignIn(beta=1.0), or None")
    if not isinstance(scaling, Scaling | None):
        refuse("scaling", scaling, "a scaling", "pass an object such as SparseOpt(), or None")
    if any(isinstance(module, Factors) for module in model.modules()):
        refuse("model", type(model).__name__, "a plain network: it is reparametrized already", "merge() gives one")
    masks = Masks(masks)
    if isinstance(model, DistributedDataParallel):
        inner = Masks({name.removeprefix("module."): mask for name, mask in masks.items()})
        check_equal(inner)
        sparse = sparsify(model.module, inner, reparam, scaling)
        wrap_again(model)
        return sparse
    masks.check(model)
    names, axes, named = list(model.state_dict()), axes_by_name(model), dict(model.named_parameters())
    check_real({name: named[name] for name in masks})
    if any(is_sharded(parameter) for parameter in named.values()):
        refuse("model", type(model).__name__, "a network before fully_shard", "call sparsify first")
    every = names_of(model)
    layers = []
    for name in masks:
        owner, _, attribute = name.rpartition(".")
        parameter = named[name]
        others = tuple(other for other in every[id(parameter)] if other != name)
        mask = torch.empty_like(parameter, dtype=torch.bool).copy_(masks[name])  # it will be written to
        layers.append(Layer(name, model.get_submodule(owner), attribute, mask, others=others, axes=axes[name]))
        parameter.masked_fill_(~mask, 0.0)
    trained = [layer for layer in layers if not layer.frozen]
    if reparam is not None and reparam.is_chart:
        for layer, chart in zip(trained, reparam.factors([layer.mask for layer in trained]), strict=True):
            _write_by_factors(model, layer, chart)
    if reparam is not None:
        reparam.begin(trained)
    return Sparse(model, layers, reparam, names, scaling)


def _write_by_factors(model: nn.Module, layer: Layer, chart: Factors) -> None:
    """Let the chart write the weight of a layer."""
    entry = write_weight(model, layer, chart)
    layer.factors = chart
    entry.register_load_state_dict_pre_hook(check_support)  # type: ignore[no-untyped-call]
    if bool(layer.theta[~layer.mask].any()):
        refuse("reparam", type(chart).__name__, "a chart that gives 0 where every factor is 0")


def write_weight(model: nn.Module, layer: Layer, chart: nn.Module) -> nn.Module:
    """Register one parametrization for a weight in every module that has it; returns the list that holds it."""
    owners: dict[int, tuple[Any, str]] = {id(layer.module): (layer.module, layer.attribute)}
    for other in layer.others:
        owner, _, attribute = other.rpartition(".")
        module = model.get_submodule(owner)
        owners.setdefault(id(module), (module, attribute))
    for module, attribute in owners.values():
        parametrize.register_parametrization(module, attribute, chart)
    entry: nn.Module = layer.module.parametrizations[layer.attribute]  # type: ignore[index,assignment]
    for module, attribute in owners.values():
        module.parametrizations[attribute] = entry
    return entry
