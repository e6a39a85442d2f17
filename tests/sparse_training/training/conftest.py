"""Small runs on digits, and a comparison of two run folders that leaves out what time it took."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fixtures.stopping import StopError, stop_after

from sparse_training.runs.config import Config
from sparse_training.runs.run import Run
from sparse_training.training.loop import train


@pytest.fixture
def digits() -> Callable[..., Config]:
    """Two epochs of the digits network with settings of one's own."""

    def configured(*settings: str, preset: str = "digits-mlp") -> Config:
        return Config.preset(preset).with_set(["epochs=2", "engine.device=cpu", *settings])

    return configured


@pytest.fixture
def same() -> Callable[[Path, Path], bool]:
    """Whether two runs have bit-identical networks, masks and metrics."""

    def compare(first: Path, second: Path) -> bool:
        one, other = Run(first), Run(second)
        metrics = [[{**line, "seconds": 0} for line in run.metrics()] for run in (one, other)]
        if metrics[0] != metrics[1] or one.epochs != other.epochs or not one.epochs:
            return False
        for epoch in one.epochs:
            a, b = one.network(epoch), other.network(epoch)
            if list(a.state) != list(b.state) or a.masks != b.masks:
                return False
            if not all(torch.equal(a.state[name], b.state[name]) for name in a.state):
                return False
        return True

    return compare


@pytest.fixture
def goes_on(same: Callable[[Path, Path], bool], tmp_path: Path) -> Callable[..., bool]:
    """Whether a run that is stopped after each of some epochs, and goes on, is bit for bit one that never stopped."""

    def compare(config: Config, *epochs: int) -> bool:
        train(config, tmp_path / "whole")
        for epoch in epochs:
            with pytest.raises(StopError):
                train(config, tmp_path / "parts", progress=stop_after(epoch))
        train(config, tmp_path / "parts")
        return same(tmp_path / "whole", tmp_path / "parts")

    return compare
