"""What accuracies say: means with intervals, paired differences with a correction, and the paper's statements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from commons.checks import refuse
from commons.statistics import Interval, holm, mean_interval, paired_interval, paired_p_value
from commons.verdicts import Verdict, above, opposite, recovers

BASELINE = "baseline"
Accuracies = Mapping[str, Mapping[int, float]]  # in percent, by start and seed


@dataclass(frozen=True)
class Comparison:
    """One start against the baseline of its source method, seed by seed.

    accuracy: mean and 95 % interval, in percent. difference: of start − baseline on the same seeds, in points; None
    for the baseline. p: two-sided paired t test, adjusted by Holm over the starts of this source. recovers: the verdict
    on "this start recovers the baseline". same_as: another start that is the same experiment, whose p and verdict
    these are; the two count once in the correction.
    """

    source: str
    start: str
    accuracy: Interval
    difference: Interval | None = None
    p: float | None = None
    recovers: Verdict | None = None
    same_as: str = ""


@dataclass(frozen=True)
class Statement:
    """One of the paper's statements for one source, the numbers that it is held against, and the verdict on it."""

    source: str
    statement: str
    measured: str
    verdict: Verdict


@dataclass(frozen=True)
class Roles:
    """Which starts the paper's statements speak of, by their labels; empty for a start that was not run.

    signs: final signs and random magnitudes. magnitudes: random signs and final magnitudes. random: both random.
    early: epoch -> start with the signs of that epoch and random magnitudes. All are under the learned mask.
    """

    signs: str
    magnitudes: str
    random: str
    early: Mapping[int, str]


def compare_starts(
    accuracies: Accuracies, source: str, margin: float, same_as: Mapping[str, str] | None = None
) -> list[Comparison]:
    """Compare each start with the baseline, in the order given.

    accuracies: must hold `baseline`. margin: points below the baseline that still count as recovered. same_as: start ->
    another start that is the same experiment, and is the same as no further one.

    Raises:
        InputError: there is no baseline, or a start shares no seed with it.
    """
    if BASELINE not in accuracies:
        refuse("accuracies", list(accuracies), "with a baseline")
    same = same_as or {}
    base = accuracies[BASELINE]
    pairs = {start: _paired(accuracies[start], base) for start in accuracies if start != BASELINE}
    differences = {start: paired_interval(*pair) for start, pair in pairs.items()}
    own = [start for start in pairs if start not in same]
    adjusted = holm([paired_p_value(*pairs[start]) for start in own])
    p_values = {start: float(p) for start, p in zip(own, adjusted, strict=True)}
    found = [Comparison(source, BASELINE, mean_interval(list(base.values())))]
    for start, difference in differences.items():
        judged = same.get(start, start)  # the start whose numbers stand for the experiment
        p = p_values[judged]
        verdict = recovers(differences[judged], p, margin)
        mean = mean_interval(list(accuracies[start].values()))
        found.append(Comparison(source, start, mean, difference, p, verdict, same.get(start, "")))
    return found


def statements(comparisons: Sequence[Comparison], accuracies: Accuracies, roles: Roles) -> list[Statement]:
    """The paper's statements for the one source of the comparisons; a start that was not run is left out."""
    known = {comparison.start: comparison for comparison in comparisons}
    found: list[tuple[str, str, Verdict]] = []
    signs = known.get(roles.signs)
    if signs is not None and signs.recovers:
        found.append(("learned mask and signs recover the baseline", _points(signs.difference), signs.recovers))
    magnitudes = known.get(roles.magnitudes)
    if magnitudes is not None and magnitudes.recovers:
        verdict = opposite(magnitudes.recovers)
        found.append(("learned mask and magnitudes, random signs, do not", _points(magnitudes.difference), verdict))
    early = {epoch: known[start] for epoch, start in sorted(roles.early.items()) if start in known}
    if early:
        found.append(("early signs suffice", *_early(early, roles.signs)))
    if signs is not None and roles.random in known:
        gain = paired_interval(*_paired(accuracies[roles.signs], accuracies[roles.random]))
        found.append(("learned signs beat random ones under the learned mask", _points(gain), above(gain)))
    return [Statement(comparisons[0].source, *texts) for texts in found]


def _early(early: Mapping[int, Comparison], final: str) -> tuple[str, Verdict]:
    """From the first epoch on whose signs, and those of every later epoch, recover the baseline."""
    same = [epoch for epoch, comparison in early.items() if comparison.same_as == final]
    if len(same) == len(early):
        epochs = " and ".join(map(str, same))
        return f"the signs of epoch {epochs} are the final ones: the same experiment", Verdict.NOT_TESTED
    suffices = None
    for epoch, comparison in sorted(early.items(), reverse=True):
        if comparison.recovers is not Verdict.AGREES:
            break
        suffices = epoch
    numbers = "; ".join(
        f"epoch {epoch}: {'the final signs' if epoch in same else _points(comparison.difference)}"
        for epoch, comparison in early.items()
    )
    if suffices is not None:
        return f"from epoch {suffices} on ({numbers})", Verdict.AGREES
    verdicts = {comparison.recovers for comparison in early.values()}
    return numbers, Verdict.DISAGREES if verdicts == {Verdict.DISAGREES} else Verdict.NOT_RESOLVED


def _paired(first: Mapping[int, float], second: Mapping[int, float]) -> tuple[list[float], list[float]]:
    """The values of both on the seeds that they share, in the order of the seeds."""
    seeds = sorted(set(first) & set(second))
    if not seeds:
        refuse("seeds", sorted(first), f"shared with {sorted(second)}")
    return [first[seed] for seed in seeds], [second[seed] for seed in seeds]


def _points(difference: Interval | None) -> str:
    assert difference is not None
    return difference.signed("points")
