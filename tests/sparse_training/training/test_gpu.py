"""On a GPU: runs repeat and go on bit for bit, and a CUDA graph or a compiled network trains as the eager one does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sparse_training.runs.config import Config
from sparse_training.runs.run import Run
from sparse_training.training.loop import NonFiniteError, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
ON_GPU = ("engine.device=cuda", "mask.density=0.1", "reparam=sign-in")
FASTER = ["engine.graphs=true", "engine.compile=true", "engine.precision=bfloat16", "engine.channels_last=true"]


class StopError(Exception):
    pass


@pytest.mark.parametrize("setting", ["engine.deterministic=true", *FASTER])
def test_a_run_goes_on_bit_for_bit(
    digits: Callable[..., Config], same: Callable[[Path, Path], bool], tmp_path: Path, setting: str
) -> None:
    config = digits(*ON_GPU, setting, "epochs=3", preset="digits-cnn")
    train(config, tmp_path / "whole")

    def stop(metrics: dict[str, Any]) -> None:
        if metrics["epoch"] == 1:
            raise StopError

    with pytest.raises(StopError):
        train(config, tmp_path / "parts", progress=stop)
    train(config, tmp_path / "parts")
    assert same(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("setting", ["engine.graphs=true", "engine.compile=true"])
@pytest.mark.parametrize("reparam", ["none", "sign-in", "ham"])
def test_faster_is_the_same_training(digits: Callable[..., Config], tmp_path: Path, setting: str, reparam: str) -> None:
    settings = ("engine.device=cuda", "mask.density=0.1", f"reparam={reparam}", "optimizer.lr=0.01", "epochs=1")
    train(digits(*settings, preset="digits-cnn"), tmp_path / "eager")
    train(digits(*settings, setting, preset="digits-cnn"), tmp_path / "fast")
    eager, fast = Run(tmp_path / "eager"), Run(tmp_path / "fast")
    for name, value in eager.network().state.items():
        torch.testing.assert_close(fast.network().state[name], value, rtol=1e-2, atol=1e-3)
    for name, mask in fast.masks().items():
        assert not bool(fast.weights()[name][~mask].any())


def test_a_loss_that_is_not_finite_stops(digits: Callable[..., Config], tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match="step"):
        train(digits(*ON_GPU, "optimizer.lr=1e30"), tmp_path / "run")
