"""Signs of any network from a little training or from trials: gradients, a short probe, swaps of two signs."""

import torch
from torch import Tensor

from sparse_training.probing import SHRINK, train_briefly
from sparse_training.seeding import generator
from sparse_training.sign_init.base import SIGN_INITS, Probe, Signs

ROUNDS = 8  # gradients that turn signs
TURNED = 0.05  # share of the active weights that a gradient may turn
SWAP_BATCH, SWAPS = 64, 70


@SIGN_INITS.register("gradient")
def gradient(probe: Probe) -> Signs:
    """In each of a few rounds, turn the weights whose turning promises most: the largest θ·∂loss/∂θ > 0.

    To first order turning θ changes the loss by −2θ ∂loss/∂θ. Each round sees a part of the samples of its own.
    """
    for x, y in zip(probe.x.chunk(ROUNDS), probe.y.chunk(ROUNDS), strict=True):
        slopes = probe.gradient(x, y)
        promise = torch.cat([(probe.weights[n] * slopes[n])[probe.masks[n]].detach() for n in probe.weights])
        least = promise.topk(max(1, round(TURNED * len(promise)))).values[-1].clamp(min=0)
        with torch.no_grad():
            for name, weight in probe.weights.items():
                turned = (weight * slopes[name] >= least) & (weight * slopes[name] > 0) & probe.masks[name]
                weight.copy_(torch.where(turned, -weight, weight))
    return probe.signs()


@SIGN_INITS.register("probe")
def probe_sparse(probe: Probe) -> Signs:
    """The signs after training the masked network from small weights with Adam, three times over the samples."""
    return _trained(probe, dense=False)


@SIGN_INITS.register("dense-probe")
def probe_dense(probe: Probe) -> Signs:
    """The same without the masks: the inactive weights of the probe are drawn like the active ones of their layer."""
    return _trained(probe, dense=True)


def _trained(probe: Probe, dense: bool) -> Signs:
    stream = generator(probe.seed, "sign_init", "probe")
    with torch.no_grad():
        for name, weight in probe.weights.items():
            active = probe.masks[name]
            scale = weight[active].square().mean().sqrt() if active.any() else 0.0
            drawn = torch.randn(weight.shape, generator=stream, dtype=weight.dtype).to(weight.device) * scale
            weight.copy_(SHRINK * torch.where(active, weight, drawn if dense else 0.0))

    def gradient(part: Tensor) -> Signs:
        part = part.to(probe.x.device)
        slopes = probe.gradient(probe.x[part], probe.y[part])
        return slopes if dense else {name: slope * probe.masks[name] for name, slope in slopes.items()}

    train_briefly(probe.weights, gradient, len(probe.x), stream)
    return probe.signs()


@SIGN_INITS.register("swaps")
def swaps(probe: Probe) -> Signs:
    """Try to exchange unlike signs of two weights of a layer, chosen at random; keep what lowers the loss on a batch.

    Swaps keep how many weights of a layer are positive. Each trial costs two forward passes of a batch of its own.
    """
    stream = generator(probe.seed, "sign_init", "swaps")
    names = list(probe.weights)
    for _ in range(SWAPS):
        name = names[int(torch.randint(len(names), (1,), generator=stream))]
        weight = probe.weights[name].detach()
        groups = [((weight * sign > 0) & probe.masks[name]).nonzero() for sign in (1, -1)]
        if not all(len(group) for group in groups):
            continue
        pair = [tuple(g[int(torch.randint(len(g), (1,), generator=stream))].tolist()) for g in groups]
        part = torch.randint(len(probe.x), (min(SWAP_BATCH, len(probe.x)),), generator=stream).to(probe.x.device)
        before = _loss(probe, part)
        for index in pair:
            weight[index] *= -1
        if not _loss(probe, part) < before:
            for index in pair:
                weight[index] *= -1
    return probe.signs()


@torch.no_grad()
def _loss(probe: Probe, part: Tensor) -> float:
    return float(probe.loss(probe.forward(probe.x[part]), probe.y[part]))
