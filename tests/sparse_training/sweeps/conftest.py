"""Sweep files of small runs on digits, and a comparison of ledgers that leaves out what time it took."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparse_training.sweeps import Ledger, Settings, Sweep, load_plan
from sparse_training.sweeps.executor import Ended, Executor
from sparse_training.sweeps.job import Job, perform

SMALL = """
preset = "digits-mlp"
seeds = 2
against = "plain"
[base]
epochs = 2
mask.density = 0.1
engine.device = "cpu"
[arms]
plain = {}
"Sign-In" = { reparam.name = "sign-in", grid."reset.every" = [0, 1] }
"""


@pytest.fixture
def sweep_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a sweep file: arms of digits, or any text."""

    def write(text: str = SMALL, name: str = "small.toml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture
def sweep(tmp_path: Path, sweep_file: Callable[..., Path]) -> Callable[..., Sweep]:
    """A sweep of a file in a folder below the test's."""

    def make(text: str = SMALL, out: str = "out", name: str = "small.toml", **settings: Any) -> Sweep:
        folder = tmp_path / out
        ledger = settings.pop("ledger", folder / "ledger.jsonl")
        return Sweep(load_plan(sweep_file(text, name)), Settings(folder, ledger, **settings))

    return make


class Here(Executor):
    """Makes runs in this process, one after another."""

    slots = 1

    def __init__(self) -> None:
        self.performed: list[Job] = []
        self._ended: list[Ended] = []

    def submit(self, jobs: Any) -> None:
        self.performed += jobs
        self._ended += [Ended(job, *perform(job)) for job in jobs]

    def wait(self, seconds: float) -> list[Ended]:
        ended, self._ended = self._ended, []
        return ended

    def stop(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def here() -> Here:
    return Here()


@pytest.fixture
def content() -> Callable[[Ledger], dict[str, Any]]:
    """What a ledger says, by run and arm, apart from times and from where it was."""

    def of(ledger: Ledger) -> dict[str, Any]:
        ledger.refresh()
        lines = [{**line, "seconds": None, "environment": None} for line in ledger.runs()]
        return {f"{line['address']} {line['arm']} {line['point']}": line for line in lines}

    return of
