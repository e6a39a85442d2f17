"""One run of a sweep, as a worker does it: train, measure, one line in the ledger, and what stays of the folder.

A worker that dies at any moment leaves a folder from which the same job goes on, or a line after which nothing is left
to do.
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commons.checks import InputError
from commons.cli import refusal
from sparse_training.sweeps.ledger import RUN, Ledger, Record

if TYPE_CHECKING:
    from sparse_training.runs.config import Config
    from sparse_training.runs.run import Run
    from sparse_training.transplant.origin import Origin

KEEP = ("all", "last", "none")


class Ending(StrEnum):
    """How a job ended. DONE: its line is in the ledger. STOPPED: its state is saved, and it can go on. BUSY: another
    process trains it. REFUSED: its configuration cannot be met. DIED: its worker did, the machine had too little
    memory or disk for it, or it raised what it should not.
    """

    DONE = "done"
    STOPPED = "stopped"
    BUSY = "busy"
    REFUSED = "refused"
    DIED = "died"


@dataclass(frozen=True)
class Job:
    """A run to make. Everything here can be pickled and is the same on every machine that shares the folder.

    treatment: the address that the run would have with seed 0, which all seeds of a treatment share. toml: the complete
    configuration. epochs: of the whole run. out: folder of the run folders. keep: what stays of the run's folder, one
    of `KEEP`. sharpness: training images for λ_max, 0 for none. processes: of torchrun, 1 for none.
    origin: the run that this one starts from, None for none.
    """

    address: str
    sweep: str
    arm: str
    point: Mapping[str, Any]
    seed: int
    treatment: str
    toml: str
    epochs: int
    digest: str
    out: str
    ledger: str
    keep: str = "all"
    sharpness: int = 0
    processes: int = 1
    origin: "Origin | None" = None

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return Path(self.out) / self.address


def configuration_of(job: Job) -> "Config":
    """The complete configuration of a job, without the start that may come from another run."""
    from sparse_training.runs.config import Config
    from sparse_training.runs.toml import from_toml

    return Config.from_tree(from_toml(job.toml, job.address))


def done(record: Record, job: Job) -> bool:
    """Whether a line says all that a job asks: of a diverged run nothing more can be said."""
    beside = job.origin.beside if job.origin else ()
    if not (job.sharpness or beside) or record["diverged"] is not None:
        return True
    measured = not job.sharpness or (record["sharpness"] or {}).get("samples") == job.sharpness
    return measured and all(cell.text in record["start"].get("differs", {}) for cell in beside)


def perform(job: Job) -> tuple[Ending, str]:
    """Do a job; returns how it ended and, unless it is done, why."""
    from sparse_training.runs.folder import FolderInUseError
    from sparse_training.training.loop import PreemptedError

    ledger = Ledger(job.ledger)
    try:
        if not adopted(job, ledger):
            ledger.append(_record(job))
        thin(job.folder, job.keep)
    except PreemptedError as stopped:
        return Ending.STOPPED, str(stopped)
    except FolderInUseError as busy:
        return Ending.BUSY, str(busy)
    except InputError as mistake:
        return Ending.REFUSED, str(mistake)
    except (OSError, MemoryError, RuntimeError) as error:
        told = refusal(error)
        if told is None:
            raise
        return Ending.DIED, told
    return Ending.DONE, ""


def adopted(job: Job, ledger: Ledger) -> bool:
    """Whether the ledger has the run; where it has it under the name of another sweep or arm, it gets ours too."""
    lines = [line for line in ledger.at(job.address) if done(line, job)]
    own = {"sweep": job.sweep, "arm": job.arm, "point": dict(job.point)}
    if lines and not any(own.items() <= line.items() for line in lines):
        ledger.append({**lines[0], **own})
    return bool(lines)


def thin(folder: Path, keep: str) -> None:
    """Leave of a finished run's folder all, all but the networks before the last one, or nothing."""
    from sparse_training.transplant.origin import start_file

    if keep != "all":
        start_file(folder).unlink(missing_ok=True)
    if keep == "none":
        shutil.rmtree(folder, ignore_errors=True)
    elif keep == "last":
        for network in sorted((folder / "checkpoints").glob("epoch-*.safetensors"))[:-1]:
            network.unlink(missing_ok=True)


