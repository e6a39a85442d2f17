"""How many weights each layer keeps, and which: integer counts by exact water-filling, then the best by rank.

The count over the network is exact and no seed changes it. Of weights with equal scores, those of lower index stay.
"""

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from math import isclose, prod

import torch
from torch import Tensor

from commons.checks import InputError, nearest, number, refuse
from commons.registry import Registry
from sparse_training.masks.value import Masks

Shape = tuple[int, ...]
Distribution = Callable[[Mapping[str, Tensor], float], Masks]


class EmptyLayer(UserWarning):
    """A layer has no active weight left; the message names it."""


def from_scores(scores: Mapping[str, Tensor], density: float, distribution: str = "global") -> Masks:
    """Keep the weights of highest score: round(density · N) of the N scored, exactly, ties to the lower index.

    scores: by parameter name, any floating dtype, no nan; -inf means last of all. density in (0, 1].
    distribution: a name in `DISTRIBUTIONS`, "package.module:callable", or "N:M" such as "2:4" (N of every M
    consecutive inputs of a unit, so density must be N/M; see README.md for inputs that M does not divide).
    At least one weight is kept. A layer that ends empty is named in an `EmptyLayer` warning.

    Raises:
        InputError: density outside (0, 1] or not N/M, unknown distribution, no scores or nan among them.
    """
    check_request(density, distribution)
    for name, score in scores.items():
        if bool(torch.isnan(score).any()):
            refuse(f"scores[{name!r}]", "nan", "a number for each weight")
    masks = select(scores, density, distribution)
    warn_of_empty_layers(masks)
    return masks


def usual_distribution(score: str) -> str:
    """The distribution that a score is usually used with: "erk" for random, which ranks nothing, else "global"."""
    return "erk" if score == "random" else "global"


def warn_of_empty_layers(masks: Masks) -> None:
    """Name the layers without an active weight in an `EmptyLayer` warning at the caller's caller."""
    empty = [layer.name for layer in masks.layers() if not layer.active]
    if empty:
        warnings.warn(f"no active weight is left in {', '.join(empty)}", EmptyLayer, stacklevel=3)


def check_request(density: float, distribution: str) -> None:
    """Raise InputError unless density is in (0, 1] and the distribution exists and can have it."""
    hint = f"did you mean {density / 100:g}?" if isinstance(density, int | float) and 1 < density <= 100 else ""
    number("density", density, above=0, at_most=1, hint=hint)
    check_distribution(distribution)
    pattern = n_of_m(distribution)
    if pattern is not None and not isclose(density, pattern[0] / pattern[1], rel_tol=1e-6):
        refuse("density", density, f"{pattern[0] / pattern[1]:g}, the density of {distribution}")


def check_distribution(distribution: str) -> None:
    """Raise InputError unless the text is N:M with numbers, the name of a distribution, or names one to import."""
    if n_of_m(distribution) is not None:
        return
    imported = re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", distribution) and distribution != "N:M"
    if not imported and distribution not in DISTRIBUTIONS:
        expected = f"one of {', '.join(DISTRIBUTIONS)}, package.module:callable, or N:M with numbers such as 2:4"
        refuse("distribution", distribution, expected, nearest(distribution.lower(), DISTRIBUTIONS))
    DISTRIBUTIONS.find("distribution", distribution)


def n_of_m(distribution: str) -> tuple[int, int] | None:
    """(N, M) of "N:M" with 0 < N <= M, or None for any other string."""
    match = re.fullmatch(r"(\d+):(\d+)", distribution)
    if match is None:
        return None
    n, m = int(match[1]), int(match[2])
    return (n, m) if 0 < n <= m else None


