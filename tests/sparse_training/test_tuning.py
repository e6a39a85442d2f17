"""Tuning: the best rate on other seeds, a grid that grows at its edge, and what a variant takes from another one."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commons import InputError
from sparse_training import tuning
from sparse_training.ablation import Variant
from sparse_training.runs.config import Config
from sparse_training.sweeps import Ledger, Sweep
from sparse_training.sweeps.job import Ending, perform
from sparse_training.tuning import best_inside, tuned


def in_this_process(sweep: Sweep, *_: object, **__: object) -> None:
    for job in sweep.jobs:
        assert perform(job) == (Ending.DONE, "")
    sweep.ledger.refresh()


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr(tuning, "SEEDS", range(1000, 1001))
    monkeypatch.setattr(tuning, "run_here", in_this_process)
    settings = ["epochs=1", "mask.density=0.2", "batch_size=256", "schedule.warm_up=0", "checkpoint.every=2"]
    return Config.preset("digits-mlp").with_set(settings)


@given(peak=st.floats(-5, 5))
def test_the_grid_grows_until_its_best_is_inside(peak: float) -> None:
    asked: list[float] = []

    def accuracies(values: Sequence[float]) -> list[float]:
        asked.extend(values)
        return [-abs(math.log2(value) - peak) for value in values]

    found = best_inside((0.5, 1.0, 2.0), accuracies)
    best = next(iter(found))
    assert abs(math.log2(best) - peak) <= 0.5
    assert min(found) < best < max(found)
    assert len(asked) == len(set(asked)) == len(found)


def test_the_smaller_one_of_equals_is_taken_and_an_endless_edge_refused() -> None:
    assert next(iter(best_inside((1.0, 2.0, 4.0, 8.0), lambda values: [1.0 - (v in (1, 8)) for v in values]))) == 2.0
    with pytest.raises(InputError, match="at the edge"):
        best_inside((1.0, 2.0), lambda values: list(values))


def test_speeds_and_decay_are_those_of_the_other_variants_runs(config: Config, tmp_path: Path) -> None:
    grid = (1e-9, 0.1, 1e9)
    source = Variant("source", ("reparam=sign-in", "reparam.beta=[0.5, 2.0]"), grid=grid)
    variants = [
        source,
        Variant("rates", (), grid=grid, speeds_of="source"),
        Variant("decay", (), grid=grid, decay_of="source"),
        Variant("plain", ("epochs=1",)),
    ]
    _, rates, decay, plain = tuned(variants, config, tmp_path, 1)
    scaling = config.with_set(rates.settings).scaling
    assert scaling is not None
    assert scaling.layers == ("fc1.weight", "fc2.weight", "fc3.weight")
    assert scaling.rates_of == pytest.approx((0.5, 1.0, 2.0), rel=0.1)
    assert config.with_set(decay.settings).optimizer.weight_decay == pytest.approx(1e-4 * (2 + 1 + 0.5) / 3, rel=0.1)
    assert plain == variants[-1]
    assert {line["seed"] for line in Ledger(tmp_path / "ledger.jsonl").runs()} == {1000}


def test_a_variant_takes_only_from_one_before_it(config: Config, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="speeds_of='later'"):
        tuned([Variant("rates", (), speeds_of="later"), Variant("later", (), grid=(0.1, 0.2))], config, tmp_path, 1)
