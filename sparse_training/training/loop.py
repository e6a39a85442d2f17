"""`train`: one loop for every method, reparametrization and device, that a kill at any moment does not harm.

What happens at a step follows from the configuration and, at its three moments, from the method.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from commons.checks import InputError
from sparse_training.reparam.speeds import speeds_of
from sparse_training.runs.config import Config
from sparse_training.runs.folder import RunFolder
from sparse_training.seeding import derive, isolated
from sparse_training.training.distributed import joined
from sparse_training.training.passes import computing
from sparse_training.training.record import Metrics, Recorder
from sparse_training.training.setup import Prepared, chosen_device, prepare
from sparse_training.training.state import Progress, pack, unpack
from sparse_training.training.tensorboard import board

STEPS_UNSEEN = 64  # on a device, losses and signals are looked at this seldom, as each look waits for it


class PreemptedError(Exception):
    """A preemption signal came; the state is saved, and the same call goes on from it."""


class NonFiniteError(InputError):
    """The training loss, the test loss or a weight is not a number or infinite."""


@dataclass(frozen=True)
class Summary:
    """The end of a run: its totals and the metrics of its last epoch.

    epochs, steps: how many there were. train_loss, test_loss: mean losses in nats. train_accuracy, test_accuracy: in
    percent. density: share of the prunable weights that are active. seconds: wall time of all epochs. sign_passes:
    forward passes of one sample that the choice of the first signs took. bits_per_byte: of the test, for text.
    """

    epochs: int
    steps: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    density: float
    seconds: float
    sign_passes: int = 0
    bits_per_byte: float | None = None


def train(config: Config, out: str | Path, *, progress: Callable[[Metrics], object] = lambda metrics: None) -> Summary:
    """Train as `config` says in the folder `out`, or go on with what is there; returns at once if it is finished.

    progress: called with the metrics of each epoch, those of an interrupted run included.

    Raises:
        InputError: the folder is in use or holds another run, or the configuration cannot be met.
        NonFiniteError: a loss or a weight is not finite; names the step, the layer and the last good checkpoint.
        PreemptedError: SIGTERM or SIGUSR1 came, and the state is saved.
    """
    device = chosen_device(config)
    with ExitStack() as stack:
        stack.enter_context(computing(config, device))
        world = stack.enter_context(joined(device))
        folder = RunFolder(out, config) if world.first else None
        if folder is not None:
            stack.callback(folder.close)
            if config.tensorboard:
                progress = stack.enter_context(board(folder.path, progress))
        stop = stack.enter_context(preemption())
        stack.enter_context(isolated(derive(config.seed, "training", world.rank)))
        finished = world.broadcast(folder.summary if folder else None)
        if finished:
            for metrics in folder.metrics() if folder else ():
                progress(metrics)
            return Summary(**finished)
        run = prepare(config, device, world)
        so_far = _resumed(run, folder)
        recorder = Recorder(run, folder) if folder else None
        return _Loop(run, recorder, stop, progress, so_far).run()


@contextmanager
def preemption() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGUSR1 set while the block runs; elsewhere than in the main thread nothing sets it."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    signals = (signal.SIGTERM, signal.SIGUSR1)
    before = [signal.signal(number, lambda *_: asked.set()) for number in signals]
    try:
        yield asked
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


def _resumed(run: Prepared, folder: RunFolder | None) -> Progress:
    """Put the training into the last good state of its folder, if there is one; returns the epoch so far."""
    found = run.world.broadcast(folder.load_state() if folder else None)
    if found is None:
        return Progress()
    tensors, info = found
    return unpack(run.training, tensors, info, run.world)


@dataclass
class _Loop:
    """The run between its first and its last step."""

    prepared: Prepared
    recorder: Recorder | None
    stop: threading.Event
    report: Callable[[Metrics], object]
    so_far: Progress

    def run(self) -> Summary:
        """Train all epochs that are left."""
        training = self.prepared.training
        for metrics in self._earlier():
            self.report(metrics)
        self.prepared.world.check_equal(training.sparse.masks)
        while training.step < training.total_steps:
            self._train_epoch()
        return self._finish()

    def _train_epoch(self) -> None:
        """Train from wherever in an epoch the run is to that epoch's end."""
        training, config, world = self.prepared.training, self.prepared.config, self.prepared.world
        begun, epoch = time.perf_counter() - self.so_far.seconds, training.epoch
        first = training.step - epoch * training.steps_per_epoch
        if first == 0 and config.reset.before(epoch):
            training.sparse.reset(training.optimizer)
        batches = self.prepared.data.train(epoch, config.batch_size // world.size, config.seed, world.rank, world.size)
        for x, y in islice(batches, first, None):
            self._step(x, y)
            if training.epoch == epoch and self._asked_to_stop():
                self.so_far.seconds = time.perf_counter() - begun
                self._preempted(x)
        self._check_losses(len(self.so_far.losses), x)
        self._end_epoch(begun)
        if self._asked_to_stop(now=True) and training.step < training.total_steps:
            self._preempted(x)

    def _step(self, x: Tensor, y: Tensor) -> None:
        run, training, config = self.prepared, self.prepared.training, self.prepared.config
        lr = config.optimizer.lr * config.schedule.factor(
            training.step % training.cycle_steps, training.steps_per_epoch, training.cycle_steps
        )
        run.update.set_rate(lr)
        result = run.passes(x, y)
        self.so_far.add(result.loss, result.correct, y.numel())
        every = 1 if result.loss.device.type == "cpu" else STEPS_UNSEEN
        if len(self.so_far.losses) % every == 0:
            self._check_losses(every, x)
        run.world.average(p.grad for p in training.model.parameters() if p.grad is not None)
        if not config.method.on_gradient(training, (x, y)):
            run.update(run.passes.recorded)
        training.step += 1
        config.method.on_step(training)

    def _check_losses(self, newest: int, x: Tensor) -> None:
        """Raise NonFiniteError unless the newest losses are finite; x: the inputs of the last step."""
        if not newest:
            return
        finite = torch.stack(self.so_far.losses[-newest:]).isfinite()
        if bool(finite.all()):
            return
        step = self.prepared.training.step - (len(finite) - int(finite.int().argmin()) - 1)
        layer = self.prepared.passes.first_bad_layer(x)
        self._not_finite(f"the loss is not finite at step {step}", f"first bad layer: {layer}")

    def _check_weights(self) -> None:
        """Raise NonFiniteError unless every weight and buffer of the network is finite."""
        training = self.prepared.training
        state = {name: value for name, value in training.sparse.state_dict().items() if value.is_floating_point()}
        finite = torch.stack([value.isfinite().all() for value in state.values()])
        if not bool(finite.all()):
            layer = list(state)[int(finite.int().argmin())]
            self._not_finite(f"the weights are not finite after step {training.step}", f"first bad tensor: {layer}")

    def _not_finite(self, what: str, where: str) -> NoReturn:
        last = self.recorder.last_state if self.recorder else None
        epoch = self.prepared.training.epoch + 1
        raise NonFiniteError(f"{what} (epoch {epoch}); {where}; last good checkpoint: {last or 'none'}")

    def _end_epoch(self, begun: float) -> None:
        """Evaluate, write the network and the metrics, then the state, which makes the epoch count as done."""
        run, training, config = self.prepared, self.prepared.training, self.prepared.config
        run.world.check_equal(training.sparse.masks)
        self._check_weights()
        loss, accuracy = self.so_far.averages(run.world)
        test_loss, test_accuracy = run.passes.evaluate(run.data, run.world)
        if not math.isfinite(test_loss):
            self._not_finite(f"the test loss is not finite after step {training.step}", "its weights are finite")
        metrics: Metrics = {
            "epoch": training.epoch,
            "step": training.step,
            "lr": run.update.lr,
            "train_loss": loss,
            "train_accuracy": accuracy,
            "test_loss": test_loss,
            "test_accuracy": test_accuracy,
            **run.data.metrics(test_loss),
            "density": training.sparse.masks.density,
            "seconds": time.perf_counter() - begun,
        }
        if config.reparam is not None or config.scaling is not None:
            metrics["speeds"] = speeds_of(training.sparse, training.optimizer)
        self.so_far = Progress()
        if self.recorder:
            self.recorder.epoch(metrics)
        if training.step < training.total_steps and training.epoch % config.checkpoint.resume == 0:
            self._save_state()
        self.report(metrics)

    def _finish(self) -> Summary:
        """Write the summary, which makes the run count as finished."""
        lines = self.prepared.world.broadcast(self._earlier())
        last = lines[-1]
        totals = {
            "epochs": last["epoch"],
            "steps": last["step"],
            "seconds": sum(line["seconds"] for line in lines),
            "sign_passes": self.prepared.sign_passes,
        }
        summary = Summary(**totals, **{f.name: last.get(f.name) for f in fields(Summary) if f.name not in totals})
        if self.recorder:
            self.recorder.finish({name: value for name, value in asdict(summary).items() if value is not None})
        return summary

    def _asked_to_stop(self, now: bool = False) -> bool:
        """Whether any process got a signal; with several processes all of them ask at the same steps."""
        world = self.prepared.world
        if world.size == 1:
            return self.stop.is_set()
        if not now and self.prepared.training.step % STEPS_UNSEEN:
            return False
        return any(world.gather(self.stop.is_set()))

    def _preempted(self, x: Tensor) -> NoReturn:
        """Save the state, if it is good, and end the run; x: the inputs of the last step."""
        step = self.prepared.training.step
        self._check_losses(len(self.so_far.losses), x)
        self._check_weights()
        self._save_state()
        raise PreemptedError(f"stopped by a signal after step {step}; the same command goes on from there")

    def _save_state(self) -> None:
        """Write the state; no process goes on before it is written, as its end would end the others."""
        tensors, info = pack(self.prepared.training, self.so_far, self.prepared.world)
        if self.recorder:
            self.recorder.state(tensors, info)
        self.prepared.world.gather(None)

    def _earlier(self) -> list[Metrics]:
        return self.recorder.metrics() if self.recorder else []
