"""Runs over processes of torchrun, and compiled ones, are in a sweep what they are alone."""

from collections.abc import Callable
from typing import Any

import pytest

from sparse_training.runs.run import Run
from sparse_training.sweeps import Sweep

TEXT = 'preset = "digits-cnn"\n[base]\nepochs = 2\nmask.density = 0.1\nreparam.name = "sign-in"\nengine.device = "cpu"'


@pytest.mark.slow
def test_torchrun_inside_a_sweep(sweep: Callable[..., Sweep], here: Any) -> None:
    one, two = sweep(TEXT, out="one"), sweep(TEXT, out="two", processes=2)
    assert one.run(here)
    assert two.run(here), two.failed
    assert two.failed == {}
    (alone,), (shared,) = one.ledger.runs(), two.ledger.runs()
    assert shared["address"] == alone["address"]
    assert shared["metrics"]["steps"] == alone["metrics"]["steps"]
    assert shared["metrics"]["train_loss"] == pytest.approx(alone["metrics"]["train_loss"], rel=1e-3)
    assert Run(two.jobs[0].folder).masks() == Run(one.jobs[0].folder).masks()
    assert not list((two.settings.out / "runs").glob("*.toml"))


TWO_SHAPES = """
[base]
model = "cnn"
epochs = 1
mask.density = 0.1
engine = { device = "cpu", compile = true }
[arms]
small = { batch_size = 64 }
large = { batch_size = 256 }
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_runs_one_after_another_are_those_of_runs_alone(sweep: Callable[..., Sweep], here: Any) -> None:
    import torch

    together = sweep(TWO_SHAPES, out="together")
    assert together.run(here)
    for job in reversed(together.jobs):  # alone, and in the other order
        torch.compiler.reset()
        alone = sweep(TWO_SHAPES, out=f"alone-{job.arm}")
        alone.jobs = [other for other in alone.jobs if other.address == job.address]
        assert alone.run(here)
        (one,), (other,) = together.ledger.at(job.address), alone.ledger.at(job.address)
        assert one["metrics"] == other["metrics"]
