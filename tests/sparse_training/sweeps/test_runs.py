"""Runs of a sweep are those of `train`, bit for bit, and none is made twice, whoever and whatever is interrupted."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch.nn.functional import cross_entropy

from sparse_training.__main__ import parser
from sparse_training.masks import make_masks
from sparse_training.models import build
from sparse_training.runs.config import Config
from sparse_training.runs.run import Run
from sparse_training.sharpness import max_eigenvalue
from sparse_training.sweeps import Ledger, Sweep, job
from sparse_training.sweeps.addresses import changed
from sparse_training.sweeps.job import Ending, perform, without_places
from sparse_training.sweeps.local import Local
from sparse_training.sweeps.table import compare, formatted, header_of, rows_of
from sparse_training.training.loop import train
from tests.sparse_training.sweeps.deaths import deadly
from tests.sparse_training.sweeps.sweep_files import FOUR_ARMS
from tests.sparse_training.sweeps.threads import threads

Make = Callable[..., Sweep]


def test_workers_give_the_ledger_of_one_process_after_another(sweep: Make, here: Any, content: Any) -> None:
    serial, parallel = sweep(out="serial"), sweep(out="parallel")
    assert serial.run(here)
    with Local(2) as executor:
        assert parallel.run(executor)
    assert content(parallel.ledger) == content(serial.ledger)
    assert len(content(serial.ledger)) == len(serial.jobs) == 6


def test_a_run_is_that_of_train(sweep: Make, here: Any, tmp_path: Path) -> None:
    made = sweep()
    made.run(here)
    job, treatment = made.jobs[1], made.plan.treatments[1]
    config = replace(treatment.config, seed=job.seed, engine=replace(treatment.config.engine, threads=1))
    alone = train(config, tmp_path / "alone")
    (line,) = made.ledger.at(job.address)
    assert line["metrics"]["test_loss"] == alone.test_loss
    assert line["curve"] == [epoch["test_accuracy"] for epoch in Run(tmp_path / "alone").metrics()]
    assert all(line["flips"]["layers"][name][1] for name in Run(job.folder).weights())


def test_what_the_ledger_has_is_not_run_again_without_its_folder(sweep: Make, here: Any, tmp_path: Path) -> None:
    first = sweep()
    first.run(here)
    before = first.ledger.path.read_bytes()
    (tmp_path / "empty").mkdir()
    shutil.copy(first.ledger.path, tmp_path / "empty" / "ledger.jsonl")
    here.performed.clear()
    again = sweep(out="empty")
    assert again.run(here)
    assert here.performed == []
    assert again.ledger.path.read_bytes() == before
    tables = [formatted(rows_of(compare(ledger), header_of(ledger)), "md") for ledger in (first.ledger, again.ledger)]
    assert tables[0] == tables[1]


def test_a_ledger_without_its_data_is_complete_all_the_same(
    sweep: Make, here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from commons import InputError
    from sparse_training.sweeps import execute

    sweep().run(here)

    def absent(settings: object) -> str:
        raise InputError("no data here")

    monkeypatch.setattr(execute, "data_digest", absent)
    assert sweep().left() == []
    with pytest.raises(InputError, match="no data here"):
        sweep(out="new")


def test_two_sweeps_share_a_ledger_and_their_common_runs(sweep: Make, here: Any, tmp_path: Path) -> None:
    first = sweep()
    first.run(here)
    here.performed.clear()
    text = 'preset = "digits-mlp"\nseeds = 3\n[base]\nepochs = 2\nmask.density = 0.1\nengine.device = "cpu"'
    second = sweep(f"{text}\n[arms]\nrandom = {{}}", name="other.toml", ledger=first.ledger.path)
    second.run(here)
    assert [(job.arm, job.seed) for job in here.performed] == [("random", 2)]
    names = {(run["sweep"], run["arm"], run["seed"]) for run in second.ledger.runs("other")}
    assert names == {("other", "random", seed) for seed in range(3)}
    assert len(second.ledger.runs("small")) == 6


def test_arms_with_the_same_settings_share_a_run(sweep: Make, here: Any) -> None:
    made = sweep("[base]\nepochs = 1\n[arms]\na = {}\nb = {epochs = 1}")
    made.run(here)
    assert len(here.performed) == 1
    assert {line["arm"] for line in made.ledger.runs()} == {"a", "b"}


@pytest.mark.parametrize(("keep", "networks"), [("all", [0, 1, 2]), ("last", [2]), ("none", None)])
def test_what_stays_of_a_folder(sweep: Make, here: Any, keep: str, networks: list[int] | None) -> None:
    made = sweep(keep=keep)
    made.run(here)
    folder = made.jobs[0].folder
    assert (Run(folder).epochs if folder.exists() else None) == networks
    if keep == "last":
        train(Run(folder).config, folder)  # still a finished run
        assert Run(folder).summary


def test_a_run_that_diverges_is_a_result_and_not_a_failure(sweep: Make, here: Any) -> None:
    text = "seeds = 2\nsharpness = 50\n[base]\nepochs = 1\noptimizer.lr = 1e30"
    made = sweep(text)
    assert made.run(here)
    assert [line["diverged"] is not None for line in made.ledger.runs()] == [True, True]
    assert sweep(text).left() == []


def test_sharpness_is_added_to_runs_that_lack_it(sweep: Make, here: Any) -> None:
    text = "[base]\nepochs = 1\nmask.density = 0.1\n"
    sweep(text).run(here)
    measured = sweep(f"sharpness = 50\n{text}")
    assert len(measured.left()) == 1
    measured.run(here)
    (line,) = measured.ledger.runs()
    assert line["sharpness"]["samples"] == 50
    assert line["sharpness"]["value"] > 0
    assert sweep(text).left() == []


TRANSPLANT = """
preset = "digits-mlp"
seeds = 2
[base]
epochs = 4
mask.density = 0.1
engine.device = "cpu"
[arms]
"late signs" = { from = "pruned", start = "signs=epoch:3,magnitudes=random" }
"no signs" = { from = "pruned", start = "signs=random,magnitudes=random", optimizer.lr = 0.05 }
pruned = { method.name = "gmp" }
"""


@pytest.mark.parametrize("keep", ["all", "none"])
def test_a_run_may_start_from_that_of_another_arm(sweep: Make, here: Any, keep: str) -> None:
    made = sweep(TRANSPLANT, keep=keep)
    assert made.run(here)
    jobs = {(job.arm, job.seed): job for job in made.jobs}
    for seed in (0, 1):
        order = [job.arm for job in here.performed if job.seed == seed]
        assert order[0] == "pruned"  # though the file has it last
        (late,), (none,) = (made.ledger.at(jobs[arm, seed].address) for arm in ("late signs", "no signs"))
        assert late["start"]["source"] == jobs["pruned", seed].address
        assert late["start"]["final_signs"] > 0.85 > 0.65 > none["start"]["final_signs"]
        assert late["settings"].get("method") is None
        assert none["settings"]["optimizer"]["lr"] == 0.05
    if keep == "all":
        source, run = (Run(jobs[arm, 0].folder) for arm in ("pruned", "late signs"))
        assert run.masks() == source.masks()
    else:
        assert not any(job.folder.exists() for job in made.jobs)
        assert not list((made.settings.out / "runs").iterdir())


def test_a_start_is_made_again_where_its_source_is_gone(sweep: Make, here: Any, content: Any, tmp_path: Path) -> None:
    whole = sweep(TRANSPLANT, out="whole")
    whole.run(here)
    lines = whole.ledger.path.read_text().splitlines(keepends=True)
    (tmp_path / "part").mkdir()
    kept = [line for line in lines if '"late signs"' not in line or '"kind": "sweep"' in line]
    (tmp_path / "part" / "ledger.jsonl").write_text("".join(kept))
    part = sweep(TRANSPLANT, out="part")
    assert {job.arm for job in part.left()} == {"late signs"}
    assert part.run(here)
    assert content(part.ledger) == content(whole.ledger)


def test_a_run_that_cannot_be_is_named_and_the_others_are_made(sweep: Make, here: Any, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.write_bytes(b"no masks")
    made = sweep(f"[base]\nepochs = 1\n[arms]\nbad = {{mask.file = '{masks}'}}\ngood = {{}}")
    assert made.run(here)
    assert [(line["arm"]) for line in made.ledger.runs()] == ["good"]
    assert "masks" in " ".join(made.failed.values())


def test_a_worker_that_dies_is_replaced_and_a_run_that_kills_it_is_given_up(sweep: Make) -> None:
    made = sweep()
    with Local(2, work=deadly) as executor:
        assert made.run(executor)
    assert {made.jobs[0].address} == set(made.failed)
    assert len(made.finished()) == len(made.jobs) - 1


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device", "/file"), MemoryError()])
def test_a_full_disk_ends_a_run_in_one_line(sweep: Make, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr("sparse_training.sweeps.job._record", Mock(side_effect=error))
    ending, reason = perform(sweep().jobs[0])
    assert ending is Ending.DIED
    assert "No space left" in reason or "not enough memory" in reason
    assert "\n" not in reason


@pytest.mark.parametrize("scale", [1.0, 1e12])
def test_weights_that_all_but_diverged_have_a_curvature(scale: float) -> None:
    """The test loss of such a network is finite, and float32 holds no product with its Hessian."""
    config, model = Config.preset("digits-mlp"), build("mlp", num_classes=10, in_channels=1, image_size=8)
    masks = make_masks(model, 0.1, "random", seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= scale
    run: Any = SimpleNamespace(config=config, model=lambda: deepcopy(model), masks=lambda: masks)
    found = job._sharpness(run, 50)
    batch = config.data.load(augment=False).samples("train", 50, config.seed)
    exact = max_eigenvalue(model, cross_entropy, batch, masks, tol=1e-3, dtype=torch.float64)
    assert found["value"] == pytest.approx(exact.value, rel=2e-3)
    assert (found["samples"], found["converged"]) == (50, True)


def test_the_settings_of_a_line_name_no_place_on_the_machine() -> None:
    config = Config().with_set(["data.name=cifar10-16", "data.root=/somewhere", "epochs=3"])
    assert changed(without_places(config)) == {"epochs": 3, "data": {"name": "cifar10-16"}}


def test_a_worker_has_one_thread_whatever_it_imports_first(sweep: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    with Local(1, work=threads) as executor:
        executor.submit(sweep().jobs[:1])
        (ended,) = executor.wait(60)
    assert ended.reason == "1"
    assert "OMP_NUM_THREADS" not in os.environ


def test_when_time_is_over_states_are_saved_and_the_next_call_goes_on(
    sweep: Make, here: Any, content: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sparse_training.sweeps import execute

    text = '[base]\nepochs = 40\nmask.density = 0.1\nreparam.name = "sign-in"\nengine.device = "cpu"'
    made, now = sweep(text), [0.0]
    monkeypatch.setattr(execute, "time", SimpleNamespace(time=lambda: now[0], monotonic=time.monotonic))

    def look(sweep: Sweep) -> None:
        """Time is over as soon as a run is in the middle."""
        now[0] = any((job.folder / "metrics.jsonl").exists() for job in sweep.running.values())

    with Local(1) as executor:
        assert not made.run(executor, until=1, look=look, seconds=0.05)
    assert any(list((job.folder / "checkpoints").glob("state-*")) for job in made.jobs)
    again, serial = sweep(text), sweep(text, out="serial")
    assert again.run(here)
    serial.run(here)
    assert content(again.ledger) == content(serial.ledger)


def test_the_command(sweep_file: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = str(sweep_file()), str(tmp_path / "out")
    assert parser().execute(["sweep", file, "--out", out, "--plan"]) == 0
    told = capsys.readouterr().out
    assert "Sign-In (reset.every=1)" in told
    assert "6 left" in told
    assert not list((tmp_path / "out").glob("**/metrics.jsonl"))
    assert parser().execute(["sweep", file, "--out", out, "--workers", "2", "--set", "epochs=1"]) == 0
    assert capsys.readouterr().err.count("test accuracy") == 6
    assert len(Ledger(tmp_path / "out" / "ledger.jsonl").runs()) == 6
    parser().execute(["sweep", "status", file, "--out", out, "--set", "epochs=1"])
    assert "6 done, 0 left" in capsys.readouterr().out
    for wrong in (["sweep", file], ["sweep", file, "--out", out, "--until", "soon"], ["sweep", "stauts", file]):
        with pytest.raises(SystemExit):
            parser().execute(wrong)
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_killed_workers_and_a_killed_sweep_change_no_line(sweep: Make, here: Any, content: Any, tmp_path: Path) -> None:
    text = FOUR_ARMS.format(seeds=6, epochs=6)
    serial, killed = sweep(text, out="serial"), sweep(text, out="killed")
    serial.run(here)
    command = [sys.executable, "-m", "sparse_training", "sweep", str(tmp_path / "small.toml"), "--workers", "2"]
    command += ["--out", str(tmp_path / "killed")]

    def lines() -> int:
        killed.ledger.refresh()
        return len(killed.ledger.runs())

    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _until(lambda: lines() >= 3)
    worker = next(pid for pid in _children(process.pid) if "spawn_main" in _command_line(pid))
    os.kill(worker, signal.SIGKILL)
    _until(lambda: lines() >= 8)
    process.kill()
    process.wait()
    assert 8 <= lines() < 24
    _until(lambda: not _children(process.pid))
    again = subprocess.run(command, check=False, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert content(killed.ledger) == content(serial.ledger)
    assert len(killed.ledger.path.read_text().splitlines()) == 25  # one a run, and one of the sweep


def _until(condition: Callable[[], bool]) -> None:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < 120
        time.sleep(0.01)


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def _command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def test_the_standing_of_a_sweep_is_read_by_anyone_from_its_files(sweep: Make, here: Any) -> None:
    from sparse_training.sweeps.progress import standing

    made = sweep()
    made.jobs = made.jobs[:3]
    made.run(here)
    other = sweep()
    folder = other.jobs[3].folder
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.toml").write_text(other.jobs[3].toml)
    (folder / "metrics.jsonl").write_text('{"epoch": 1, "seconds": 100.0}\n{"epoch": 2, "sec')
    seen = standing(other)
    assert (seen.done, seen.left, seen.failed) == (3, 2, 0)
    assert seen.running == (("plain 1", 1, 2),)
    assert seen.seconds is not None
    assert (
        50 < seen.seconds < 150
    )  # the second epoch of "plain", at the mean pace of its runs, and little for the others


def test_signs_are_found_in_an_arm_and_on_the_mask_of_another_run(sweep: Make, here: Any, tmp_path: Path) -> None:
    made = sweep(
        """
        seeds = 1
        [base]
        epochs = 1
        mask.density = 0.2
        engine.device = "cpu"
        [columns]
        "cost %" = "100 * sign_passes / (3 * steps * 128)"
        [arms]
        found = { sign_init.name = "bottom-up", sign_init.samples = 100 }
        source = { method.name = "acdc" }
        transplant = { from = "source", start = "signs=random", sign_init.name = "gradient", sign_init.samples = 100 }
        """
    )
    assert made.run(here)
    runs = {job.arm: (Run(job.folder), made.ledger.at(job.address)[0]) for job in made.jobs}
    passes = {arm: line["metrics"]["sign_passes"] for arm, (_, line) in runs.items()}
    assert passes["found"] > 300
    assert (passes["source"], passes["transplant"]) == (0, 300)
    table = {row["arm"]: row["cost %"] for row in rows_of(compare(made.ledger), header_of(made.ledger))}
    assert table["source"] == "0 ± ?"
    assert float(table["transplant"].split()[0]) == pytest.approx(100 * 300 / (3 * 12 * 128), rel=1e-3)
    assert runs["transplant"][0].masks(0) == runs["source"][0].masks()
