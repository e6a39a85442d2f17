"""The sources of a transplant as treatments of a sweep: configurations to train, or finished runs by their seeds."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from commons.checks import refuse
from sparse_training.runs.config import Config
from sparse_training.runs.run import Run
from sparse_training.runs.trust import Trust
from sparse_training.sweeps.plan import Treatment
from sparse_training.transplant.verdict import BASELINE


def planned(label: str, config: Config) -> Treatment:
    """A source to train with every seed of the plan, under the name that tables give it."""
    return Treatment(BASELINE, {"source": label}, config)


def given(folders: Sequence[str | Path], trust: Trust = False) -> list[Treatment]:
    """Finished runs as sources, one source a method, which names it; trust as in `Run`.

    Raises:
        InputError: a folder holds no finished run, or two runs of one method do not differ in their seed alone.
    """
    sources: dict[str, Treatment] = {}
    for folder in folders:
        run = Run(folder, trust)
        if not run.finished:
            refuse("source", str(folder), "a finished run", "train it to its end first")
        config, label = run.config, run.config.method.name
        source = sources.setdefault(label, replace(planned(label, config), given={}))
        if config.seed in source.given or replace(config, seed=source.config.seed) != source.config:
            other = next(iter(source.given.values()))
            refuse("source", str(folder), f"the run of {other} with another seed")
        sources[label] = replace(source, given={**source.given, config.seed: Path(folder)})
    return list(sources.values())
