"""A run's folder, as a reader sees it: configuration, metrics, and the merged network of each saved epoch.

Each part is checked against the folder's history when it is read.
"""

import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from commons.checks import InputError, refuse
from commons.files import read_json, unreadable
from sparse_training import models
from sparse_training.masks import Masks
from sparse_training.runs.checkpoint import Network, load_network
from sparse_training.runs.config import Config
from sparse_training.runs.history import CHECKPOINTS, SIGNS, SUMMARY, History, read_metrics, read_summary
from sparse_training.runs.trust import Trust


class Run:
    """The run in a folder, finished or not.

    path: the folder.
    trust: the code that the folder's configuration may have imported, such as a model "package.module:callable", as a
        list of names, or True for any. By default it is none, so that a folder from elsewhere runs nothing.

    Raises:
        InputError: the folder holds no run; or, when a part of it is read, that part is missing, cut short or edited,
            or names code that is not trusted.
    """

    def __init__(self, path: str | Path, trust: Trust = False) -> None:
        self.path = Path(path)
        self.trust = trust
        try:
            found = (self.path / "config.toml").is_file()
        except ValueError:  # a null byte in the name
            found = False
        if not found:
            refuse("run", str(path), "the folder of a run: it has no config.toml")

    @cached_property
    def config(self) -> Config:
        """The complete configuration."""
        self._history.check_file("config.toml")
        return Config.load(self.path / "config.toml", self.trust)

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, commit, device and seed of the process that began the run."""
        self._history.check_file("environment.json")
        return read_json(self.path / "environment.json")

    def metrics(self) -> list[dict[str, Any]]:
        """One dictionary an epoch; accuracies in percent, only `seconds` may differ in a repeated run."""
        return read_metrics(self.path, self._history)

    @property
    def summary(self) -> dict[str, Any]:
        """The last epoch's metrics and the totals; empty until the run is finished."""
        return read_summary(self.path, self._history) or {}

    @property
    def signs_file(self) -> Path:
        """Where the signs are that were recorded in training, which `signs.SignHistory` reads; checked if it exists."""
        path = self.path / SIGNS
        if os.path.lexists(path):
            self._history.check_growing(SIGNS)
        return path

    @property
    def finished(self) -> bool:
        """Whether the last epoch is done."""
        return (self.path / SUMMARY).exists()

    @property
    def epochs(self) -> list[int]:
        """Epochs whose network is saved, ascending; 0 is the start of training."""
        names = (re.fullmatch(r"epoch-(\d{4,9})", path.stem) for path in self._folder.glob("epoch-*.safetensors"))
        return sorted(int(name[1]) for name in names if name)

    def network(self, epoch: int = -1) -> Network:
        """The saved network of an epoch; −1 is the last one saved."""
        epochs = self.epochs
        if not epochs:
            raise InputError(f"run {str(self.path)!r} has no saved network yet")
        chosen = epochs[-1] if epoch == -1 else epoch
        if chosen not in epochs:
            refuse("epoch", epoch, f"saved in {str(self.path)!r}", f"there are {', '.join(map(str, epochs))}")
        path = self._folder / f"epoch-{chosen:04}.safetensors"
        network = load_network(path)
        if network.masks is None or network.info.get("epoch") != chosen or "inputs" not in network.info:
            unreadable(path, f"it holds no network of epoch {chosen} of a run")
        return network

    def weights(self, epoch: int = -1) -> dict[str, Tensor]:
        """θ of the masked weights by parameter name, float32 on the CPU, exactly 0 off the mask."""
        return self.network(epoch).weights()

    def masks(self, epoch: int = -1) -> Masks:
        """The support at an epoch."""
        masks = self.network(epoch).masks
        assert masks is not None
        return masks

    def model(self, epoch: int = -1) -> nn.Module:
        """The plain network of an epoch, in evaluation mode, on the CPU."""
        network = self.network(epoch)
        model = models.build(self.config.model, **network.info["inputs"], seed=self.config.seed)
        try:
            model.load_state_dict(network.state)
        except RuntimeError as error:
            raise InputError(f"the network of {str(self.path)!r} is another: {' '.join(str(error).split())}") from None
        return model.eval()

    @property
    def _history(self) -> History:
        return History(self.path)

    @property
    def _folder(self) -> Path:
        return self.path / CHECKPOINTS
