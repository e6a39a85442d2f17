"""What the problems neurons and three-layer say of the paper's claims: answers from their files, seed by seed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from commons.files import read_json, unreadable
from commons.statistics import paired_interval, paired_p_value
from commons.verdicts import above, below, opposite, recovers
from figures import claims
from figures.claims import Answer, Finding, gain_of, needed
from figures.published import RANDOM_MASK, sign_alignment

Values = list[float]
UNIT = "% of relative loss"
TURNED = "right from a− w+"
PLAIN, UNIFORM, TRUE, RANDOM = "plain", "Sign-In β = 1", "true signs", "right magnitudes, random signs"


@dataclass(frozen=True)
class Rung:
    """What a problem calls the arms that the claims speak of, and how many weights each share of flips counts.

    effect: the smallest gain of interest, as a share of the loss of the answer 0.   layered, unreset: Sign-In with
    β_a > β_w, with and without resets.   found: the best sign initialization.   flips: weights by the name of the
    measure, from input to output.   dense: whether a dense arm is there; the true signs stand for it otherwise.
    """

    name: str
    effect: float
    layered: str
    found: str
    flips: Mapping[str, int]
    unreset: str = ""
    dense: bool = False

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that the claims need."""
        named = (PLAIN, UNIFORM, self.layered, self.unreset, TRUE, RANDOM, self.found, "dense" if self.dense else "")
        return tuple(name for name in named if name)


RUNGS = (
    Rung(
        "neurons",
        0.025,
        layered="Sign-In (β_a, β_w) = (1, .25)",
        unreset="Sign-In (1, .25), no reset",
        found="sign_init even-both",
        flips={"input flips": 32, "output flips": 8},
        dense=True,
    ),
    Rung(
        "three-layer",
        0.05,
        layered="Sign-In β = (.25, .5, 1)",
        found="sign_init bottom-up",
        flips={"flips, layer 1": 64, "flips, layer 2": 32, "flips, layer 3": 8},
    ),
)


class Arms:
    """The arms of a problem's file problem-NAME.json: their numbers by seed, the first seeds where an arm has fewer.

    Raises:
        InputError: the file is none of a problem's.
    """

    def __init__(self, path: Path) -> None:
        content = read_json(path)
        if not isinstance(content.get("arms"), list) or "quantity" not in content:
            unreadable(path, "it holds no arms")
        self._arms: dict[str, Any] = {arm["arm"]: arm for arm in content["arms"]}
        self._quantity = content["quantity"]

    def values(self, arm: str) -> Values:
        """What the problem judges an arm by, relative loss or test error, in percent."""
        return [100 * value for value in self._arms[arm][self._quantity]]

    def measure(self, arm: str, name: str) -> Values:
        """A measure; nan where it does not apply."""
        return [math.nan if value is None else value for value in self._arms[arm]["measures"][name]]


def bench_findings(folder: Path) -> list[Finding]:
    """The answers of both rungs, from the files that `problem` writes into a folder."""
    return [finding for rung in RUNGS for finding in _of_rung(rung, Arms(folder / f"problem-{rung.name}.json"))]


