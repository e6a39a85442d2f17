"""The engine trains the single neuron of the theory along the trajectory that dynamics/ integrates."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dynamics import sample_paths
from sparse_training import data as datasets
from sparse_training.data import Data
from sparse_training.models import MODELS
from sparse_training.runs.checkpoint import save_network
from sparse_training.runs.config import Config
from sparse_training.runs.run import Run
from sparse_training.training import passes
from sparse_training.training.loop import train
from theory import SignIn, Standard

X = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)


@dataclass(frozen=True, eq=False)
class HalfLine(Data):
    """The inputs ±1, for which ½(a·relu(wx) − relu(x))² has the mean over N(0, 1) that the theory states."""

    def train(self, epoch: int, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> Iterator[Any]:
        yield self._take("train", torch.arange(2))

    def test(self, batch_size: int) -> Iterator[Any]:
        yield self._take("test", torch.arange(2))

    def _take(self, split: str, index: Tensor) -> Any:
        return X[index], X[index].flatten().relu().long()


def neuron(in_channels: int, image_size: int, num_classes: int) -> nn.Module:
    layers = {"flatten": nn.Flatten(), "w": nn.Linear(1, 1, bias=False), "relu": nn.ReLU()}
    return nn.Sequential(OrderedDict(**layers, a=nn.Linear(1, 1, bias=False)))


def squared_error(outputs: Tensor, y: Tensor, **_: Any) -> Tensor:
    return 0.5 * (outputs.flatten() - y).square().mean()


@pytest.mark.parametrize("start", [(-0.3, 0.7), (0.8, 0.2)])
@pytest.mark.parametrize("reparam", ["none", "sign-in"])
def test_the_neuron_follows_the_flow(
    start: tuple[float, float], reparam: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = HalfLine("half line", ("0", "1"), (1, 1, 1), 2, 2)
    monkeypatch.setattr(datasets, "load", lambda *_, **__: source)
    monkeypatch.setitem(MODELS, "neuron", neuron)
    monkeypatch.setattr(passes, "cross_entropy", squared_error)
    a0, w0 = start
    state = {"w.weight": torch.tensor([[w0]]), "a.weight": torch.tensor([[a0]])}
    save_network(tmp_path / "start.safetensors", state)
    lr, epochs = 5e-3, 400
    settings = ["model=neuron", f'start="{tmp_path / "start.safetensors"}"', f"reparam={reparam}", "reset.every=0"]
    settings += [f"optimizer.lr={lr}", "optimizer.momentum=0", "schedule=constant", f"epochs={epochs}"]
    settings += ["checkpoint.every=100", "checkpoint.resume=1000", "engine.device=cpu", "batch_size=2"]
    if reparam == "sign-in":
        settings += ["reparam.beta=[0.5, 2.0]"]  # the weight w comes first
    train(Config().with_set(settings), tmp_path / "run")
    run = Run(tmp_path / "run")
    flow = SignIn(beta_a=2.0, beta_w=0.5) if reparam == "sign-in" else Standard()
    a, w = sample_paths(flow, np.array([a0]), np.array([w0]), lr * np.array(run.epochs, dtype=float))
    for index, epoch in enumerate(run.epochs):
        weights = run.weights(epoch)
        assert float(weights["a.weight"]) == pytest.approx(a[index, 0], abs=5e-3)
        assert float(weights["w.weight"]) == pytest.approx(w[index, 0], abs=5e-3)
    assert abs(a[-1, 0] - a0) + abs(w[-1, 0] - w0) > 0.1
