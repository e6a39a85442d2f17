"""`prunable`: the parameters of a network that can be pruned.

They are the matrices that multiply activations, whatever the class of their module: `matrices.MATRICES` lists them.
Biases, normalisations, embeddings and what no line of the table knows stay, unless `include` asks for them.
"""

import warnings
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from torch import nn

from commons.checks import nearest, refuse
from sparse_training.masks.matrices import check_real, matrices_of


class PassedOver(UserWarning):
    """Parameters of two or more dimensions stay dense because nobody said that they are to be pruned; names them."""


def prunable(model: nn.Module, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> dict[str, nn.Parameter]:
    """Prunable weights of a model by the name that `named_parameters` gives, in its order; first and last included.

    A weight that modules share appears once. include, exclude: shell patterns for names of parameters ("layer1.*") or
    modules ("fc"), any of those that a shared weight has; with include, only matching weights are kept. A pattern of
    include that matches no weight of the table stands for the other parameters that it matches, so that
    include=["*", "wte"] adds an embedding to all others.

    Raises:
        InputError: nothing prunable is left, a pattern matches nothing, or a lazy module has no weights yet.
    """
    named: dict[str, nn.Parameter] = dict(model.named_parameters())
    check_real({name: parameter for name, parameter in named.items() if nn.parameter.is_lazy(parameter)})
    names = names_of(model)
    usual = {key for key, matrix in matrices_of(model).items() if not matrix.opt_in}
    weights = {name: names[id(parameter)] for name, parameter in named.items() if id(parameter) in usual}
    if not weights and not include:
        refuse("model", type(model).__name__, "a network with linear, convolution or attention weights")
    kept = set(weights)
    if include:
        others = {name: names[id(parameter)] for name, parameter in named.items() if name not in weights}
        kept = _matching(weights, "include", include, others)
    kept -= _matching({**weights, **{name: names[id(named[name])] for name in kept}}, "exclude", exclude)
    if not kept:
        refuse("exclude", tuple(exclude), "a choice that leaves a weight to prune")
    return {name: parameter for name, parameter in named.items() if name in kept}


def warn_of_passed_over(model: nn.Module) -> None:
    """Name what could be a matrix and is not prunable in a `PassedOver` warning at the caller's caller.

    These are parameters with two axes or more, none of length 1, as that of a position or a token often is.
    """
    known = prunable(model)
    left = [n for n, p in model.named_parameters() if n not in known and p.ndim > 1 and min(p.shape) > 1]
    if left:
        listed = ", ".join(left[:8]) + (f" and {len(left) - 8} more" if len(left) > 8 else "")
        warnings.warn(f"not pruned: {listed}; include=['*', {left[0]!r}] would", PassedOver, stacklevel=3)


def names_of(model: nn.Module) -> dict[int, list[str]]:
    """Every name of each parameter, by its `id`."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return names


def _matching(
    names: Mapping[str, list[str]],
    argument: str,
    patterns: Sequence[str],
    others: Mapping[str, list[str]] | None = None,
) -> set[str]:
    """The names that match; a pattern that none of `names` matches is looked up in `others`."""
    matches: set[str] = set()
    for pattern in patterns:
        found = _match(names, pattern) or _match(others or {}, pattern)
        if not found:
            known = [*names, *(others or {})]
            refuse(argument, pattern, "a pattern that matches a prunable weight", nearest(pattern, known))
        matches |= found
    return matches


def _match(names: Mapping[str, list[str]], pattern: str) -> set[str]:
    return {
        name
        for name, every in names.items()
        if any(fnmatchcase(each, pattern) or fnmatchcase(each.rpartition(".")[0], pattern) for each in every)
    }
