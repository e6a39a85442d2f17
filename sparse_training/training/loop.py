"""`train`: one loop for every method, reparametrization and device, that a kill at any moment does not harm.

It chooses nothing: what happens at a step is the configuration's, and a method's at its three moments.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from commons.checks import InputError
from sparse_training.runs.checkpoint import save_network
from sparse_training.runs.config import Config
from sparse_training.runs.folder import RunFolder
from sparse_training.seeding import derive, isolated
from sparse_training.signs import SignTracker
from sparse_training.training.distributed import World, joined
from sparse_training.training.passes import Outcome, Passes, computing
from sparse_training.training.setup import chosen_device, prepare
from sparse_training.training.state import Progress, pack, unpack
from sparse_training.training.tensorboard import board

Metrics = dict[str, Any]
STEPS_UNSEEN = 64  # on a device, losses and signals are looked at this seldom, as each look waits for it


class PreemptedError(Exception):
    """A preemption signal came; the state is saved, and the same call goes on from it."""


class NonFiniteError(InputError):
    """The training loss is not a number or infinite."""


@dataclass(frozen=True)
class Summary:
    """The end of a run: the last epoch's metrics (losses in nats, accuracies in percent), density and totals."""

    epochs: int
    steps: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    density: float
    seconds: float


def train(config: Config, out: str | Path, *, progress: Callable[[Metrics], object] = lambda metrics: None) -> Summary:
    """Train as configured in the folder `out`, or go on with what is there; returns at once if it is finished.

    progress: called with the metrics of each epoch, those of an interrupted run included.

    Raises:
        InputError: the folder is in use or holds another run, or the configuration cannot be met.
        NonFiniteError: the loss is not finite; names the step, the layer and the last good checkpoint.
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
        return _Loop(config, device, world, folder, stop, progress).run()


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


class _Loop:
    """The run between its first and its last step."""

    def __init__(
        self,
        config: Config,
        device: torch.device,
        world: World,
        folder: RunFolder | None,
        stop: threading.Event,
        progress: Callable[[Metrics], object],
    ) -> None:
        self._config, self._device, self._world, self._folder = config, device, world, folder
        self._stop, self._report = stop, progress
        self._summary = world.broadcast(folder.summary if folder else None)
        if self._summary:
            return
        self._training, self._method = prepare(config, device, world)
        self._training.dense_gradient = self._dense_gradient
        self._passes = Passes(self._training.model, config, device, config.batch_size // world.size)
        self._epoch = Progress()

    def run(self) -> Summary:
        """All epochs that are left."""
        if self._summary:
            for metrics in self._earlier():
                self._report(metrics)
            return Summary(**self._summary)
        self._resume()
        self._world.check_equal(self._training.sparse.masks)
        while self._training.step < self._training.total_steps:
            self._train_epoch()
        return self._finish()

    def _resume(self) -> None:
        """Go to the last good state, or to the start; what was written after it is dropped."""
        training, found = self._training, self._folder.load_state() if self._folder else None
        found = self._world.broadcast(found)
        if found is not None:
            tensors, info = found
            self._epoch = unpack(training, self._method, tensors, info, self._world)
        if self._folder:
            self._folder.forget_after(training.epoch)
            self._signs = SignTracker(training.sparse, self._folder.path / "signs.bin")
            if found is None:
                self._signs.record(0)
                self._save_network()
        for metrics in self._earlier():
            self._report(metrics)

    def _train_epoch(self) -> None:
        """From wherever in an epoch the run is to that epoch's end."""
        training, config, world = self._training, self._config, self._world
        begun, epoch = time.perf_counter() - self._epoch.seconds, training.epoch
        first = training.step - epoch * training.steps_per_epoch
        if first == 0 and config.reset.before(epoch):
            training.sparse.reset(training.optimizer)
        batches = training.data.train(epoch, config.batch_size // world.size, config.seed, world.rank, world.size)
        for x, y in islice(batches, first, None):
            self._step(x, y)
            if training.epoch == epoch and self._asked_to_stop():
                self._epoch.seconds = time.perf_counter() - begun
                self._preempted()
        self._end_epoch(begun)
        if self._asked_to_stop(now=True) and training.step < training.total_steps:
            self._preempted()

    def _step(self, x: Tensor, y: Tensor) -> None:
        training, config, self._batch = self._training, self._config, (x, y)
        lr = config.optimizer.lr * config.schedule.factor(
            training.step % training.cycle_steps, training.steps_per_epoch, training.cycle_steps
        )
        for group in training.optimizer.param_groups:
            group["lr"] = lr
        outcome = self._passes(x, y)
        self._record(outcome, len(y))
        self._world.average(p.grad for p in training.model.parameters() if p.grad is not None)
        if not self._method.on_gradient(training):
            if config.clip:
                training.sparse.mask_gradients()
                torch.nn.utils.clip_grad_norm_(training.model.parameters(), config.clip)
            training.optimizer.step()
            training.sparse.after_step(training.optimizer)
        training.step += 1
        self._method.on_step(training)

    def _dense_gradient(self) -> dict[str, Tensor]:
        sparse = self._training.sparse
        gradients = sparse.dense_gradient(lambda: self._passes.loss(*self._batch))
        if sparse.reparametrized:
            self._world.average(gradients.values())
        return gradients

    def _record(self, outcome: Outcome, size: int) -> None:
        """Keep the outcome of a step; losses on a device are looked at in batches."""
        self._epoch.add(outcome.loss, outcome.correct, size)
        if self._device.type == "cpu" or len(self._epoch.losses) % STEPS_UNSEEN == 0:
            self._check_losses(1 if self._device.type == "cpu" else STEPS_UNSEEN)

    def _check_losses(self, newest: int) -> None:
        finite = torch.stack(self._epoch.losses[-newest:]).isfinite()
        if bool(finite.all()):
            return
        ago = len(finite) - int(finite.int().argmin()) - 1
        layer = self._passes.first_bad_layer(self._batch[0])
        last = self._folder.last_state if self._folder else None
        raise NonFiniteError(
            f"the loss is not finite at step {self._training.step - ago} (epoch {self._training.epoch + 1}); "
            f"first bad layer: {layer}; last good checkpoint: {last or 'none'}"
        )

    def _end_epoch(self, begun: float) -> None:
        """Evaluate, write the network and the metrics, then the state, which makes the epoch count as done."""
        training, config, world = self._training, self._config, self._world
        self._check_losses(len(self._epoch.losses))
        world.check_equal(training.sparse.masks)
        loss, accuracy = self._epoch.averages(world)
        test_loss, test_accuracy = self._passes.evaluate(training.data, world)
        metrics = {
            "epoch": training.epoch,
            "step": training.step,
            "lr": training.optimizer.param_groups[0]["lr"],
            "train_loss": loss,
            "train_accuracy": accuracy,
            "test_loss": test_loss,
            "test_accuracy": test_accuracy,
            "density": training.sparse.masks.density,
            "seconds": time.perf_counter() - begun,
        }
        self._epoch = Progress()
        last = training.step == training.total_steps
        if self._folder:
            self._signs.record(training.epoch)
            if last or training.epoch % config.checkpoint.every == 0:
                self._save_network()
            self._folder.append_metrics(metrics)
        if not last and training.epoch % config.checkpoint.resume == 0:
            self._save_state()
        self._report(metrics)

    def _finish(self) -> Summary:
        """Write the summary, which makes the run count as finished."""
        lines = self._world.broadcast(self._earlier())
        last = lines[-1]
        summary = Summary(
            epochs=last["epoch"],
            steps=last["step"],
            seconds=sum(line["seconds"] for line in lines),
            **{f.name: last[f.name] for f in fields(Summary) if f.name not in ("epochs", "steps", "seconds")},
        )
        if self._folder:
            self._folder.finish(asdict(summary))
        return summary

    def _asked_to_stop(self, now: bool = False) -> bool:
        """Whether any process got a signal; with several processes all of them ask at the same steps."""
        if self._world.size == 1:
            return self._stop.is_set()
        if not now and self._training.step % STEPS_UNSEEN:
            return False
        return any(self._world.gather(self._stop.is_set()))

    def _preempted(self) -> None:
        self._save_state()
        raise PreemptedError(
            f"stopped by a signal after step {self._training.step}; the same command goes on from there"
        )

    def _save_network(self) -> None:
        training = self._training
        assert self._folder is not None
        channels, size, _ = training.data.shape
        inputs = {"in_channels": channels, "image_size": size, "num_classes": training.data.num_classes}
        path = self._folder.network_file(training.epoch)
        sparse = training.sparse
        save_network(path, sparse.state_dict(), sparse.masks, epoch=training.epoch, inputs=inputs)

    def _save_state(self) -> None:
        tensors, info = pack(self._training, self._method, self._epoch, self._world)
        if self._folder:
            self._folder.save_state(self._training.step, tensors, info)

    def _earlier(self) -> list[Metrics]:
        return self._folder.metrics() if self._folder else []
