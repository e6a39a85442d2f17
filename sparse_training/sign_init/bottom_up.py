"""Signs of a chain of linear layers with ReLU between, layer by layer from the input: features fitted to the targets.

The layers above are replaced by a linear fit, so that a network is a sum over the features of one layer. Each neuron in
turn takes the signs under which its feature explains most of what the other features leave, and its coefficient there
is its share in what the others then see (backfitting, Friedman & Stuetzle 1981).
"""

import torch
from torch import Tensor

from commons.checks import refuse
from sparse_training.sign_init.base import SIGN_INITS, Probe, Signs
from sparse_training.sign_init.even import fit

SWEEPS = 2


@SIGN_INITS.register("bottom-up")
def bottom_up(probe: Probe) -> Signs:
    """Signs of every layer; each sweep over a layer counts as one forward pass of the samples for each flip it tries.

    The first layer is fitted beside the inputs themselves, so that its features are |w·x|, and turned to agree with
    the linear fit afterwards; deeper ones are fitted by relu(w·h). The last layer takes the signs of a linear fit.
    """
    names = list(probe.weights)
    for index, name in enumerate(names):
        seen = probe.layers(probe.x)
        h, targets = seen.received[name], probe.targets(seen.outputs)
        if h.ndim != 2:
            refuse("model", name, "a chain of linear layers with ReLU between")
        weight = probe.weights[name].detach()
        if name == names[-1]:
            weight.copy_(torch.copysign(weight, fit(h - h.mean(0), targets).T) * probe.masks[name])
            continue
        if not torch.equal(seen.received[names[index + 1]], seen.given[name].relu()):
            refuse("model", f"{name}, {names[index + 1]}", "a chain of linear layers with ReLU between")
        bias = seen.given[name] - h @ weight.T
        if index:
            _backfit(probe, weight, probe.masks[name], h, bias, targets, even=False)
        else:
            u = h - h.mean(0)
            linear = fit(u, targets)
            share = _backfit(probe, weight, probe.masks[name], h, bias, targets - u @ linear, even=True)
            _turn(weight, share, linear)
    return probe.signs()


def _backfit(
    probe: Probe, weight: Tensor, mask: Tensor, h: Tensor, bias: Tensor, targets: Tensor, even: bool
) -> Tensor:
    """Set the signs of a weight (k, d), in place; returns the coefficients (k, o) of its features.

    h: (n, d) inputs.   bias: (n, k), what the layer adds.   targets: (n, o), centred.
    """
    share = torch.zeros(len(weight), targets.shape[1], dtype=weight.dtype, device=weight.device)
    rest = targets.clone()
    for sweep in range(SWEEPS):
        for k, reads in enumerate(mask):
            inputs = h[:, reads] * weight[k, reads]  # (n, f), the neuron's sum by its terms
            z = inputs.sum(1) + bias[:, k]
            target = rest + _feature(z[:, None], even) * share[k]
            for _ in range(inputs.shape[1] if sweep == 0 else 1):
                trials = _feature(torch.cat([z[:, None], z[:, None] - 2 * inputs], 1), even)
                gain = (trials.T @ target).square().sum(1) / trials.square().sum(0).clamp(min=1e-12)
                best = int(gain.argmax())
                if best == 0:
                    break
                z, inputs[:, best - 1] = z - 2 * inputs[:, best - 1], -inputs[:, best - 1]
                weight[k, reads.nonzero()[best - 1]] *= -1
            feature = _feature(z[:, None], even)
            share[k] = (feature.T @ target)[0] / feature.square().sum().clamp(min=1e-12)
            rest = target - feature * share[k]
        probe.passes += len(h) * (int(mask.sum(1).max()) if sweep == 0 else 1)
    return share


def _feature(z: Tensor, even: bool) -> Tensor:
    """|z| or relu(z) by column, centred."""
    size = z.abs() if even else z.relu()
    return size - size.mean(0)


def _turn(weight: Tensor, share: Tensor, linear: Tensor) -> None:
    """Turn whole neurons, in place, until their odd parts, Σᵢ wᵢ shareᵢᵀ, come closest to the linear fit (d, o)."""
    odd = weight[:, :, None] * share[:, None, :]  # (k, d, o)
    total = odd.sum(0)
    for _ in range(10):
        before = total.clone()
        for k in range(len(weight)):
            without = total - odd[k]
            if (odd[k] * (linear - without)).sum() < 0:
                odd[k], weight[k] = -odd[k], -weight[k]
            total = without + odd[k]
        if torch.equal(total, before):
            break
