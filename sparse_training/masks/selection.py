"""`prunable`: the parameters of a network that can be pruned.

They are the weights of linear maps, convolutions and attention projections. Biases, normalisations and embeddings stay.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from commons.checks import nearest, refuse

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


def prunable(model: nn.Module, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> dict[str, nn.Parameter]:
    """Prunable weights by parameter name, in the order in which the model defines them; first and last included.

    A weight that two modules share appears once, under its first name. include, exclude: shell patterns for
    parameter names ("layer1.*") or module names ("fc"); with include, only matching weights are kept.

    Raises:
        InputError: nothing prunable is left, or a pattern matches nothing.
    """
    weights: dict[str, nn.Parameter] = {}
    for module_name, module in model.named_modules():
        for attribute in _weights_of(module):
            parameter = module._parameters.get(attribute)
            if parameter is not None and not any(parameter is known for known in weights.values()):
                weights[f"{module_name}.{attribute}".lstrip(".")] = parameter
    if not weights:
        refuse("model", type(model).__name__, "a network with linear, convolution or attention weights")
    kept = _matching(weights, "include", include) if include else set(weights)
    kept -= _matching(weights, "exclude", exclude)
    if not kept:
        refuse("exclude", tuple(exclude), "a choice that leaves a weight to prune")
    return {name: parameter for name, parameter in weights.items() if name in kept}


def _weights_of(module: nn.Module) -> tuple[str, ...]:
    if isinstance(module, nn.MultiheadAttention):
        return _PROJECTIONS
    return ("weight",) if isinstance(module, (nn.Linear, *_CONVOLUTIONS)) else ()


def _matching(names: dict[str, nn.Parameter], argument: str, patterns: Sequence[str]) -> set[str]:
    matches: set[str] = set()
    for pattern in patterns:
        found = {name for name in names if fnmatchcase(name, pattern) or fnmatchcase(name.rpartition(".")[0], pattern)}
        if not found:
            refuse(argument, pattern, "a pattern that matches a prunable weight", nearest(pattern, names))
        matches |= found
    return matches
