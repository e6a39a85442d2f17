"""Several processes: torchrun follows one process, ranks must agree on their masks, and kills change no bit."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sparse_training.runs.config import Config
from sparse_training.runs.run import Run
from sparse_training.training.loop import train

Digits = Callable[..., Config]
MODULE = [sys.executable, "-m", "sparse_training", "train"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
SPARSE = ("mask.density=0.1", "reparam=sign-in")


def command(config: Config, file: Path, out: Path) -> list[str]:
    file.write_text(config.to_toml())
    return ["--config", str(file), "--out", str(out)]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


# Adam's first steps have one size however small the gradient is, so a small rate keeps rounding small.
TEXT = ("data.crops=32", "data.test_crops=8", "data.context=16", "batch_size=8", "optimizer.lr=1e-4")
STATIC, RIGL = SPARSE, ("method=rigl", "method.every=10", *SPARSE)


@pytest.mark.parametrize(
    ("preset", "settings"),
    [
        ("digits-cnn", RIGL),
        pytest.param("digits-cnn", STATIC, marks=pytest.mark.slow),
        pytest.param("digits-mlp", RIGL, marks=pytest.mark.slow),
        pytest.param("digits-mlp", STATIC, marks=pytest.mark.slow),
        pytest.param("text-gpt", (*SPARSE, *TEXT), marks=pytest.mark.slow),
    ],
)
def test_two_processes_follow_one(digits: Digits, tmp_path: Path, preset: str, settings: tuple[str, ...]) -> None:
    config = digits(*settings, preset=preset)
    train(config, tmp_path / "one")
    arguments = [*TORCHRUN, "sparse_training", "train", *command(config, tmp_path / "c.toml", tmp_path / "two")]
    done = subprocess.run(arguments, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    one, two = Run(tmp_path / "one"), Run(tmp_path / "two")
    assert two.finished
    assert one.masks() == two.masks()
    for epoch in one.epochs:
        for name, value in one.network(epoch).state.items():
            torch.testing.assert_close(two.network(epoch).state[name], value, rtol=1e-3, atol=2e-4)
    for a, b in zip(one.metrics(), two.metrics(), strict=True):
        assert a["step"] == b["step"]
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-4)
        assert a["test_loss"] == pytest.approx(b["test_loss"], rel=1e-3)
        assert a["test_accuracy"] == pytest.approx(b["test_accuracy"], abs=0.6)


def test_masks_that_differ_between_processes_are_refused(tmp_path: Path) -> None:
    program = tmp_path / "differ.py"
    program.write_text(
        "import torch\n"
        "from sparse_training.training.distributed import joined\n"
        "from sparse_training.masks import Masks\n"
        "with joined(torch.device('cpu')) as world:\n"
        "    world.check_equal(Masks({'w': torch.tensor([True, False])}))\n"
        "    world.check_equal(Masks({'w': torch.tensor([world.first, True])}))\n"
    )
    arguments = [*TORCHRUN[:-1], str(program)]
    done = subprocess.run(arguments, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode
    assert "the masks of process 1 differ from those of process 0" in done.stderr


def test_a_preempted_run_exits_with_75_so_that_what_follows_does_not_start(digits: Digits, tmp_path: Path) -> None:
    config = digits(*SPARSE, "epochs=400", "checkpoint.every=400")
    arguments = [*MODULE, *command(config, tmp_path / "c.toml", tmp_path / "run")]
    process = subprocess.Popen(arguments, env=environment(), stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "run" / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == os.EX_TEMPFAIL == 75, errors
    assert "the same command goes on" in errors
    assert list((tmp_path / "run" / "checkpoints").glob("state-*"))


@pytest.mark.slow
def test_torchrun_does_not_end_with_zero_when_its_processes_are_preempted(digits: Digits, tmp_path: Path) -> None:
    config = digits(*SPARSE, "epochs=400", "checkpoint.every=400")
    arguments = [*TORCHRUN, "sparse_training", "train", *command(config, tmp_path / "c.toml", tmp_path / "run")]
    process = subprocess.Popen(arguments, env=environment(), stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "run" / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size):
        assert process.poll() is None
        time.sleep(0.05)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    for child in children.stdout.split():
        os.kill(int(child), signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode, errors
    assert "exitcode  : 75" in errors
    assert "the same command goes on" in errors
    (newest, *_) = sorted((tmp_path / "run" / "checkpoints").glob("state-*"), reverse=True)
    assert load_file(newest)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [SPARSE, ("method=rigl", "method.every=10", "optimizer=adamw", *SPARSE)])
def test_twenty_kills_change_no_bit(
    digits: Digits, same: Callable[[Path, Path], bool], tmp_path: Path, settings: tuple[str, ...]
) -> None:
    config = digits(*settings, "epochs=150")
    train(config, tmp_path / "whole")
    arguments = [*MODULE, *command(config, tmp_path / "c.toml", tmp_path / "killed")]
    metrics, rng, kills = tmp_path / "killed" / "metrics.jsonl", random.Random(0), 0
    while kills < 20:
        process = subprocess.Popen(arguments, env=environment(), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        lines = metrics.read_bytes().count(b"\n") if metrics.exists() else 0
        while process.poll() is None:  # it trains once a line was added, and is then killed at a random moment
            if metrics.exists() and metrics.read_bytes().count(b"\n") != lines:
                break
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
        assert process.poll() is None, "the run ended before the last kill"
        process.kill()
        process.wait()
        kills += 1
    assert not Run(tmp_path / "killed").finished
    subprocess.run(arguments, env=environment(), check=True, capture_output=True)
    assert same(tmp_path / "whole", tmp_path / "killed")
