"""A run's folder, as a reader sees it: configuration, metrics, and the merged network of each saved epoch.

It never writes; engine.py does.
"""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from commons.checks import InputError, refuse
from commons.files import complete_lines
from sparse_training import models
from sparse_training.masks import Masks
from sparse_training.runs.checkpoint import Network, load_network
from sparse_training.runs.config import Config


class Run:
    """The run in a folder, finished or not.

    Raises:
        InputError: the folder holds no run.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / "config.toml").is_file():
            refuse("run", str(path), "the folder of a run: it has no config.toml")

    @cached_property
    def config(self) -> Config:
        """The complete configuration."""
        return Config.load(self.path / "config.toml")

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, commit, device and seed of the process that began the run."""
        content: dict[str, Any] = json.loads((self.path / "environment.json").read_text(encoding="utf-8"))
        return content

    def metrics(self) -> list[dict[str, Any]]:
        """One dictionary an epoch; accuracies in percent, only `seconds` may differ in a repeated run."""
        return [json.loads(line) for line in complete_lines(self.path / "metrics.jsonl")]

    @property
    def summary(self) -> dict[str, Any]:
        """The last epoch's metrics and the totals; empty until the run is finished."""
        path = self.path / "summary.json"
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return content

    @property
    def finished(self) -> bool:
        """Whether the last epoch is done."""
        return (self.path / "summary.json").exists()

    @property
    def epochs(self) -> list[int]:
        """Epochs whose network is saved, ascending; 0 is the start of training."""
        return sorted(int(path.stem.removeprefix("epoch-")) for path in self._folder.glob("epoch-*.safetensors"))

    def network(self, epoch: int = -1) -> Network:
        """The saved network of an epoch; −1 is the last one saved."""
        epochs = self.epochs
        if not epochs:
            raise InputError(f"run {str(self.path)!r} has no saved network yet")
        chosen = epochs[-1] if epoch == -1 else epoch
        if chosen not in epochs:
            refuse("epoch", epoch, f"saved in {str(self.path)!r}", f"there are {', '.join(map(str, epochs))}")
        return load_network(self._folder / f"epoch-{chosen:04}.safetensors")

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
        model.load_state_dict(network.state)
        return model.eval()

    @property
    def _folder(self) -> Path:
        return self.path / "checkpoints"
