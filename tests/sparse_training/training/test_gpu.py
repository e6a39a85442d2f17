"""On a GPU: runs repeat and go on bit for bit, and a CUDA graph or a compiled network trains as the eager one does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, cross_entropy

from commons import InputError
from sparse_training.masks import make_masks
from sparse_training.reparam import HAM, PILoT, Reparam, UnitSpeed, sparsify
from sparse_training.runs.config import Config
from sparse_training.runs.run import Run
from sparse_training.sharpness import HessianOperator, max_eigenvalue
from sparse_training.training import capture, passes
from sparse_training.training.loop import NonFiniteError, PreemptedError, train
from tests.sparse_training.training.test_graphs import CASES

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
ON_GPU = ("engine.device=cuda", "mask.density=0.1", "reparam=sign-in")
FASTER = ["engine.graphs=true", "engine.compile=true", "engine.precision=bfloat16", "engine.channels_last=true"]


@pytest.mark.parametrize("setting", ["engine.deterministic=true", *FASTER])
def test_a_run_goes_on_bit_for_bit(digits: Callable[..., Config], goes_on: Callable[..., bool], setting: str) -> None:
    assert goes_on(digits(*ON_GPU, setting, "epochs=3", preset="digits-cnn"), 1)


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


@pytest.mark.parametrize("case", CASES)
def test_recorded_steps_are_those_of_kernels_launched_one_by_one(
    digits: Callable[..., Config],
    same: Callable[[Path, Path], bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
) -> None:
    config = digits("engine.device=cuda", "engine.graphs=true", "mask.density=0.2", "batch_size=512", *CASES[case])
    train(config, tmp_path / "recorded")
    monkeypatch.setattr(capture, "can_record", lambda device: False)
    train(config, tmp_path / "one-by-one")
    assert same(tmp_path / "recorded", tmp_path / "one-by-one")


def test_what_cannot_be_recorded_is_told_in_one_line_and_harms_nothing() -> None:
    x = torch.ones(3, device="cuda")
    with pytest.raises(InputError, match=r"engine\.graphs=True is not false for this training"):
        capture.Recording(lambda: float(x.sum()))
    torch.cuda.synchronize()
    assert float(x.sum()) == 3


def test_a_recording_leaves_the_random_state_and_draws_anew_each_time() -> None:
    device, noise = torch.device("cuda", 0), torch.zeros(4, device="cuda")
    torch.cuda.manual_seed(0)
    state = torch.cuda.get_rng_state(device)
    capture.warm_up(lambda: noise.copy_(torch.rand_like(noise)), [noise], device)
    replay = capture.Recording(lambda: noise.copy_(torch.rand_like(noise)))
    assert torch.equal(torch.cuda.get_rng_state(device), state)
    assert not bool(noise.any())
    seen = []
    for _ in range(2):
        replay()
        seen.append(noise.clone())
    assert not torch.equal(*seen)
    torch.cuda.manual_seed(0)
    replay()
    assert torch.equal(noise, seen[0])


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_a_precision_means_what_it_says_in_products_and_convolutions(precision: str) -> None:
    draw = torch.Generator().manual_seed(0)
    x, w = torch.randn(8, 64, 16, 16, generator=draw).cuda(), torch.randn(64, 64, 3, 3, generator=draw).cuda()
    a = torch.randn(512, 512, generator=draw).cuda()
    with passes.computing(Config().with_set([f"engine.precision={precision}"]), torch.device("cuda")):
        for found, exact in ((conv2d(x, w), conv2d(x.double(), w.double())), (a @ a, a.double() @ a.double())):
            error = float((found.double() - exact).norm() / exact.norm())
            assert (error < 1e-6) == (precision == "float32")
            assert error < 1e-3


@pytest.mark.parametrize("reparam", [HAM(), PILoT(strength=0.1), UnitSpeed()], ids=lambda r: r.name)
@pytest.mark.parametrize("nesterov", [False, True])
def test_steps_are_those_of_the_cpu(reparam: Reparam, nesterov: bool) -> None:
    found = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4)).to(device)
        sparse = sparsify(model, make_masks(model, 0.5, "random"), reparam)
        groups = sparse.parameter_groups(1e-3)
        optimizer = torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=nesterov)
        sparse.attach(optimizer)
        x = torch.randn(32, 8, generator=torch.Generator().manual_seed(1)).to(device)
        for _ in range(5):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
        found.append({name: weight.cpu() for name, weight in sparse.weights().items()})
    for name, weight in found[0].items():
        torch.testing.assert_close(found[1][name], weight, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("graphs", [False, True])
def test_a_run_goes_on_from_the_middle_of_an_epoch(
    digits: Callable[..., Config],
    same: Callable[[Path, Path], bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    graphs: bool,
) -> None:
    config = digits(*ON_GPU, f"engine.graphs={str(graphs).lower()}", "method=acdc", preset="digits-cnn")
    train(config, tmp_path / "whole")
    call, calls = passes.Passes.__call__, []

    def interrupted(self: passes.Passes, *batch: Any) -> passes.BatchResult:
        calls.append(0)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return call(self, *batch)

    monkeypatch.setattr(passes.Passes, "__call__", interrupted)
    with pytest.raises(PreemptedError):
        train(config, tmp_path / "parts")
    train(config, tmp_path / "parts")
    assert same(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_goes_on_in_another_process(
    digits: Callable[..., Config], same: Callable[[Path, Path], bool], tmp_path: Path, number: signal.Signals
) -> None:
    config = digits(*ON_GPU, "engine.graphs=true", "method=rigl", "method.every=5", "epochs=60", preset="digits-cnn")
    (tmp_path / "config.toml").write_text(config.to_toml())
    command = ["train", "--config", str(tmp_path / "config.toml"), "--out", str(tmp_path / "parts")]
    process = subprocess.Popen([sys.executable, "-m", "sparse_training", *command], stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not list(tmp_path.glob("parts/checkpoints/state-*")) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(number)
    process.wait(30)
    assert not (tmp_path / "parts" / "summary.json").exists()
    train(config, tmp_path / "parts")
    train(config, tmp_path / "whole")
    assert same(tmp_path / "whole", tmp_path / "parts")


def test_curvature_is_that_of_the_cpu() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    x, y = torch.randn(256, 1, 8, 8), torch.randint(0, 10, (256,))
    model(x)
    masks = make_masks(model, 0.3, "random")
    here = HessianOperator(model, cross_entropy, (x, y), masks, dtype=torch.float64)
    value = max_eigenvalue(model, cross_entropy, (x, y), masks, tol=1e-4).value
    v = torch.linspace(-1, 1, here.size)
    model, x, y, masks = model.cuda(), x.cuda(), y.cuda(), masks.to("cuda")
    assert HessianOperator(model, cross_entropy, (x, y), masks).graph == "forward"
    for graph in ("kept", "rebuilt", "forward", "linearized", "compiled"):
        product = HessianOperator(model, cross_entropy, (x, y), masks, graph=graph, chunk=100) @ v.cuda()
        torch.testing.assert_close(product.cpu().double(), here @ v.double(), rtol=1e-4, atol=1e-6)
    assert max_eigenvalue(model, cross_entropy, (x, y), masks, tol=1e-4).value == pytest.approx(value, rel=5e-4)


def test_signs_are_transplanted(tmp_path: Path) -> None:
    settings = ["epochs=2", "engine.device=cuda", "engine.graphs=true"]
    command = ["transplant", "--method", "acdc", "--seeds", "1", "--workers", "1", "--out", str(tmp_path / "out")]
    subprocess.run([sys.executable, "-m", "sparse_training", *command, "--set", *settings], check=True, timeout=120)
    assert "random init + learned mask" in (tmp_path / "out" / "report.md").read_text()
