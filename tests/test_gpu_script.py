"""The script for a GPU, with a Python in its place that only writes down what it is asked for."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.sh"
PYTHON = """#!/usr/bin/env bash
case "$*" in
  *is_available*) exit {without_cuda} ;;
  *"import xdist"*) exit 1 ;;
  *torch.__version__*) echo versions ;;
  *) echo "$*" >> "$CALLS" ;;
esac
case "$*" in *benchmarks.training*) {training} ;; esac
"""


@pytest.fixture
def gpu(tmp_path: Path):
    """Run the script on a machine with or without CUDA; returns its output and the commands that it gave."""

    def run(cuda: bool, training: str = "exit 0", **variables: str) -> tuple[str, list[str]]:
        home = tmp_path / "home"
        (home / "benchmarks").mkdir(parents=True, exist_ok=True)
        (home / "images" / "train").mkdir(parents=True, exist_ok=True)
        shutil.copy(SCRIPT, home / "benchmarks")
        for name, text in {
            "python": PYTHON.format(without_cuda=int(not cuda), training=training),
            "nvidia-smi": "#!/bin/sh\necho a GPU\n",
            "nvidia-cuda-mps-control": "#!/bin/sh\ntrue\n",
        }.items():
            (home / name).write_text(text)
            (home / name).chmod(0o755)
        calls = home / "calls"
        calls.write_text("")
        minutes = variables.pop("minutes", "9")
        named = {"PYTHON": str(home / "python"), "CALLS": str(calls), "OUT": str(home / "out"), **variables}
        environment = {**os.environ, "PATH": f"{home}:{os.environ['PATH']}", **named}
        made = subprocess.run(
            ["bash", home / "benchmarks" / "gpu.sh", home / "images", minutes],
            env=environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert not made.stderr, made.stderr
        return made.stdout, calls.read_text().splitlines()

    return run


def first(calls: list[str], *words: str) -> int:
    """The place of the first command with all these words."""
    return next(i for i, call in enumerate(calls) if all(word in call for word in words))


def test_the_table_comes_first_and_on_a_new_machine_last(gpu) -> None:
    _, calls = gpu(cuda=True)
    assert first(calls, "sweep status") < first(calls, "benchmarks.training") < first(calls, "-m gpu", "not goes_on")


def test_the_first_ten_minutes_are_in_order(gpu) -> None:
    _, calls = gpu(cuda=True, FIRST_TEN_MINUTES="1")
    marks = [("-m gpu", "not goes_on"), ("benchmarks.training", "tf32"), ("--together", "5"), ("benchmarks.products",)]
    marks += [("-m gpu", "-k goes_on"), ("benchmarks.dynamics", "cuda"), ("sweep status",)]
    places = [first(calls, *words) for words in marks]
    assert places == sorted(places)


def test_a_stage_that_ended_well_is_not_done_again_and_one_that_failed_is(gpu, tmp_path: Path) -> None:
    told, _ = gpu(cuda=False, training="exit 3")
    assert "step-times: failed with exit status 3" in told
    assert "failed" in (tmp_path / "home" / "out" / "gpu-step-times.txt").read_text()
    _, again = gpu(cuda=False)
    assert any("benchmarks.training" in call for call in again)
    _, third = gpu(cuda=False)
    assert not any("benchmarks.training" in call for call in third)
    assert any("sweep" in call and "status" in call for call in third)  # the table always says what is unfinished


def test_without_time_nothing_is_begun(gpu) -> None:
    told, calls = gpu(cuda=False, minutes="0")
    assert "step-times: no time left" in told
    assert not any("benchmarks" in call for call in calls)
