"""A callback for the Trainer of transformers: sparse training whose checkpoints are ordinary ones.

    sparse = sparsify(model, make_masks(model, 0.1, "magnitude"), SignIn())  # before Trainer: it builds the optimizer
    callback = SparseCallback(sparse, reset_every=500)
    Trainer(model, arguments, train_dataset=data, callbacks=[callback]).train()

Every checkpoint, `save_model` and `model.save_pretrained` hold the merged network, which `from_pretrained` loads.
Beside it lies sparse.safetensors with masks and factors, from which training goes on bit for bit.
"""

from pathlib import Path
from types import MethodType
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback

from sparse_training.integrations.session import Session, leave_factors, saved_state

FILE = "sparse.safetensors"


class SparseCallback(Session, TrainerCallback):  # type: ignore[misc]
    """Sparse training in a Trainer; arguments as in `Session`. Measures go to the log history at each logging step.

    resume_from: the checkpoint's folder, where training resumes from one outside of the output folder.
    """

    def __init__(self, *arguments: Any, resume_from: str | Path | None = None, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._resume_from = resume_from
        model: Any = self.sparse.model
        model.register_load_state_dict_pre_hook(leave_factors)

        def save_pretrained(itself: nn.Module, directory: Any, *_: Any, state_dict: Any = None, **options: Any) -> None:
            plain: Any = self.sparse.merge() if itself is model else itself
            type(plain).save_pretrained(plain, directory, **options)

        model.save_pretrained = MethodType(save_pretrained, model)  # a copy of the model binds it to itself

    def on_train_begin(self, args: Any, state: Any, control: Any, *, optimizer: Any, **_: Any) -> None:
        """Attach to the optimizer, and go on from the checkpoint that is resumed."""
        folder = self._resume_from or Path(args.output_dir) / f"checkpoint-{state.global_step}"
        resumed = saved_state(Path(folder) / FILE) if state.global_step else None
        self.begin(optimizer, state.max_steps, round(state.max_steps / max(args.num_train_epochs, 1)), resumed)

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Reset where one is due."""
        self.after_step()

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Measure, and add it to the log history."""
        state.log_history.append({"step": state.global_step, **self.measure()})

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write masks and factors into the checkpoint."""
        if state.is_world_process_zero:
            self.save(Path(args.output_dir) / f"checkpoint-{state.global_step}" / FILE)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take the factors of the best checkpoint, where the Trainer took the rest of it."""
        if args.load_best_model_at_end and state.best_model_checkpoint:
            with torch.no_grad():
                self.load(Path(state.best_model_checkpoint) / FILE)
