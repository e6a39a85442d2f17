"""Make the runs of a plan that its ledger lacks, by an executor, until none is left or time is over."""

import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from commons.checks import InputError
from commons.files import complete_lines
from sparse_training.runs.config import Config
from sparse_training.sweeps.addresses import address, data_digest
from sparse_training.sweeps.executor import Executor
from sparse_training.sweeps.job import Ending, Job, adopted, done, thin
from sparse_training.sweeps.ledger import Ledger
from sparse_training.sweeps.plan import Plan, Treatment
from sparse_training.training.loop import preemption
from sparse_training.transplant.origin import Origin, address_of_given, determined

ATTEMPTS = 3  # a run whose worker dies this often without an epoch in between is given up
BUSY_SECONDS = 5.0  # until a run that another process trains is looked at again


@dataclass(frozen=True)
class Settings:
    """How the runs of a plan are made and what stays of them.

    out: folder whose `runs` holds the run folders. ledger: file of the ledger. keep: see `thin`. processes: of torchrun
    for each run. threads: of the CPU for each run whose configuration does not say; 1 keeps workers apart.
    """

    out: Path
    ledger: Path
    keep: str = "all"
    processes: int = 1
    threads: int = 1


def jobs_of(plan: Plan, settings: Settings, ledger: Ledger) -> list[Job]:
    """All runs of a plan, in the order in which they are made: every treatment with the first seed, then the second."""
    address_of = cache(address_of_given)  # for this call: a folder may change between two
    jobs = [
        _job(plan, treatment, seed, settings, ledger, address_of)
        for seed in plan.seeds
        for treatment in plan.treatments
        if treatment.has(seed)
    ]
    sources = _sources(jobs)
    return [replace(job, keep="all") if job.address in sources else job for job in jobs]


def _job(
    plan: Plan, treatment: Treatment, seed: int, settings: Settings, ledger: Ledger, address_of: Callable[[Path], str]
) -> Job:
    config = replace(treatment.config, seed=seed)
    if not config.engine.threads:
        config = replace(config, engine=replace(config.engine, threads=settings.threads))
    digest, origin = _digest(config, ledger), None
    texts = ["", ""]  # what this seed's run starts from, and that with seed 0
    if treatment.source is not None and treatment.start is not None:
        source = _job(plan, treatment.source, seed, settings, ledger, address_of)
        given, choices = treatment.source.given.get(seed), determined(treatment.start, address_of)
        name = address_of(given) if given else source.address
        texts = [json.dumps([each, *choices]) for each in (name, source.treatment)]
        folder = str(given or source.folder)
        origin = Origin(name, folder, source.toml, given is not None, treatment.start, treatment.beside)
    return Job(
        address=address(config, digest, texts[0]),
        sweep=plan.name,
        arm=treatment.arm,
        point=treatment.point,
        seed=seed,
        treatment=address(replace(config, seed=0), digest, texts[1]),
        toml=config.to_toml(),
        epochs=config.epochs * config.method.cycles(config.mask.density),
        digest=digest,
        out=str(settings.out / "runs"),
        ledger=str(settings.ledger),
        keep=settings.keep,
        sharpness=plan.sharpness,
        processes=settings.processes,
        origin=origin,
    )


def _sources(jobs: Iterable[Job]) -> set[str]:
    """Addresses of the runs from which others start."""
    return {job.origin.source for job in jobs if job.origin}


def _digest(config: Config, ledger: Ledger) -> str:
    """Of the data at hand, or, where there are none, of those that the ledger's runs used."""
    try:
        return data_digest(config.data)
    except InputError:
        known = ledger.digests(config.data.name)
        if len(known) != 1:
            raise
        return known.pop()


