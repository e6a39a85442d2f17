"""When and how much: densities, drop fractions and phases as functions of the share of training that is done.

They are functions of steps and shares alone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache


def cubic_density(done: float, final: float, begin: float, end: float) -> float:
    """Density at the share `done` of training: 1 until begin, final from end, between them cubic in the sparsity.

    s(t) = s_f − s_f (1 − (t − t₀)/(t₁ − t₀))³ (Zhu & Gupta 2017, eq. 1, from initial sparsity 0).
    """
    left = 1 - min(max((done - begin) / (end - begin), 0.0), 1.0)
    return final + (1 - final) * left**3


def cosine_drop(done: float, fraction: float, end: float) -> float:
    """Share of the active weights to replace: fraction/2 · (1 + cos(π done/end)), 0 from end on (Evci 2020, eq. 1)."""
    return fraction / 2 * (1 + math.cos(math.pi * done / end)) if done < end else 0.0


@dataclass(frozen=True)
class Phase:
    """A stretch of training, steps [begin, end), with a dense or a sparse support."""

    begin: int
    end: int
    dense: bool


@lru_cache(maxsize=8)
def alternating(steps: int, warm_up: float, length: float, final: float) -> tuple[Phase, ...]:
    """Dense warm-up, then sparse and dense phases in turn, then a final sparse phase; all in shares of `steps`.

    The phase before the final one is always dense; where the turn would make it sparse, it joins the dense one
    before it, which so lasts twice as long, as in Peste et al. 2021 (ImageNet: the last dense phase, 10 epochs of 100).
    The last step is sparse however few there are.
    """
    turns = max(1, round((1 - final - warm_up) / length))
    bounds = [warm_up + i * (1 - final - warm_up) / turns for i in range(turns + 1)]
    dense = [True, *(turn % 2 == 1 or turn == turns - 1 for turn in range(turns)), False]
    ends = [*(min(round(share * steps), steps - 1) for share in bounds), steps]
    return tuple(_merged(zip([0, *ends[:-1]], ends, dense, strict=True)))


def _merged(parts: Iterator[tuple[int, int, bool]]) -> Iterator[Phase]:
    """Neighbours of the same kind as one phase; empty ones left out."""
    current: Phase | None = None
    for begin, end, dense in parts:
        if begin == end:
            continue
        if current is not None and current.dense == dense:
            current = Phase(current.begin, end, dense)
            continue
        if current is not None:
            yield current
        current = Phase(begin, end, dense)
    if current is not None:
        yield current


def levels(density: float, share: float) -> list[float]:
    """Densities of the levels of iterative pruning, 1 first: each removes `share` of what is left, the last ends exact.

    Frankle & Carbin 2019: 20 % a level, so density 0.1 takes 11 levels after the dense one, the last one shorter.
    """
    found = [1.0]
    while found[-1] * (1 - share) > density * (1 + 1e-9):
        found.append(found[-1] * (1 - share))
    return [*found, density] if density < 1 else found
