"""What a run writes into its folder while it trains: signs, networks, metrics, states, and the summary."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from sparse_training.runs.checkpoint import save_network
from sparse_training.runs.folder import DATA, RunFolder
from sparse_training.signs import SignTracker
from sparse_training.training.setup import Prepared

Metrics = dict[str, Any]


class Recorder:
    """The writer of a run's folder, which only the first of several processes has.

    run: a training at its first step or where its last state left it; what the folder holds beyond that is dropped,
    and at the first step the start is written. folder: where to.
    """

    def __init__(self, run: Prepared, folder: RunFolder) -> None:
        self._run, self._folder = run, folder
        folder.forget_after(run.training.epoch)
        if run.data.record:
            folder.keep(DATA, run.data.record, anew=run.training.step == 0)
        self._signs = SignTracker(run.training.sparse, folder.path / "signs.bin")
        if run.training.step == 0:
            self._signs.record(0)
            self._save_network()

    @property
    def last_state(self) -> Path | None:
        """The file of the newest state, or None."""
        return self._folder.last_state

    def metrics(self) -> list[Metrics]:
        """The metrics of the epochs written so far."""
        return self._folder.metrics()

    def epoch(self, metrics: Metrics) -> None:
        """Write an epoch's signs, its network where one is due, and its metrics."""
        training, every = self._run.training, self._run.config.checkpoint.every
        self._signs.record(training.epoch)
        if training.step == training.total_steps or training.epoch % every == 0:
            self._save_network()
        self._folder.append_metrics(metrics)

    def state(self, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
        """Write what the run needs to go on from the present step."""
        self._folder.save_state(self._run.training.step, tensors, info)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the summary, after which the run counts as finished."""
        self._folder.finish(summary)

    def _save_network(self) -> None:
        training, inputs = self._run.training, self._run.data.inputs
        path, sparse = self._folder.network_file(training.epoch), training.sparse
        save_network(path, sparse.state_dict(), sparse.masks, epoch=training.epoch, inputs=inputs)
