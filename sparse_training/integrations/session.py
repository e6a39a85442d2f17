"""`Session`: what every callback does: attach a method, reset, measure, save and restore."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from commons.checks import number, refuse
from sparse_training.integrations.measures import Measures
from sparse_training.methods import Attached, Method, Static
from sparse_training.reparam import Factors, Sparse
from sparse_training.tensor_files import prefixed, read_tensors, section, write_tensors


class Session:
    """A sparse network in a loop that others run; the base of their callbacks.

    sparse: the network, sparsified before the framework builds its optimizer. method: a training method; None keeps
    the masks. density: what it ends at; None for that of the masks. reset_every: optimizer steps between resets of the
    reparametrization; 0 is never. last_reset: the step of the last one; 0 for no last. sharpness: as of `Measures`.
    log: called with each dict of measures, beside what the framework does with it. seed: of what the method draws.

    Raises:
        InputError: a number out of range.
    """

    def __init__(
        self,
        sparse: Sparse,
        method: Method | None = None,
        *,
        density: float | None = None,
        reset_every: int = 0,
        last_reset: int = 0,
        sharpness: tuple[Any, Any] | None = None,
        log: Callable[[dict[str, float]], object] | None = None,
        seed: int = 0,
    ) -> None:
        number("reset_every", reset_every, at_least=0, integer=True)
        number("last_reset", last_reset, at_least=0, integer=True)
        self.sparse, self.method, self._density, self._seed = sparse, method or Static(), density, seed
        self._every, self._last, self._log = reset_every, last_reset, log
        self.method.prepare(sparse)
        self.measures = Measures(sparse, sharpness)
        self.attached: Attached | None = None
        self._seen = 0

    def begin(
        self,
        optimizer: torch.optim.Optimizer,
        total_steps: int,
        steps_per_epoch: int,
        state: Mapping[str, Tensor] | None = None,
    ) -> Attached:
        """Attach to the optimizer of a loop of total_steps steps, steps_per_epoch an epoch, as in `Method.attach`.

        The optimizer may be a wrapper of another, such as accelerate's. state: what `state_dict` gave, by name, to go
        on from; None begins. InputError is raised as there.
        """
        while hasattr(optimizer, "optimizer"):  # a wrapper, such as accelerate's
            optimizer = optimizer.optimizer
        self.attached = self.method.attach(
            self.sparse,
            optimizer,
            total_steps,
            density=self._density,
            steps_per_epoch=max(1, steps_per_epoch),
            seed=self._seed,
            state=state,
        )
        if state is not None:
            self._load_factors(state)
        return self.attached

    def after_step(self) -> None:
        """Reset where one is due; to be called after each step of the optimizer, or more often."""
        assert self.attached is not None
        training = self.attached.training
        due = self._every and training.step != self._seen and training.step % self._every == 0
        self._seen = training.step
        if due and training.step < training.total_steps and (not self._last or training.step <= self._last):
            self.sparse.reset(training.optimizer)

    def measure(self) -> dict[str, float]:
        """The measures of now, which go to `log` as well."""
        found = self.measures(self.attached.training.optimizer if self.attached else None)
        if self._log is not None:
            self._log(found)
        return found

    def state_dict(self) -> dict[str, Tensor]:
        """Masks, step and random stream of the method, and the factors: what a merged checkpoint does not have."""
        assert self.attached is not None
        plain = set(self.sparse.state_dict())
        own = {name: value for name, value in self.sparse.model.state_dict().items() if name not in plain}
        # A shared weight has several names, of which one is enough.
        once = {(value.data_ptr(), value.shape): name for name, value in reversed(own.items())}
        return self.attached.state_dict() | prefixed("model", {name: own[name] for name in once.values()})

    def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
        """Go on from what `state_dict` gave, by name; the rest of the network is loaded already."""
        assert self.attached is not None
        self.attached.load_state_dict(state_dict)
        self._load_factors(state_dict)

    def _load_factors(self, state_dict: Mapping[str, Tensor]) -> None:
        self.sparse.model.load_state_dict(section(state_dict, "model"), strict=False)

    def save(self, path: Path) -> None:
        """Write `state_dict` as a safetensors file with a digest."""
        write_tensors(path, self.state_dict(), {"kind": "session"})

    def load(self, path: Path) -> None:
        """Go on from what `save` wrote; InputError names a file that is missing or damaged."""
        self.load_state_dict(saved_state(path))


def saved_state(path: Path) -> dict[str, Tensor]:
    """What `Session.save` wrote, by name.

    Raises:
        InputError: the file is missing or damaged.
    """
    if not path.exists():
        refuse("resume", str(path), "a file that the callback wrote beside the checkpoint")
    return read_tensors(path)[0]


def take_masks(module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Take the masks that a state of the same network brings with its factors; a hook before that state is loaded."""
    for name, chart in module.named_modules():
        mask = state_dict.get(f"{prefix}{name}.mask")
        if isinstance(chart, Factors) and mask is not None and mask.shape == chart.mask.shape:
            chart.mask.copy_(mask)


def leave_factors(module: nn.Module, state_dict: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Leave out the plain weights of a state where factors write them; a hook before that state is loaded."""
    for name, owner in module.named_modules():
        for attribute in getattr(owner, "parametrizations", ()) if parametrize.is_parametrized(owner) else ():
            state_dict.pop(f"{prefix}{name}.{attribute}".lstrip("."), None)
