"""How far a sweep is: runs done, running and left, the epoch of each run in progress, and the time that is left."""

import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import fmean

from commons.checks import refuse
from commons.cli import progress
from commons.files import read_jsonl
from sparse_training.runs.history import result_of
from sparse_training.sweeps.execute import Sweep
from sparse_training.sweeps.job import Job
from sparse_training.sweeps.ledger import Record
from sparse_training.sweeps.plan import label


@dataclass(frozen=True)
class Standing:
    """Where a sweep stands.

    running: label and seed of each run in progress with its finished and all epochs. seconds: expected for what is
    left, summed over the runs; None before the first epoch is done. diverged: of the done.
    """

    done: int
    diverged: int
    running: tuple[tuple[str, int, int], ...]
    left: int
    failed: int
    seconds: float | None

    def __str__(self) -> str:
        parts = [f"{self.done} done" + (f" ({self.diverged} diverged)" if self.diverged else "")]
        if self.running:
            epochs = ", ".join(f"{name}: {epoch}/{of}" for name, epoch, of in self.running)
            parts.append(f"{len(self.running)} running ({epochs})")
        parts.append(f"{self.left} left")
        parts += [f"{self.failed} failed"] if self.failed else []
        return ", ".join(parts)


def standing(sweep: Sweep) -> Standing:
    """Where a sweep stands, from its ledger and its run folders; so another process can ask as well."""
    finished = sweep.finished()
    jobs = {job.address: job for job in sweep.jobs}
    gone = {*finished, *sweep.failed, *(sweep.needless() if not sweep.running else ())}
    left = [job for job in jobs.values() if job.address not in gone]
    begun = {job.address: _epochs(job) for job in left if (job.folder / "config.toml").exists()}
    running = [job for job in left if job.address in (sweep.running or begun)]
    diverged = sum(sweep.ledger.at(address)[0]["diverged"] is not None for address in finished)
    return Standing(
        done=len(finished),
        diverged=diverged,
        running=tuple(
            (f"{label(job.arm, job.point)} {job.seed}", len(begun.get(job.address, ())), job.epochs) for job in running
        ),
        left=len(left) - len(running),
        failed=len(sweep.failed),
        seconds=_seconds_left(sweep, left, begun),
    )


def unfinished(sweep: Sweep) -> list[Record]:
    """A row for each run that has begun and not ended: arm, seed, epochs so far, its last test accuracy, marked so."""
    finished, rows = {*sweep.finished(), *sweep.failed}, []
    for job in {job.address: job for job in sweep.jobs}.values():
        epochs = _epochs(job) if job.address not in finished and (job.folder / "metrics.jsonl").exists() else []
        if epochs:
            so_far = {"epochs": f"{len(epochs)} of {job.epochs}", "test accuracy": epochs[-1]["test_accuracy"]}
            rows.append({"arm": label(job.arm, job.point), "seed": job.seed, **so_far, "state": "unfinished"})
    return rows


def clock(seconds: float) -> str:
    """A duration for people: 90 min, 7.5 h."""
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


def _epochs(job: Job) -> list[Record]:
    """The metrics of a run in progress, without a check of its folder, which another process writes at this moment."""
    return read_jsonl(job.folder / "metrics.jsonl")


def _seconds_left(sweep: Sweep, left: list[Job], begun: Mapping[str, list[Record]]) -> float | None:
    """From the seconds an epoch of each treatment, in the ledger or in progress; for others from their mean."""
    paces: dict[str, list[float]] = {}
    for line in sweep.ledger.runs(sweep.plan.name):
        if line["curve"]:
            pace = sum(line["seconds"].values()) / len(line["curve"])
            paces.setdefault(label(line["arm"], line["point"]), []).append(pace)
    for job in left:
        if begun.get(job.address):
            paces.setdefault(label(job.arm, job.point), []).append(fmean(m["seconds"] for m in begun[job.address]))
    if not paces:
        return None
    usual = [fmean(values) for values in paces.values()]
    epochs = {job.address: job.epochs - len(begun.get(job.address, ())) for job in left}
    return sum(fmean(paces.get(label(job.arm, job.point), usual)) * epochs[job.address] for job in left)


class Reporter:
    """Tells of a sweep on stderr: on a terminal a bar that is kept up to date, elsewhere a line for each run that ends.

    It is called with the sweep, as `Sweep.run` does, and is a context manager.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._known: set[str] | None = None
        self._bar = progress() if sys.stderr.isatty() else None
        self._task = self._bar.add_task("runs", total=None) if self._bar else None

    def __enter__(self) -> "Reporter":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def __call__(self, sweep: Sweep) -> None:
        """Tell what is new."""
        finished = sweep.finished()
        new, self._known = finished - (finished if self._known is None else self._known), finished
        if not new and self._bar is None:
            return
        now = standing(sweep)
        left = "" if now.seconds is None else f", about {clock(now.seconds / self._workers)} to go"
        for address in new:
            line = sweep.ledger.at(address)[0]
            text = f"{time.strftime('%m-%d %H:%M:%S')} {label(line['arm'], line['point'])}, seed {line['seed']}: "
            result = line["diverged"] or result_of(line["metrics"])
            text += f"{result}, {clock(sum(line['seconds'].values()))}; {now}{left}"
            if self._bar:
                self._bar.console.print(text, highlight=False, soft_wrap=True)
            else:
                print(text, file=sys.stderr, flush=True)
        if self._bar and self._task is not None:
            total = now.done + len(now.running) + now.left
            self._bar.update(self._task, completed=now.done, total=total, description=f"{now}{left}")


def moment(argument: str, text: str) -> float:
    """Unix time of `18:30` (the next one), `2026-12-24T18:30`, or `90m`, `2h`, `45s` from now.

    Raises:
        InputError: the text is none of these.
    """
    now = datetime.now().astimezone()
    span = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if span:
        return now.timestamp() + float(span[1]) * {"s": 1, "m": 60, "h": 3600}[span[2]]
    clock_time = re.fullmatch(r"(\d\d?):(\d\d)", text)
    try:
        if clock_time:
            at = now.replace(hour=int(clock_time[1]), minute=int(clock_time[2]), second=0, microsecond=0)
            return (at if at > now else at + timedelta(days=1)).timestamp()
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError:
        refuse(argument, text, "a time such as 18:30, 2026-12-24T18:30, 90m or 2h")