class Sweep:
    """The runs of a plan and what has become of them.

    plan, settings: what is to be made, and how. jobs: all runs. failed: reasons of runs that are given up in this
    call, by address. needless: gives the addresses of runs that are not needed any more, such as `stopping.resolved`;
    None: all are needed.
    """

    def __init__(
        self, plan: Plan, settings: Settings, needless: Callable[["Sweep"], Collection[str]] | None = None
    ) -> None:
        self.plan, self.settings, self._needless = plan, settings, needless
        self.ledger = Ledger(settings.ledger)
        self.jobs = jobs_of(plan, settings, self.ledger)
        self.failed: dict[str, str] = {}
        self.running: dict[str, Job] = {}
        self._deaths: Counter[str] = Counter()
        self._epochs: dict[str, int] = {}
        self._not_before: dict[str, float] = {}

    def finished(self) -> set[str]:
        """Addresses of the runs that the ledger has."""
        return {job.address for job in self.jobs if any(done(line, job) for line in self.ledger.at(job.address))}

    def left(self) -> list[Job]:
        """Jobs that are neither in the ledger nor running nor given up nor needless, each address once."""
        gone = {*self.finished(), *self.running, *self.failed, *self.needless()}
        return list({job.address: job for job in self.jobs if job.address not in gone}.values())

    def needless(self) -> Collection[str]:
        """Addresses of runs that are not needed any more."""
        return self._needless(self) if self._needless else ()

    def run(
        self,
        executor: Executor,
        until: float | None = None,
        look: Callable[["Sweep"], object] = lambda sweep: None,
        seconds: float = 1.0,
    ) -> bool:
        """Make what is left; returns whether nothing is left, False if `until` (Unix time) or SIGTERM came first.

        executor: where the runs are made. look: called when something has ended and at least every `seconds`.
        """
        self._begin()
        with preemption() as asked:
            while True:
                self.ledger.refresh()
                self._submit(executor)
                look(self)
                if not self.running and not self.left():
                    for source in _sources(self.jobs):
                        thin(self.settings.out / "runs" / source, self.settings.keep)
                    return True
                if asked.is_set() or (until is not None and time.time() >= until):
                    executor.stop()
                    self.running.clear()
                    self.ledger.refresh()
                    return not self.left()
                for ended in executor.wait(seconds):
                    del self.running[ended.job.address]
                    self._after(ended.job, ended.ending, ended.reason)

    def _begin(self) -> None:
        """Say in the ledger what the plan's table is, and give what the ledger has already its name and its place."""
        treatments = []
        for job in self.jobs:
            told = [job.arm, dict(job.point), job.treatment]
            treatments += [told] if told not in treatments else []
        header = self.plan.header("resolved" if self._needless else "") | {"treatments": treatments}
        if self.ledger.sweeps().get(self.plan.name) != header:
            self.ledger.append(header)
        for job in self.jobs:
            if adopted(job, self.ledger):
                thin(job.folder, job.keep)

    def _submit(self, executor: Executor) -> None:
        free = executor.slots - len(self.running)
        now = time.monotonic()
        left = self.left() if free else []
        coming = {*(job.address for job in left), *self.running}  # a run waits for its source
        ready = [
            job
            for job in left
            if self._not_before.get(job.address, 0) <= now and (not job.origin or job.origin.source not in coming)
        ]
        executor.submit(ready[:free])
        self.running |= {job.address: job for job in ready[:free]}

    def _after(self, job: Job, ending: Ending, reason: str) -> None:
        if ending is Ending.DONE:
            self.ledger.refresh()
            for other in self.jobs:  # arms with the same settings share a run
                if other.address == job.address:
                    adopted(other, self.ledger)
        elif ending is Ending.BUSY:
            self._not_before[job.address] = time.monotonic() + BUSY_SECONDS
        elif ending is Ending.REFUSED:
            self.failed[job.address] = reason
        elif ending is Ending.DIED:
            epochs = len(complete_lines(job.folder / "metrics.jsonl"))
            if epochs > self._epochs.get(job.address, 0):  # it went on, so the fault is not the run's
                self._epochs[job.address], self._deaths[job.address] = epochs, 0
            self._deaths[job.address] += 1
            if self._deaths[job.address] >= ATTEMPTS:
                self.failed[job.address] = reason
