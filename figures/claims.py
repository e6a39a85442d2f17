"""The paper's claims, what each experiment says of them, and which experiment decided.

Experiments are rungs of a ladder, from the single neuron to real images; the smallest that decides a claim is named.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from commons.statistics import paired_interval, seeds_needed
from commons.verdicts import Verdict, gains

LADDER = ("single neuron", "neurons", "three-layer", "digits-hard", "digits, mlp", "digits, cnn")

IN_WORDS = "in words, without a number"  # how a claim was published

LOSES = "sparse training from scratch loses to dense training"
RECOVERS = "learned mask and signs recover the baseline"
MAGNITUDES = "learned mask and magnitudes, random signs, do not"
EARLY = "early signs suffice"
SIGNS = "learned signs beat random ones under the learned mask"
GAIN = "Sign-In (β = 1) trains better than plain weights under the same mask"
LAYERED = "Sign-In with β_a > β_w trains better than plain weights (β_a is the paper's β₁)"
GEOMETRY = "Sign-In with β_a > β_w trains better than plain layers that have its speeds"
UNIFORM = "uniform β = 1 does in practice what β_a > β_w does, which gains nothing over it"
RESET = "the reset adds to the gain"
TURNS = "Sign-In with β_a > β_w corrects output signs that start wrong (a < 0 < w)"
MORE = "Sign-In flips more signs"
OUTPUT = "Sign-In flips most near the output (last layer against the mean of all others)"
AHEAD = "the output is further ahead with Sign-In than with plain training"
FLATTER = "Sign-In ends flatter (largest Hessian eigenvalue)"
INITIALIZED = "with better signs at the start sparse training matches dense training"
LISTED = (
    *(LOSES, RECOVERS, MAGNITUDES, SIGNS, GAIN, LAYERED, GEOMETRY, UNIFORM, RESET, TURNS, MORE, OUTPUT, AHEAD),
    *(FLATTER, INITIALIZED),
)
"""The claims that were listed, before anything was run, as decidable on the rungs neurons and three-layer."""


@dataclass(frozen=True)
class Answer:
    """What one rung says of a claim.

    rung: one of `LADDER`, or another experiment.   measured: the numbers, in words.   needed: the seeds with which this
    rung would resolve the published effect four times in five; None where that is not known.
    """

    rung: str
    measured: str
    verdict: Verdict
    needed: int | None = None

    @property
    def decides(self) -> bool:
        """Whether the claim holds or fails here."""
        return self.verdict in (Verdict.AGREES, Verdict.DISAGREES)


@dataclass(frozen=True)
class Finding:
    """A claim, what was published for it, and the answer of each rung on which it was tested."""

    claim: str
    published: str
    answers: tuple[Answer, ...] = ()

    @property
    def deciding(self) -> Answer:
        """The answer of the smallest rung that decides the claim, or else that of the largest that tested it."""
        order = sorted(self.answers, key=lambda each: LADDER.index(each.rung) if each.rung in LADDER else len(LADDER))
        tested = [each for each in order if each.verdict is not Verdict.NOT_TESTED] or order
        untested = Answer("–", "–", Verdict.NOT_TESTED)
        return next((each for each in tested if each.decides), tested[-1] if tested else untested)

    @property
    def verdict(self) -> Verdict:
        """The verdict of the deciding rung."""
        return self.deciding.verdict

    def row(self) -> dict[str, str]:
        """The finding as a line of the table of claims."""
        chosen = self.deciding
        others = [f"{each.rung}: {each.verdict}" for each in self.answers if each is not chosen]
        unresolved = [each for each in self.answers if each.needed and each.verdict is Verdict.NOT_RESOLVED]
        missing = ", ".join(f"{each.needed} ({each.rung})" for each in unresolved)
        return {
            "claim": self.claim,
            "published": self.published,
            "verdict": str(chosen.verdict),
            "rung": chosen.rung,
            "measured": chosen.measured,
            "seeds to resolve it": missing if missing and not chosen.decides else "–",
            "elsewhere": "; ".join(others) or "–",
        }


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """One finding a claim, in the order of their first mention, with the answer of all."""
    found: dict[str, Finding] = {}
    for each in findings:
        known = found.get(each.claim, replace(each, answers=()))
        published = known.published if known.published != "–" else each.published
        found[each.claim] = Finding(each.claim, published, (*known.answers, *each.answers))
    return list(found.values())


def gain_of(
    rung: str, better: Sequence[float], than: Sequence[float], unit: str, effect: float, digits: int = 2
) -> Answer:
    """Whether the first values exceed the second, seed by seed, by a gain that matters; effect: the smallest such."""
    pairs = min(len(better), len(than))
    first, second = np.asarray(better[:pairs]), np.asarray(than[:pairs])
    difference = paired_interval(first, second)
    return Answer(rung, difference.signed(unit, digits), gains(difference, effect), needed(first - second, effect / 2))


def needed(differences: ArrayLike, effect: float | None = None) -> int | None:
    """Seeds that resolve the effect, or the mean difference itself, four times in five."""
    values = np.asarray(differences, dtype=np.float64)
    size = abs(float(values.mean())) if effect is None else effect
    return seeds_needed(float(values.std(ddof=1)), size) if len(values) > 1 and size > 0 else None
