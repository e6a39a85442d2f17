"""The paper's claims held against measurements: a verdict is computed from an interval, never written by hand.

It measures nothing: it reads the rows that experiments left.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from commons.statistics import Interval, wilson


class Verdict(StrEnum):
    AGREES = "agrees"
    DISAGREES = "disagrees"
    NOT_RESOLVED = "not resolved"  # the interval allows both
    NOT_TESTED = "not tested at this size"


@dataclass(frozen=True)
class Finding:
    """A claim, what was published for it, what was measured here, and the verdict between them."""

    claim: str
    published: str
    measured: str
    verdict: Verdict

    def row(self) -> dict[str, str]:
        return {key: str(value) for key, value in asdict(self).items()}


def above(interval: Interval, bound: float = 0.0) -> Verdict:
    """Does the measured quantity exceed bound? AGREES or DISAGREES only where the whole interval says so."""
    if interval.low > bound:
        return Verdict.AGREES
    return Verdict.DISAGREES if interval.high < bound else Verdict.NOT_RESOLVED


def below(interval: Interval, bound: float = 0.0) -> Verdict:
    """Does the measured quantity stay under bound?"""
    return above(Interval(-interval.mean, -interval.high, -interval.low, interval.n), -bound)


def every(successes: int, trials: int) -> tuple[str, Verdict]:
    """A claim about all starts: a single exception disagrees. Also the share with its Wilson interval, as text."""
    if not trials:
        return "no starts", Verdict.NOT_TESTED
    low, high = wilson(successes, trials)
    text = f"{successes} of {trials} (95 % interval {float(low):.3f} to {float(high):.3f})"
    return text, Verdict.AGREES if successes == trials else Verdict.DISAGREES


def difference(interval: Interval, unit: str) -> str:
    """A paired difference as text: `+1.20 ± 0.40 points (n=5)`."""
    half = (interval.high - interval.low) / 2
    return f"{interval.mean:+.2f} ± {half:.2f} {unit} (n={interval.n})"


def by_seed(rows: Iterable[Mapping[str, Any]], column: str, **where: str) -> list[float]:
    """The column of the rows that match, in the order of their seeds; pairs rows of two arms one by one."""
    matching = [row for row in rows if all(row[key] == value for key, value in where.items())]
    return [float(row[column]) for row in sorted(matching, key=lambda row: int(row["seed"]))]


def untested(claims: Sequence[tuple[str, str]]) -> list[Finding]:
    """Claims that speak of models and data that this run did not touch."""
    return [Finding(claim, published, "–", Verdict.NOT_TESTED) for claim, published in claims]