def _record(job: Job) -> Record:
    """Train, unless that is done, and measure."""
    from sparse_training.runs.run import Run
    from sparse_training.sweeps.addresses import RESULTS_VERSION, changed
    from sparse_training.training.loop import NonFiniteError
    from sparse_training.transplant.origin import make_start, told_of_start

    config, diverged = configuration_of(job), None
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    if job.origin is not None:
        config = replace(config, start=str(make_start(job.origin, job.address, job.folder)))
    try:
        _train(job, config)
    except NonFiniteError as error:
        diverged = str(error).partition("; last good checkpoint")[0]
    run, begun = Run(job.folder, config.code), time.perf_counter()
    lines = run.metrics()
    numbers = {key: value for key, value in run.summary.items() if key != "seconds"}
    sharpness = _sharpness(run, job.sharpness) if job.sharpness and diverged is None else None
    flips = _flips(job.folder) if diverged is None else None
    environment = {key: run.environment[key] for key in ("versions", "commit", "device")}
    return {
        "kind": RUN,
        "address": job.address,
        "results": RESULTS_VERSION,
        "sweep": job.sweep,
        "arm": job.arm,
        "point": dict(job.point),
        "seed": job.seed,
        "treatment": job.treatment,
        "start": told_of_start(job.origin, job.folder) if job.origin and diverged is None else None,
        "settings": changed(without_places(config)),
        "data": {"name": config.data.name, "digest": job.digest},
        "diverged": diverged,
        "metrics": numbers or None,
        "curve": [line.get("bits_per_byte", line["test_accuracy"]) for line in lines],
        "flips": flips,
        "sharpness": sharpness,
        "environment": environment,
        "seconds": {
            "training": round(sum(line["seconds"] for line in lines), 2),
            "measuring": round(time.perf_counter() - begun, 2),
        },
    }


def without_places(config: "Config") -> "Config":
    """The configuration without what says where on this machine its files lie, and where its preset is from."""
    return replace(config, source="", start="", data=replace(config.data, root=""))


def _train(job: Job, config: "Config") -> None:
    """In this process, or over several of torchrun's."""
    from sparse_training.training.many import train_one

    if job.processes > 1:
        _train_over(job.processes, config, job.folder)
    train_one(config, job.folder)


def _train_over(processes: int, config: "Config", folder: Path) -> None:
    """Train by torchrun, whose first process writes the folder; `train` then finds it finished."""
    import subprocess
    import sys
    import tempfile

    from commons.files import write_text
    from sparse_training.training.loop import PreemptedError, preemption

    file = folder.with_name(f"{folder.name}.toml")
    write_text(file, config.to_toml())
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = ["-m", "sparse_training", "train", "--config", str(file), "--trust", "all", "--out", str(folder)]
    with preemption() as stop, tempfile.TemporaryFile("w+") as errors:
        launched = subprocess.Popen([sys.executable, *launcher, *command], stdout=errors, stderr=errors)
        while launched.poll() is None:
            if stop.wait(0.2):
                launched.terminate()
                launched.wait()
                raise PreemptedError("stopped by a signal; the same command goes on")
        errors.seek(0)
        text = " ".join(errors.read().split())
    file.unlink()
    if launched.returncode:
        raise InputError(f"torchrun ended with status {launched.returncode}: {text[-400:]}")


def _flips(folder: Path) -> dict[str, Any]:
    """Counts by layer, from input to output: see `LayerEpoch`. settled: the epoch after which 1 % still flip."""
    from sparse_training.signs import flip_table, history_of

    table = flip_table(history_of(folder))
    layers = {
        row.layer: [
            *(row.weights, row.active, row.zero),
            *(row.since_init.active, row.since_init.flipped, row.cumulative, row.since_init.same),
        ]
        for row in table.rows
        if row.epoch == table.epochs[-1]
    }
    columns = ["weights", "active", "zero", "compared", "flipped", "flips", "same"]
    return {"columns": columns, "layers": layers, "settled": table.settling()}


def _sharpness(run: "Run", samples: int) -> dict[str, Any]:
    """λ_max of the last network: mean cross-entropy on training images, in θ, on the active weights.

    In float64 where the weights of a run that all but diverged are so large that the curvature overflows float32.
    """
    import torch
    from torch.nn.functional import cross_entropy

    from sparse_training.sharpness import max_eigenvalue

    data = run.config.data.load(augment=False)
    batch = data.samples("train", min(samples, data.n_train), run.config.seed)
    solve = partial(max_eigenvalue, run.model(), cross_entropy, batch, run.masks(), tol=1e-3)
    try:
        pair = solve()
    except InputError:
        pair = solve(dtype=torch.float64)
    return {"samples": samples, "value": pair.value, "error": pair.error, "converged": pair.converged}
