"""CUDA graphs on a CPU: the operators that a function calls are recorded and then called again on the same tensors.

As on a device, recording computes nothing, numbers from Python are those of the time of recording, and reading a number
from a tensor is refused.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sparse_training.reparam import layer, stepping, unit_speed
from sparse_training.training import capture, setup, update


class Recorder(TorchDispatchMode):
    """Keeps every operator that is called inside, with its arguments and results."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.before: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        for tensor in written(func, args, kwargs):
            self.before.setdefault(tensor.data_ptr(), (tensor, tensor.clone()))
        result = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, result))
        return result


def written(func: Any, args: Any, kwargs: Any) -> Iterator[Tensor]:
    """The tensors that an operator writes to."""
    for index, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = kwargs.get(argument.name) if argument.kwarg_only else args[index] if index < len(args) else None
            yield from (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


class Replay:
    """Stands for `capture.Recording`."""

    made: int = 0

    def __init__(self, function: Callable[[], Any]) -> None:
        Replay.made += 1
        with Recorder() as recorder:
            self.result = function()
        self._calls = recorder.calls
        with torch.no_grad():
            for tensor, value in recorder.before.values():
                tensor.copy_(value)

    @torch.no_grad()
    def __call__(self) -> None:
        for func, args, kwargs, results in self._calls:
            again = func(*args, **kwargs)
            aliases = any(value.alias_info is not None for value in func._schema.returns)
            if aliases:
                continue
            for result, value in zip(tree_leaves(results), tree_leaves(again), strict=True):
                if isinstance(result, Tensor):
                    result.copy_(value)


def stand_in(monkeypatch: pytest.MonkeyPatch, recorded: bool) -> None:
    """Let runs on a CPU with engine.graphs=true take the optimizers of runs on cuda, and be recorded if asked to."""

    def warm_up(function: Callable[[], object], kept: list[Tensor], device: torch.device) -> None:
        values = [tensor.clone() for tensor in kept]
        for _ in range(capture.WARM_UP_CALLS):
            function()
        for tensor, value in zip(kept, values, strict=True):
            tensor.copy_(value)

    monkeypatch.setattr(setup, "can_record", lambda device: True)
    monkeypatch.setattr(capture, "can_record", lambda device: recorded)
    monkeypatch.setattr(unit_speed, "is_far", lambda theta: True)
    for module in (layer, stepping):
        monkeypatch.setattr(module, "launches_cost", lambda tensor: True)
    monkeypatch.setattr(capture, "warm_up", warm_up)
    monkeypatch.setattr(capture, "Recording", Replay)
    monkeypatch.setattr(update, "Recording", Replay)
    Replay.made = 0
