"""One vocabulary for what measurements say of a claim: a verdict is computed from numbers, never written by hand."""

from enum import StrEnum

from commons.statistics import Interval


class Verdict(StrEnum):
    """What the numbers say of a claim. NOT_RESOLVED is not a failure: the numbers allow both answers."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    NOT_RESOLVED = "not resolved"
    NOT_TESTED = "not tested"


OPPOSITE = {Verdict.AGREES: Verdict.DISAGREES, Verdict.DISAGREES: Verdict.AGREES}


def opposite(verdict: Verdict) -> Verdict:
    """The verdict on the opposite claim."""
    return OPPOSITE.get(verdict, verdict)


def above(interval: Interval, bound: float = 0.0) -> Verdict:
    """Does the measured quantity exceed bound? AGREES or DISAGREES only where the whole interval says so."""
    if interval.low > bound:
        return Verdict.AGREES
    return Verdict.DISAGREES if interval.high < bound else Verdict.NOT_RESOLVED


def below(interval: Interval, bound: float = 0.0) -> Verdict:
    """Does the measured quantity stay under bound?"""
    return above(Interval(-interval.mean, -interval.high, -interval.low, interval.n), -bound)


def gains(difference: Interval, effect: float) -> Verdict:
    """Is there a gain that matters? effect: the smallest gain of interest, above 0.

    AGREES where the whole interval lies nearer to it than to no gain, DISAGREES where it lies nearer to no gain.
    """
    return above(difference, effect / 2)


def better(mean_difference: float, p: float, level: float = 0.05) -> Verdict:
    """Is a paired difference positive? p is its p-value, already adjusted for the number of comparisons.

    AGREES and DISAGREES need p < level.
    """
    if not p < level:
        return Verdict.NOT_RESOLVED
    return Verdict.AGREES if mean_difference > 0 else Verdict.DISAGREES


def recovers(difference: Interval, p: float, margin: float) -> Verdict:
    """Does a start recover its baseline? difference: of start − baseline, in points; p: adjusted p-value of it.

    AGREES: the whole interval lies above −margin. DISAGREES: the start is significantly below the baseline, and not
    within the margin.
    """
    if difference.low > -margin:
        return Verdict.AGREES
    return Verdict.DISAGREES if better(difference.mean, p) is Verdict.DISAGREES else Verdict.NOT_RESOLVED


def every(successes: int, trials: int) -> Verdict:
    """A claim about all cases, counted exactly: a single exception disagrees; without a case nothing is tested."""
    if not trials:
        return Verdict.NOT_TESTED
    return Verdict.AGREES if successes == trials else Verdict.DISAGREES
