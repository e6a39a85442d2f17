"""A sweep that stops when resolved makes fewer runs, in pairs, and claims nothing too often."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sparse_training.sweeps import Ledger, Sweep
from sparse_training.sweeps.executor import Ended, Executor
from sparse_training.sweeps.job import Ending, Job
from sparse_training.sweeps.stopping import decided, decisions, resolved

ARMS = """
seeds = 30
against = "plain"
margin = {margin}
[arms]
plain = {{}}
much = {{ optimizer.lr = 0.2 }}
none = {{ optimizer.lr = 0.3 }}
"""
EFFECT = {"plain": 0.0, "much": 3.0, "none": 0.0}


class Drawn(Executor):
    """Draws accuracies instead of training, and tells of them in another order than asked."""

    slots = 4

    def __init__(self, ledger: Ledger, effect: dict[str, float]) -> None:
        self._ledger, self._effect = ledger, effect
        self.made: list[Job] = []
        self._open: list[Job] = []
        self._order = random.Random(0)

    def submit(self, jobs: Any) -> None:
        self._open += jobs

    def wait(self, seconds: float) -> list[Ended]:
        job = self._open.pop(self._order.randrange(len(self._open)))
        self.made.append(job)
        accuracy = 80 + self._effect[job.arm] + float(np.random.default_rng([job.seed, len(job.arm)]).normal(0, 1))
        line = {
            "kind": "run",
            "address": job.address,
            "sweep": job.sweep,
            "arm": job.arm,
            "point": {},
            "treatment": job.treatment,
        }
        line |= {
            "seed": job.seed,
            "metrics": {"test_accuracy": accuracy},
            "diverged": None,
            "flips": None,
            "start": None,
        }
        self._ledger.append(line | {"sharpness": None, "seconds": {"training": 0.0}})
        return [Ended(job, Ending.DONE)]

    def stop(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def drawn(sweep: Callable[..., Sweep]) -> Callable[..., tuple[Sweep, list[Job]]]:
    """A sweep of drawn accuracies, run to its end, and the jobs that it made."""

    def run(margin: float = 0.0) -> tuple[Sweep, list[Job]]:
        plain = sweep(ARMS.format(margin=margin))
        made = Sweep(plain.plan, plain.settings, resolved)
        executor = Drawn(made.ledger, EFFECT)
        assert made.run(executor)
        return made, executor.made

    return run


def test_a_resolved_arm_gets_no_more_seeds_and_the_others_go_on(drawn: Callable[..., tuple[Sweep, list[Job]]]) -> None:
    sweep, made = drawn()
    count = {arm: sum(job.arm == arm for job in made) for arm in EFFECT}
    assert 5 <= count["much"] < 15
    assert count["plain"] == count["none"] == 30
    assert {arm for arm, _ in decisions(sweep)} == {"much"}


def test_a_difference_within_the_margin_is_resolved_too(drawn: Callable[..., tuple[Sweep, list[Job]]]) -> None:
    sweep, made = drawn(margin=2.0)
    assert {arm for arm, _ in decisions(sweep)} == {"much", "none"}
    assert sum(job.arm == "plain" for job in made) < 30  # nobody waits for the baseline any more


def test_a_thousand_sweeps_under_the_null_claim_at_most_five_percent() -> None:
    """Three comparisons with one baseline, looked at after each of 30 seeds; a claim is any difference from 0."""
    rng = np.random.default_rng(0)
    claims = 0
    for _ in range(1000):
        base, arms = rng.normal(0, 1, 30), rng.normal(0, 1, (3, 30))
        claims += any(decided(list(arm - base), 0.05 / 3, 0.0) for arm in arms)
    assert 0 < claims <= 50
