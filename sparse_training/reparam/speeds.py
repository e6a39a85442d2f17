"""How fast each layer moves against plain training: what tells the geometry of a run from a matter of step size."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sparse_training.reparam.base import Reparam, groups_of
from sparse_training.reparam.sharding import whole
from sparse_training.reparam.sparse import Sparse

QUANTILES = {"low": 0.05, "median": 0.5, "high": 0.95}
MOST = 2**16  # weights of a layer that quantiles are taken over, evenly spread
FLAT = 0.05

Speeds = dict[str, dict[str, float | None]]


@torch.no_grad()
def speeds_of(sparse: Sparse, optimizer: torch.optim.Optimizer) -> Speeds:
    """The speeds of the active weights by layer, at the present weights; layers without an active weight are left out.

    The speed of a weight is g in dθ = −g ∇L dt, with what the scaling makes of it: 1 for plain training,
    √(4θ² + β²) for Sign-In, √(1 + 4θ²/β²) for UnitSpeed. Of each layer the values are

        mean, low, median, high   of the speed: its mean, and its 5 %, 50 % and 95 % quantiles
        beta                      β of the layer, or None
        strength                  2/β, what HAM calls α; 0 where there is no β
        above                     the share of weights with 2|θ| > β, where the speed depends on θ; None without β
        decay                     mean of λ/g, where λ is the weight decay of θ: the decay with which a plain weight
                                  would have the same equilibria
    """
    reparam, scaling, layers = sparse.reparam or Reparam(), sparse.scaling, sparse.layers
    groups = groups_of(optimizer)
    rates = scaling.rates(layers) if scaling is not None else [1.0] * len(layers)
    found: Speeds = {}
    for layer, rate in zip(layers, rates, strict=True):
        group = groups.get(id(layer.parameters[0]))
        if group is None or not bool(whole(layer.mask).any()):
            continue
        layer = layer.gathered()
        speed = reparam.speed(layer).float() * rate
        factor = scaling.gradient(layer) if scaling is not None else None
        if factor is not None:
            speed *= factor.expand(layer.mask.shape)[layer.mask]
        beta = reparam.beta_of(layer)
        decay = group["weight_decay"] * len(layer.parameters) + group.get("theta_decay", 0.0)
        above = int((2 * layer.theta.detach().abs() > beta).sum()) if beta else 0  # none off the mask
        found[layer.name] = {
            "mean": float(speed.mean()),
            **_quantiles(speed),
            "beta": beta,
            "strength": 2 / beta if beta else 0.0,
            "above": above / len(speed) if beta else None,
            "decay": float((decay / speed).mean()),
        }
    return found


def _quantiles(speed: Tensor) -> dict[str, float]:
    some = speed[:: -(-len(speed) // MOST)].sort().values
    return {name: float(some[round(share * (len(some) - 1))]) for name, share in QUANTILES.items()}


def strength(epochs: Sequence[Mapping[str, Any]]) -> str:
    """The strength 2/β over the layers and epochs of recorded metrics, in words; "" where none was recorded."""
    values = [layer["strength"] for epoch in epochs for layer in epoch.get("speeds", {}).values() if layer["beta"]]
    if not values:
        return ""
    low, high = min(values), max(values)
    return f"strength 2/β = {low:.3g}" + ("" if math.isclose(low, high, rel_tol=1e-2) else f" to {high:.3g}")


def nearly_constant(epochs: Sequence[Mapping[str, Any]]) -> str:
    """A warning in one line if each layer's speed stayed within 5 % of a constant over all epochs; else "".

    Between its 5 % and 95 % quantiles, that is. Then the run differs from plain training with these layer rates in
    nothing that training would show.
    """
    layers = list(epochs[0].get("speeds", {})) if epochs else []
    rates = {}
    for name in layers:
        seen = [epoch["speeds"][name] for epoch in epochs if name in epoch["speeds"]]
        low, high = min(line["low"] for line in seen), max(line["high"] for line in seen)
        if high - low > FLAT * (high + low):
            return ""
        rates[name] = (low + high) / 2
    if not rates:
        return ""
    spread = f"{min(rates.values()):.3g}" + (f" to {max(rates.values()):.3g}" if len(rates) > 1 else "")
    return (
        f"the speed stayed within 5 % of a constant in every layer ({spread}), so that this is plain training with "
        "layer rates: compare it with scaling=layer-rates, or choose a smaller β"
    )
