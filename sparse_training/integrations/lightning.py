"""A callback for Lightning: sparse training whose checkpoints hold masks, factors and the merged network.

    sparse = sparsify(module.network, make_masks(module.network, 0.1, "random"), SignIn())  # before Trainer.fit
    Trainer(callbacks=[SparseCallback(sparse, reset_every=500, merged="out")]).fit(module, data)

`configure_optimizers` is called after it, and so finds the factors.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback
from torch import Tensor

from sparse_training.integrations.session import Session, take_masks
from sparse_training.runs.checkpoint import save_network


class SparseCallback(Session, Callback):  # type: ignore[misc]
    """Sparse training in a Trainer; arguments as in `Session`. Measures go to the module's loggers at each epoch's end.

    merged: where to write the plain network at the end: a folder for a network with `save_pretrained`, which
    `from_pretrained` loads, else a file that `load_network` reads. None writes none.
    """

    def __init__(self, *arguments: Any, merged: str | Path | None = None, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._merged, self._resumed = merged, dict[str, Tensor]()

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Let a checkpoint bring its masks."""
        model: Any = self.sparse.model
        model.register_load_state_dict_pre_hook(take_masks)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Attach to the first optimizer, and go on from the checkpoint that is resumed."""
        steps = int(trainer.estimated_stepping_batches)
        self.begin(trainer.optimizers[0], steps, round(steps / max(trainer.max_epochs or 1, 1)), self._resumed or None)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Reset where one is due."""
        self.after_step()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Measure, and log it through the module."""
        pl_module.log_dict(self.measure())

    def state_dict(self) -> dict[str, Tensor]:
        """What Lightning saves of the callback: as in `Session`, and nothing before training begins."""
        return super().state_dict() if self.attached is not None else {}

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """As in `Session`; before training begins it is kept until the optimizer is there."""
        if self.attached is None:
            self._resumed = dict(state_dict)
        else:
            super().load_state_dict(state_dict)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the merged network."""
        if self._merged is None or not trainer.is_global_zero:
            return
        plain: Any = self.sparse.merge()
        if hasattr(plain, "save_pretrained"):
            plain.save_pretrained(self._merged)
        else:
            save_network(self._merged, self.sparse.state_dict(), self.sparse.masks)
