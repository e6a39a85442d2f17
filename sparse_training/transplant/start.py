"""Build the start of a sparse run from a mask, signs and magnitudes of chosen origin: θ = mask ⊙ sign ⊙ |magnitude|.

A weight of the mask whose sign or magnitude is zero is not dropped: what it lacks is drawn anew.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from commons.checks import refuse
from sparse_training.masks import Masks
from sparse_training.seeding import generator
from sparse_training.transplant.cell import Cell

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Source:
    """What a run offers to a transplant; all tensors on the CPU, prunable weights by parameter name.

    init, final: state dicts of the merged network before and after training. masks: the final masks.
    signs: epoch -> signs at that epoch, by layer, 0 where a weight was off the mask or at zero; None where only the two
    ends are known.
    """

    init: Weights
    final: Weights
    masks: Masks
    signs: Callable[[int], Weights] | None = None


@dataclass(frozen=True)
class Start:
    """A start of a sparse run.

    state: state dict of the plain network, exactly 0 off the mask. masks: the support.
    redrawn_signs, redrawn_magnitudes: number of weights whose sign or magnitude the source did not have (at zero or
    off its mask), so that it was drawn anew.
    """

    state: dict[str, Tensor]
    masks: Masks
    redrawn_signs: int
    redrawn_magnitudes: int


def build_start(
    cell: Cell,
    source: Source,
    fresh: Weights,
    seed: int,
    *,
    masks: Masks | None = None,
    other: Weights | None = None,
) -> Start:
    """Build the start that `cell` asks for; the source is left as it is.

    fresh: state dict of the same network, initialized anew; random signs and magnitudes are its own, and so are those
    that the source lacks. seed: of the permutations and perturbations. masks: those of a cell whose mask is a score.
    other: final weights of the other run, for signs of `run:PATH`.

    Raises:
        InputError: fresh or other does not have the source's layers and shapes, or masks or other is missing.
    """
    support = _support(cell, source.masks, masks, seed)
    for name, mask in source.masks.items():
        for argument, weights in (("fresh", fresh), ("other", other or {}), ("masks", support)):
            if weights and (name not in weights or weights[name].shape != mask.shape):
                refuse(f"{argument}[{name}]", "absent or of another shape", f"of shape {tuple(mask.shape)}")
    signs, magnitudes = _signs(cell, source, fresh, seed, other), _magnitudes(cell, source, fresh)
    state = {name: value.clone() for name, value in (source.final if cell.rest == "learned" else fresh).items()}
    redrawn = {"sign": 0, "magnitude": 0}
    for name, mask in support.items():
        drawn = fresh[name]
        sign, magnitude = torch.sign(signs[name]).to(drawn.dtype), magnitudes[name].abs()
        redrawn["sign"] += int(((sign == 0) & mask).sum())
        redrawn["magnitude"] += int(((magnitude == 0) & mask).sum())
        sign = torch.where(sign == 0, torch.sign(drawn), sign)
        magnitude = torch.where(magnitude == 0, drawn.abs(), magnitude)
        state[name] = torch.where(mask, sign * magnitude, 0.0)
    return Start(state, support, redrawn["sign"], redrawn["magnitude"])


def _support(cell: Cell, learned: Masks, scored: Masks | None, seed: int) -> Masks:
    if cell.mask == "learned":
        return learned
    if cell.mask == "shuffled":
        return Masks({name: _permuted(mask, generator(seed, "shuffled", name)) for name, mask in learned.items()})
    if scored is None:
        refuse("masks", None, f"the masks of score {cell.mask}")
    return scored


def _signs(cell: Cell, source: Source, fresh: Weights, seed: int, other: Weights | None) -> Weights:
    if cell.early_epoch is not None:
        if source.signs is None:
            refuse("signs", cell.signs, "init, final or random, as the source has no signs between its ends")
        return source.signs(cell.early_epoch)
    kind, _, argument = cell.signs.partition(":")
    if kind == "perturbed":
        turned = {}
        for name in source.masks:
            draw = torch.rand(source.final[name].shape, generator=generator(seed, "perturbed", name))
            turned[name] = torch.where(draw < float(argument), -1, 1) * source.final[name]
        return turned
    if kind == "run":
        if other is None:
            refuse("other", None, f"the final weights of {argument}")
        return other
    return {"init": source.init, "final": source.final, "random": fresh}[kind]


def _magnitudes(cell: Cell, source: Source, fresh: Weights) -> Weights:
    if cell.magnitudes == "constant":
        return {name: torch.full_like(source.init[name], _rms(source.init[name])) for name in source.masks}
    return {"init": source.init, "learned": source.final, "random": fresh}[cell.magnitudes]


def _rms(weights: Tensor) -> float:
    """Root mean square over the weights that were active at the start."""
    active = weights[weights != 0].double()
    return float(active.square().mean().sqrt()) if active.numel() else 0.0


def _permuted(mask: Tensor, rng: torch.Generator) -> Tensor:
    return mask.flatten()[torch.randperm(mask.numel(), generator=rng)].view_as(mask)
