"""Sweeps on Ray and through submitit give the ledger of one process; skipped where those are not installed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparse_training.sweeps import Sweep
from sparse_training.sweeps.slurm import Slurm
from tests.sparse_training.sweeps.sweep_files import FOUR_ARMS


@pytest.mark.slow
def test_ray_with_a_killed_worker_gives_the_ledger_of_one_process(
    sweep: Callable[..., Sweep], here: Any, content: Any, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    text = FOUR_ARMS.format(seeds=6, epochs=10)
    serial, made = sweep(text, out="serial"), sweep(text, out="ray")
    serial.run(here)
    command = [sys.executable, "-m", "sparse_training", "sweep", str(tmp_path / "small.toml"), "--workers", "2"]
    command += ["--out", str(tmp_path / "ray"), "--on", "ray"]
    with (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen(command, stderr=errors)
    killed = False
    while process.poll() is None:
        made.ledger.refresh()
        workers = _workers(process.pid) if not killed and len(made.ledger.runs()) >= 3 else []
        if workers:
            os.kill(workers[0], signal.SIGKILL)
            killed = True
        time.sleep(0.05)
    assert process.returncode == 0, (tmp_path / "errors").read_text()
    assert killed
    assert content(made.ledger) == content(serial.ledger)


def _workers(driver: int) -> list[int]:
    """Processes of Ray below the driver that train at this moment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"ray::perform" in path.read_bytes() and driver in _ancestors(int(path.parent.name)):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def _ancestors(pid: int) -> list[int]:
    found = []
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        found.append(pid)
    return found


@pytest.mark.slow
def test_submitit_gives_the_ledger_of_one_process(
    sweep: Callable[..., Sweep], here: Any, content: Any, tmp_path: Path
) -> None:
    pytest.importorskip("submitit")
    text = FOUR_ARMS.format(seeds=6, epochs=2)
    serial, made = sweep(text, out="serial"), sweep(text, out="slurm")
    serial.run(here)
    with Slurm(2, tmp_path / "logs", {"timeout_min": 5}, cluster="local") as executor:
        assert made.run(executor)
    assert content(made.ledger) == content(serial.ledger)


SBATCH = """#!/bin/sh
cp "$1" {folder}/array.sh
echo "Submitted batch job 4711"
"""


def test_the_array_that_is_submitted(
    sweep: Callable[..., Sweep], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    for name, text in {
        "sbatch": SBATCH.format(folder=tmp_path),
        "srun": "#!/bin/sh\n",
        "scancel": "#!/bin/sh\n",
    }.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    parameters = {"slurm_partition": "night", "timeout_min": 90, "cpus_per_task": 2, "slurm_qos": "low"}
    executor = Slurm(8, tmp_path / "logs", parameters)
    jobs = sweep(FOUR_ARMS.format(seeds=2, epochs=1)).jobs
    executor.submit(jobs)
    script = (tmp_path / "array.sh").read_text()
    for line in ("array=0-7%8", "partition=night", "time=90", "cpus-per-task=2", "qos=low", "signal=USR2@90"):
        assert f"#SBATCH --{line}\n" in script
    assert "--requeue" in script or "open-mode=append" in script
    assert [job.address for _, job in executor._running] == [job.address for job in jobs]


def test_an_extra_that_is_missing_is_named(
    sweep_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sparse_training.__main__ import parser

    for place, extra in (("ray", "ray"), ("slurm", "submitit")):
        monkeypatch.setitem(sys.modules, extra, None)
        with pytest.raises(SystemExit):
            parser().execute(["sweep", str(sweep_file()), "--out", str(tmp_path), "--on", place])
        assert f"pip install 'sign-in-lottery[{place}]'" in capsys.readouterr().err