def _of_rung(rung: Rung, arms: Arms) -> list[Finding]:
    before, after = (RANDOM_MASK.value(f"CIFAR-10, ResNet-20, {arm}", "90 %") for arm in ("random", "random + Sign-In"))

    def gain(better: str, than: str) -> Answer:
        return gain_of(rung.name, arms.values(than), arms.values(better), UNIT, 100 * rung.effect)

    base = "dense" if rung.dense else TRUE
    found = [
        Finding(claims.MAGNITUDES, sign_alignment("final magnitudes + learned mask"), (_fails(rung, arms, base),)),
        Finding(
            claims.SIGNS,
            sign_alignment("final signs + learned mask", "random init + learned mask"),
            (gain(TRUE, PLAIN),),
        ),
        Finding(claims.GAIN, f"CIFAR-10, ResNet-20: {before} → {after}", (gain(UNIFORM, PLAIN),)),
        Finding(claims.LAYERED, "Theorem 5.2", (gain(rung.layered, PLAIN),)),
        Finding(claims.GEOMETRY, "–", (gain(rung.layered, f"layer rates at the speeds of {rung.layered}"),)),
        Finding(claims.UNIFORM, claims.IN_WORDS, (_opposed(gain(rung.layered, UNIFORM)),)),
        *_flip_findings(rung, arms),
        Finding(claims.INITIALIZED, "as a hope, in words", (_recovered(rung, arms, rung.found, base),)),
    ]
    if rung.dense:
        recovered = (_recovered(rung, arms, TRUE, base),)
        found.append(Finding(claims.LOSES, "–", (gain("dense", PLAIN),)))
        found.append(Finding(claims.RECOVERS, sign_alignment("final signs + learned mask"), recovered))
    if rung.unreset:
        turned, plain = (arms.measure(arm, TURNED) for arm in (rung.layered, PLAIN))
        found += [
            Finding(claims.RESET, claims.IN_WORDS, (gain(rung.layered, rung.unreset),)),
            Finding(claims.TURNS, "Theorem 5.2", (_more(rung, turned, plain, "output weights a network"),)),
            Finding(claims.FLATTER, claims.IN_WORDS, (_flatter(rung, arms),)),
        ]
    return found


def _recovered(rung: Rung, arms: Arms, arm: str, base: str) -> Answer:
    """Whether an arm does as well as another one, within the smallest effect of interest."""
    own, other = _pairs(arms.values(base), arms.values(arm))
    difference, margin = paired_interval(own, other), 100 * rung.effect
    verdict = recovers(difference, paired_p_value(own, other), margin)
    text = f"{difference.signed(UNIT)}, against {base}"
    return Answer(rung.name, text, verdict, needed(own - other, margin))


def _fails(rung: Rung, arms: Arms, base: str) -> Answer:
    return _opposed(_recovered(rung, arms, RANDOM, base))


def _opposed(found: Answer) -> Answer:
    """The answer to the opposite claim, by the same numbers."""
    return replace(found, verdict=opposite(found.verdict))


def _flip_findings(rung: Rung, arms: Arms) -> list[Finding]:
    """More flips in all, most near the output, and there further ahead than in plain training; in % of weights."""
    shares = {arm: [np.array(arms.measure(arm, name)) * 100 for name in rung.flips] for arm in (UNIFORM, PLAIN)}
    total = {arm: np.average(own, axis=0, weights=list(rung.flips.values())) for arm, own in shares.items()}
    ahead = {arm: own[-1] - np.mean(own[:-1], axis=0) for arm, own in shares.items()}
    zero = np.zeros_like(ahead[UNIFORM])
    return [
        Finding(claims.MORE, claims.IN_WORDS, (_more(rung, total[UNIFORM], total[PLAIN], "% of weights"),)),
        Finding(claims.OUTPUT, claims.IN_WORDS, (_more(rung, ahead[UNIFORM], zero, "% of weights"),)),
        Finding(claims.AHEAD, claims.IN_WORDS, (_more(rung, ahead[UNIFORM], ahead[PLAIN], "% of weights"),)),
    ]


def _more(rung: Rung, first: ArrayLike, second: ArrayLike, unit: str) -> Answer:
    own, other = _pairs(first, second)
    difference = paired_interval(own, other)
    return Answer(rung.name, difference.signed(unit), above(difference), needed(own - other))


def _flatter(rung: Rung, arms: Arms) -> Answer:
    own, other = _pairs(arms.measure(UNIFORM, "λ_max"), arms.measure(PLAIN, "λ_max"))
    difference = paired_interval(own, other)
    return Answer(rung.name, difference.signed("in λ_max", 3), below(difference), needed(own - other))


def _pairs(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both on the seeds that have both."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    count = min(len(a), len(b))
    a, b = a[:count], b[:count]
    known = np.isfinite(a) & np.isfinite(b)
    return a[known], b[known]
