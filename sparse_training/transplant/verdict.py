"""What accuracies say: means with intervals, paired differences with a correction, and the paper's three statements.

It reads numbers and trains nothing; no verdict is written by hand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from commons.checks import refuse
from commons.statistics import Interval, holm, mean_interval, paired_interval, paired_p_value

BASELINE = "baseline"


class Outcome(StrEnum):
    """RECOVERS: the interval of the difference lies above −margin. FALLS_SHORT: significantly below the baseline
    after correction (adjusted p < 0.05), and not RECOVERS. UNDECIDED: the seeds allow both."""

    RECOVERS = "recovers"
    FALLS_SHORT = "falls short"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Comparison:
    """One start against the baseline of its source method, seed by seed.

    accuracy: mean and 95 % interval, in percent. difference: of start − baseline on the same seeds, in points; None
    for the baseline. p: two-sided paired t test, adjusted by Holm over the starts of this source.
    """

    source: str
    start: str
    accuracy: Interval
    difference: Interval | None = None
    p: float | None = None
    outcome: Outcome | None = None


def compare_starts(accuracies: Mapping[str, Mapping[int, float]], source: str, margin: float) -> list[Comparison]:
    """Comparisons of each start with the baseline, in the order given.

    accuracies: by start and seed, in percent; must hold `baseline`. margin: points below the baseline that still
    count as recovered.

    Raises:
        InputError: no baseline, or a start that shares no seed with it.
    """
    if BASELINE not in accuracies:
        refuse("accuracies", list(accuracies), "with a baseline")
    base = accuracies[BASELINE]
    found = [Comparison(source, BASELINE, mean_interval(list(base.values())))]
    starts = [start for start in accuracies if start != BASELINE]
    pairs = {}
    for start in starts:
        seeds = sorted(set(base) & set(accuracies[start]))
        if not seeds:
            refuse("seeds", sorted(accuracies[start]), f"shared with the baseline's {sorted(base)}")
        pairs[start] = ([accuracies[start][seed] for seed in seeds], [base[seed] for seed in seeds])
    adjusted = holm([paired_p_value(*pair) for pair in pairs.values()])
    for start, p in zip(starts, adjusted, strict=True):
        difference = paired_interval(*pairs[start])
        outcome = _outcome(difference, float(p), margin)
        mean = mean_interval(list(accuracies[start].values()))
        found.append(Comparison(source, start, mean, difference, float(p), outcome))
    return found


def _outcome(difference: Interval, p: float, margin: float) -> Outcome:
    if difference.low > -margin:
        return Outcome.RECOVERS
    return Outcome.FALLS_SHORT if p < 0.05 else Outcome.UNDECIDED  # a significant gain has recovered above


@dataclass(frozen=True)
class Statement:
    """One of the paper's statements for one source, and what the runs say of it: holds, fails or undecided."""

    source: str
    statement: str
    verdict: str


def statements(
    comparisons: Sequence[Comparison], *, signs: str, magnitudes: str, early: Mapping[int, str]
) -> list[Statement]:
    """The paper's three statements for the one source of the comparisons; a start that was not run is left out.

    signs, magnitudes: the starts with final signs and random magnitudes, and the other way round. early: epoch ->
    start with the signs of that epoch and random magnitudes.
    """
    outcomes = {comparison.start: comparison.outcome for comparison in comparisons}
    source, found = comparisons[0].source, []
    holds = {Outcome.RECOVERS: "holds", Outcome.FALLS_SHORT: "fails", Outcome.UNDECIDED: "undecided"}
    fails = {Outcome.RECOVERS: "fails", Outcome.FALLS_SHORT: "holds", Outcome.UNDECIDED: "undecided"}
    if (outcome := outcomes.get(signs)) is not None:
        found.append(Statement(source, "learned mask and signs recover the baseline", holds[outcome]))
    if (outcome := outcomes.get(magnitudes)) is not None:
        found.append(Statement(source, "learned mask and magnitudes, random signs, do not", fails[outcome]))
    known = {epoch: outcome for epoch, start in sorted(early.items()) if (outcome := outcomes.get(start))}
    if known:
        found.append(Statement(source, "early signs suffice", _from_epoch(known)))
    return found


def _from_epoch(outcomes: Mapping[int, Outcome]) -> str:
    """From the first epoch on whose signs, and those of every later epoch, recover the baseline."""
    suffices = None
    for epoch, outcome in sorted(outcomes.items(), reverse=True):
        if outcome is not Outcome.RECOVERS:
            break
        suffices = epoch
    if suffices is not None:
        return f"holds from epoch {suffices} on"
    return "fails" if set(outcomes.values()) == {Outcome.FALLS_SHORT} else "undecided"
