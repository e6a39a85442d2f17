"""Signs of two layers from the even and the odd part of the data, before any training (theory: "even sign").

relu(z) = z/2 + |z|/2: the odd half is what a linear fit of the targets finds, the even half is what it leaves. For
centred isotropic Gaussian inputs and neurons on disjoint inputs, the covariance of |w·x| with what the fit leaves has
the sign of the neuron's output weight, in whichever half-plane w is; and the coefficients of the fit are a·v/2.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from commons.checks import refuse
from sparse_training.sign_init.base import SIGN_INITS, Probe, Signs

ROUNDING = 1e-6  # coefficients below this share of the largest one tell nothing


@dataclass(frozen=True)
class Pair:
    """The last two masked layers as the data see them.

    first, last: their names.   u: (n, d) inputs of the first, centred.   z: (n, k) its outputs.   linear: (d, o)
    coefficients of the linear fit of the targets.   rest: (n, o) what the fit leaves.
    """

    first: str
    last: str
    u: Tensor
    z: Tensor
    linear: Tensor
    rest: Tensor


@SIGN_INITS.register("even")
def even(probe: Probe) -> Signs:
    """Signs of the last layer; for o outputs each has its own. One forward pass of the samples."""
    pair = _pair(probe)
    return {pair.last: _even_part(pair.z, pair.rest, probe.masks[pair.last])}


@SIGN_INITS.register("even-both")
def even_both(probe: Probe) -> Signs:
    """Signs of the last two layers: the linear fit aligns the first up to one sign a neuron, the even part settles it.

    Two forward passes: the second looks at the aligned weights, which see far more of the even part.
    """
    pair = _pair(probe)
    mask = probe.masks[pair.first]
    along = pair.linear[:, :1].T.expand(mask.shape)  # (k, d): with one output, a·v/2 on the inputs of each neuron
    if pair.linear.shape[1] > 1:  # with several, a rank-one block v aᵀ/2 whose left factor is wanted
        along = torch.stack([torch.linalg.svd(row[:, None] * pair.linear)[0][:, 0] for row in mask.to(along.dtype)])
    own = probe.weights[pair.first].detach()
    told = along.abs() > ROUNDING * along.abs().max()  # an input that is always 0 has no coefficient
    aligned = torch.where(told, torch.copysign(own, along), own) * mask
    probe.passes += len(pair.u)
    last = _even_part(pair.u @ aligned.T, pair.rest, probe.masks[pair.last])
    seen = (last * (pair.linear.T @ aligned.T)).sum(0)[:, None]  # (k, 1): whether the aligned weights are v or −v
    return {pair.first: torch.where(seen == 0, own, aligned * seen.sign()), pair.last: last}


def _pair(probe: Probe) -> Pair:
    """Run the samples once and fit the targets."""
    if len(probe.weights) < 2:
        refuse("model", list(probe.weights), "a network with two masked layers")
    first, last = list(probe.weights)[-2:]
    seen = probe.layers(probe.x)
    u, z = seen.received[first], seen.given[first]
    if u.ndim != 2 or z.shape != seen.received[last].shape:
        refuse("model", f"{first}, {last}", "a linear layer, an activation and a linear layer")
    if len(u) <= u.shape[1] + 1:
        refuse("batch", f"{len(u)} samples", f"of more than {u.shape[1] + 1}, the coefficients of the linear fit")
    targets, u = probe.targets(seen.outputs), u - u.mean(0)
    linear = fit(u, targets)
    return Pair(first, last, u, z, linear, targets - u @ linear)


def _even_part(z: Tensor, rest: Tensor, mask: Tensor) -> Tensor:
    """(o, k): the coefficients of |z| in a least-squares fit of the rest; on disjoint inputs, covariance by variance.

    mask: (o, k) bool; an output is fitted by the neurons that it reads.
    """
    size = z.abs() - z.abs().mean(0)
    found = torch.zeros(mask.shape, dtype=z.dtype, device=z.device)
    for row, target, own in zip(found, rest.T, mask, strict=True):
        row[own] = fit(size[:, own], target[:, None])[:, 0]
    return found


def fit(features: Tensor, targets: Tensor) -> Tensor:
    """(d, o) least-squares coefficients of the least norm, of features (n, d) and targets (n, o).

    By singular values, on the CPU: the default of torch.linalg.lstsq gives other coefficients from call to call where
    a feature is 0 on all samples, as that of a dead neuron.
    """
    found: Tensor = torch.linalg.lstsq(features.double().cpu(), targets.double().cpu(), driver="gelsd").solution
    return found.to(features)
