"""Which treatments of a sweep need no more seeds, by a test whose error does not grow with the number of looks."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from commons.sequential import sequential_interval
from commons.statistics import Interval
from sparse_training.sweeps.columns import numbers
from sparse_training.sweeps.execute import Sweep
from sparse_training.sweeps.job import Job
from sparse_training.sweeps.table import LEVEL, Key, partner


@dataclass(frozen=True)
class Decision:
    """A difference that is resolved after `seeds` of its seeds: it is not 0, or it is within the margin."""

    difference: Interval
    seeds: int


def decided(differences: list[float], level: float, margin: float) -> Decision | None:
    """The first look at which the confidence sequence at 1 − level excludes 0 or lies within ±margin; None: not yet."""
    for n in range(2, len(differences) + 1):
        interval = sequential_interval(differences[:n], 1 - level)
        if interval.low > 0 or interval.high < 0 or (-margin < interval.low and interval.high < margin):
            return Decision(interval, n)
    return None


def decisions(sweep: Sweep) -> dict[Key, Decision]:
    """The treatments that are resolved against their partner, at 5 % over all comparisons of the plan (Bonferroni).

    Only pairs of the first seeds without a gap count, in the order of the seeds, as they came and not as they suit.
    """
    plan = sweep.plan
    keys = {(treatment.arm, json.dumps(treatment.point)): treatment for treatment in plan.treatments}
    pairs = {key: other for key in keys if (other := partner(key, keys, plan.against))}
    values = _values(sweep)
    found = {}
    for key, other in pairs.items():
        differences = []
        for seed in plan.seeds:
            own, base = values.get((key, seed)), values.get((other, seed))
            if own is None or base is None:
                break
            differences.append(own - base)
        decision = decided(differences, LEVEL / len(pairs), plan.margin)
        if decision is not None:
            found[key] = decision
    return found


def resolved(sweep: Sweep) -> set[str]:
    """Addresses of runs that are not needed: those of resolved treatments, and of partners that none waits for."""
    plan = sweep.plan
    keys = [(treatment.arm, json.dumps(treatment.point)) for treatment in plan.treatments]
    done = decisions(sweep)
    waited = {partner(key, keys, plan.against) for key in keys if key not in done}
    needless = {key for key in keys if key in done or (key[0] == plan.against and key not in waited)}
    return {job.address for job in sweep.jobs if _key(job) in needless} - {
        job.address for job in sweep.jobs if _key(job) not in needless
    }


def _values(sweep: Sweep) -> Mapping[tuple[Key, int], float | None]:
    plan = sweep.plan
    found = {}
    for job in sweep.jobs:
        for line in sweep.ledger.at(job.address)[:1]:
            found[_key(job), job.seed] = numbers(line, plan.columns)[plan.metric]
    return found


def _key(job: Job) -> Key:
    return job.arm, json.dumps(dict(job.point))
