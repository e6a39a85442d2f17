"""`semi_structured`: lets torch's 2:4 kernels compute the linear layers of a network on a CUDA device."""

import warnings

import torch
from torch import nn

from commons.checks import refuse
from sparse_training.masks import Masks
from sparse_training.sparse_tensors import check_2of4


@torch.no_grad()
def semi_structured(model: nn.Module, masks: Masks) -> list[str]:
    """Pack the weights of linear layers for torch's 2:4 kernels, in place, and return their parameter names.

    model: a plain network in half precision on a CUDA device, for inference alone. Of the masked weights those of
    `torch.nn.Linear` are packed whose sizes torch accepts; others stay dense.

    Raises:
        InputError: the masks do not fit the network, have more than 2 active of 4 consecutive inputs in a linear layer,
            or the network is not on CUDA, where alone torch has these kernels.
    """
    masks.check(model)
    packed = []
    for name, mask in masks.items():
        owner, _, attribute = name.rpartition(".")
        module = model.get_submodule(owner)
        if not isinstance(module, nn.Linear) or attribute != "weight":
            continue
        if not module.weight.is_cuda:
            refuse("model", str(module.weight.device), "on a CUDA device, where torch has 2:4 kernels")
        check_2of4(mask)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "The PyTorch API of SparseSemiStructuredTensor is in prototype")
                weight = torch.sparse.to_sparse_semi_structured(module.weight * mask)
        except RuntimeError:  # a size or a type that the kernels do not have
            continue
        module.weight = nn.Parameter(weight, requires_grad=False)
        packed.append(name)
    return packed
