"""What a run needs to go on bit for bit from the middle of an epoch, as tensors and JSON, and back.

runs/folder.py writes them to a file and reads them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from commons.checks import InputError
from sparse_training.masks import Masks
from sparse_training.methods import Training
from sparse_training.tensor_files import prefixed, section
from sparse_training.training.distributed import World

Tensors = dict[str, Tensor]
Number = int | float  # a bool is an int


@dataclass
class Progress:
    """The epoch so far: of each step the mean loss, the number of right answers and of labels; its wall time in s."""

    losses: list[Tensor] = field(default_factory=list)
    correct: list[Tensor] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, loss: Tensor, correct: Tensor, size: int) -> None:
        """One step more."""
        self.losses.append(loss)
        self.correct.append(correct)
        self.sizes.append(size)

    def averages(self, world: World) -> tuple[float, float]:
        """Mean loss in nats and accuracy in percent over all labels and processes."""
        losses = torch.stack(self.losses).double()
        sizes = torch.tensor(self.sizes, dtype=torch.float64, device=losses.device)
        sums = torch.stack((losses @ sizes, torch.stack(self.correct).sum().double(), sizes.sum()))
        loss, correct, size = world.sum(sums).tolist()
        return loss / size, 100 * correct / size


def pack(training: Training, progress: Progress, world: World) -> tuple[Tensors, dict[str, Any]]:
    """The state of a run as tensors and JSON values.

    It holds the network, its masks, the optimizer's state, the method's memory and random stream, and of every process
    the random states and the epoch so far.

    Raises:
        InputError: the optimizer keeps something else than tensors and numbers, which would be lost.
    """
    tensors = prefixed("model", training.model.state_dict())
    tensors |= prefixed("mask", training.sparse.masks)
    numbers: dict[str, dict[str, Number]] = {}
    for name, parameter in training.model.named_parameters():
        held, numbers[name] = _parts(training.optimizer, training.optimizer.state.get(parameter, {}))
        tensors |= prefixed(f"optimizer/{name}", held)
    tensors |= prefixed("method", training.memory)
    tensors["generator"] = training.generator.get_state()
    for rank, own in enumerate(world.gather(_own(training.sparse.device, progress))):
        tensors |= prefixed(f"process{rank}", own)
    groups = [
        {key: value for key, value in group.items() if isinstance(value, int | float)}
        for group in training.optimizer.param_groups
    ]
    optimizer = {"numbers": {name: own for name, own in numbers.items() if own}, "groups": groups}
    return tensors, {"sizes": progress.sizes, "seconds": progress.seconds, "optimizer": optimizer}


def unpack(training: Training, tensors: Tensors, info: dict[str, Any], world: World) -> Progress:
    """Put a freshly prepared training into the state that `pack` described, and return the epoch so far.

    Tensors of the optimizer that have the shape of their parameter get its memory layout, because a sum over another
    layout could round differently.
    """
    training.step = info["step"]
    training.sparse.load_masks(Masks(section(tensors, "mask")))
    training.model.load_state_dict(section(tensors, "model"))
    _restore_optimizer(training, section(tensors, "optimizer"), info.get("optimizer", {}))
    training.memory.clear()
    training.memory.update(section(tensors, "method"))
    training.generator.set_state(tensors["generator"])
    own = section(tensors, f"process{world.rank}")
    torch.set_rng_state(own["rng"])
    device = training.sparse.device
    if device.type == "cuda":
        torch.cuda.set_rng_state(own["rng_cuda"], device)
    losses, correct = own["losses"].to(device), own["correct"].to(device)
    return Progress(list(losses), list(correct), info["sizes"], info["seconds"])


def _own(device: torch.device, progress: Progress) -> Tensors:
    """The part of the state in which processes differ."""
    own = {
        "rng": torch.get_rng_state(),
        "losses": torch.stack(progress.losses).cpu() if progress.losses else torch.empty(0),
        "correct": torch.stack(progress.correct).cpu() if progress.correct else torch.empty(0, dtype=torch.int64),
    }
    if device.type == "cuda":
        own["rng_cuda"] = torch.cuda.get_rng_state(device)
    return own


def _parts(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> tuple[Tensors, dict[str, Number]]:
    """The tensors and the numbers of an optimizer's state of one parameter."""
    for key, value in state.items():
        if not isinstance(value, Tensor | int | float | None):
            name = type(optimizer).__name__
            raise InputError(f"{name} keeps {key!r} as {type(value).__name__}, but only tensors and numbers are saved")
    held = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    return held, {key: value for key, value in state.items() if isinstance(value, int | float)}


def _restore_optimizer(training: Training, tensors: Tensors, info: Mapping[str, Any]) -> None:
    """Give the optimizer its state back; info is empty in states from before numbers were saved."""
    steps_there = {
        id(parameter)
        for group in training.optimizer.param_groups
        if group.get("capturable") or group.get("fused")  # which read their count of steps on the device
        for parameter in group["params"]
    }
    for name, parameter in training.model.named_parameters():
        state = training.optimizer.state[parameter]
        state.update(info.get("numbers", {}).get(name, {}))
        for key, value in section(tensors, name).items():
            if value.shape == parameter.shape:
                state[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
            else:
                state[key] = value.to(parameter.device) if value.dim() or id(parameter) in steps_there else value
    for group, saved in zip(training.optimizer.param_groups, info.get("groups", []), strict=False):
        group.update(saved)