def select(scores: Mapping[str, Tensor], density: float, distribution: str) -> Masks:
    """`from_scores` without its checks and its warning."""
    pattern = n_of_m(distribution)
    if pattern is not None:
        return _n_of_m_masks(scores, *pattern)
    masks = DISTRIBUTIONS.find("distribution", distribution)(scores, density)
    if {name: tuple(mask.shape) for name, mask in masks.items()} != shapes_of(scores):
        raise InputError(f"distribution={distribution!r} does not return one mask of the shape of each score")
    return masks


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, Shape]:
    """The shape of each tensor, by name."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def global_ranking(scores: Mapping[str, Tensor], density: float) -> Masks:
    """The best round(density · N) of the N weights of the whole network, at least one."""
    flat = torch.cat([score.flatten() for score in scores.values()])
    kept = highest(flat, _number_active(scores, density))
    parts = torch.split(kept, [score.numel() for score in scores.values()])
    return Masks({name: part.view_as(scores[name]) for name, part in zip(scores, parts, strict=True)})


def by_layer(proportion: Callable[[Shape], float]) -> Distribution:
    """The distribution in which a layer keeps a number of weights proportional to `proportion(shape)`, and its best.

    A layer that this overfills becomes dense, and the others share the rest (`water_fill`).
    """

    def distribution(scores: Mapping[str, Tensor], density: float) -> Masks:
        shapes = shapes_of(scores).values()
        active = _number_active(scores, density)
        counts = water_fill([proportion(shape) for shape in shapes], [prod(shape) for shape in shapes], active)
        chosen = zip(scores.items(), counts, strict=True)
        return Masks({name: highest(score.flatten(), count).view_as(score) for (name, score), count in chosen})

    return distribution


def _number_active(scores: Mapping[str, Tensor], density: float) -> int:
    return max(1, round(density * sum(score.numel() for score in scores.values())))


DISTRIBUTIONS: Registry[Distribution] = Registry(
    "a function from scores and density to Masks",
    {
        "global": global_ranking,
        "uniform": by_layer(prod),  # the same density everywhere
        "erk": by_layer(sum),  # density ∝ Σ shape / Π shape (Evci et al. 2020, section 3)
        "balanced": by_layer(lambda shape: 1),  # the same number of weights everywhere (Gadhikar et al. 2023)
    },
    accept=lambda part: part if callable(part) else None,
)


def water_fill(weights: Sequence[float], sizes: Sequence[int], total: int) -> list[int]:
    """Integers c with sum `total` that round min(size, ε·weight), where ε solves Σ min(size, ε·weight) = total.

    A layer that ε·weight overfills becomes dense and ε is solved again for the others, until none is overfilled: the
    redistribution loop of ERK (Evci et al. 2020, appendix). Rational arithmetic, then largest remainders, ties by
    index. 0 <= total <= Σ sizes.
    """
    shares = [Fraction(0)] * len(sizes)
    exact = [Fraction(weight) for weight in weights]
    filling = {i for i, weight in enumerate(exact) if weight}
    left = total
    while filling:
        level = left / sum((exact[i] for i in filling), Fraction(0))
        full = {i for i in filling if level * exact[i] > sizes[i]}
        if not full:
            break
        filling -= full
        left -= sum(sizes[i] for i in full)
        for i in full:
            shares[i] = Fraction(sizes[i])
    for i in filling:
        shares[i] = level * exact[i]
    counts = [int(share) for share in shares]
    by_remainder = sorted(range(len(sizes)), key=lambda i: (counts[i] - shares[i], i))
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return counts


def highest(flat: Tensor, count: int) -> Tensor:
    """Boolean (n,): the `count` highest of the scores (n,), ties to the lower index; -inf ranks last."""
    n = flat.numel()
    if count in (0, n):
        return torch.full((n,), count == n, dtype=torch.bool, device=flat.device)
    # On CUDA kthvalue is refused where deterministic algorithms are asked for, although its value is exact.
    threshold = flat.sort().values[n - count] if flat.is_cuda else flat.kthvalue(n - count + 1).values
    keep = flat > threshold
    ties = (flat == threshold).nonzero().flatten()
    keep[ties[: count - int(keep.sum())]] = True
    return keep


def _n_of_m_masks(scores: Mapping[str, Tensor], n: int, m: int) -> Masks:
    """N of every M consecutive inputs of each unit; what M does not divide is ranked together, layer by layer."""
    rows = {name: _inputs_last(score) for name, score in scores.items()}  # (..., inputs)
    whole = {name: row.shape[-1] // m * m for name, row in rows.items()}
    tails = [row[..., whole[name] :].numel() for name, row in rows.items()]
    masks = {}
    for (name, row), count in zip(rows.items(), water_fill(tails, tails, round(sum(tails) * n / m)), strict=True):
        groups, tail = row[..., : whole[name]].reshape(*row.shape[:-1], -1, m), row[..., whole[name] :]
        order = groups.argsort(dim=-1, descending=True, stable=True)
        kept = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, order[..., :n], True).flatten(-2)
        rest = highest(tail.flatten(), count).view(tail.shape)
        mask = torch.cat((kept, rest), -1)
        masks[name] = (mask if mask.dim() < 2 else mask.movedim(-1, 1)).contiguous()
    return Masks(masks)


def _inputs_last(score: Tensor) -> Tensor:
    return score if score.dim() < 2 else score.movedim(1, -1)
