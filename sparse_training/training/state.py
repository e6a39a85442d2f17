"""What a run needs to go on bit for bit from the middle of an epoch, as tensors and JSON, and back.

It touches no file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sparse_training.masks import Masks
from sparse_training.methods import Method, Training
from sparse_training.training.distributed import World

Tensors = dict[str, Tensor]


@dataclass
class Progress:
    """The epoch so far: each step's mean loss, number of right answers and number of images; wall time in seconds."""

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
        """Mean loss in nats and accuracy in percent over all images and processes."""
        losses = torch.stack(self.losses).double()
        sizes = torch.tensor(self.sizes, dtype=torch.float64, device=losses.device)
        sums = torch.stack((losses @ sizes, torch.stack(self.correct).sum().double(), sizes.sum()))
        loss, correct, size = world.sum(sums).tolist()
        return loss / size, 100 * correct / size


def pack(training: Training, method: Method, progress: Progress, world: World) -> tuple[Tensors, dict[str, Any]]:
    """Network, masks, optimizer, method, random states and the epoch so far; of several processes, all of them."""
    tensors = _prefixed("model", training.model.state_dict())
    tensors |= _prefixed("mask", training.sparse.masks)
    for name, state in _optimizer_state(training).items():
        tensors |= _prefixed(f"optimizer/{name}", state)
    tensors |= _prefixed("method", method.state_dict())
    tensors["generator"] = training.generator.get_state()
    for rank, own in enumerate(world.gather(_own(training.device, progress))):
        tensors |= _prefixed(f"process{rank}", own)
    return tensors, {"sizes": progress.sizes, "seconds": progress.seconds}


def unpack(training: Training, method: Method, tensors: Tensors, info: dict[str, Any], world: World) -> Progress:
    """Put a freshly prepared training where `pack` found the one it was given; returns the epoch so far."""
    training.step = info["step"]
    training.sparse.load_masks(Masks(_section(tensors, "mask")))
    training.model.load_state_dict(_section(tensors, "model"))
    saved = _section(tensors, "optimizer")
    for name, parameter in training.model.named_parameters():
        state = training.optimizer.state[parameter]
        for key, value in _section(saved, name).items():
            if value.shape == parameter.shape:
                state[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
            else:
                state[key] = value
    method.load_state_dict(_section(tensors, "method"))
    training.generator.set_state(tensors["generator"])
    own = _section(tensors, f"process{world.rank}")
    torch.set_rng_state(own["rng"])
    if training.device.type == "cuda":
        torch.cuda.set_rng_state(own["rng_cuda"], training.device)
    losses, correct = own["losses"].to(training.device), own["correct"].to(training.device)
    return Progress(list(losses), list(correct), info["sizes"], info["seconds"])


def _own(device: torch.device, progress: Progress) -> Tensors:
    """What differs between processes."""
    own = {
        "rng": torch.get_rng_state(),
        "losses": torch.stack(progress.losses).cpu() if progress.losses else torch.empty(0),
        "correct": torch.stack(progress.correct).cpu() if progress.correct else torch.empty(0, dtype=torch.int64),
    }
    if device.type == "cuda":
        own["rng_cuda"] = torch.cuda.get_rng_state(device)
    return own


def _optimizer_state(training: Training) -> dict[str, Tensors]:
    """Tensors of the optimizer by parameter name."""
    held = {name: training.optimizer.state.get(p, {}) for name, p in training.model.named_parameters()}
    return {name: {k: v for k, v in state.items() if isinstance(v, Tensor)} for name, state in held.items()}


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _section(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    start = f"{prefix}/"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
