"""CUDA graphs: what a function asks of the device is recorded once and then done again with a single launch."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from commons.checks import refuse

WARM_UP_CALLS = 3  # before a recording, as torch.cuda.graph asks
T = TypeVar("T")


def can_record(device: torch.device) -> bool:
    """Whether work on this device can be recorded."""
    return device.type == "cuda"


class Recording(Generic[T]):
    """What a function does on a cuda device, recorded; each call does it again on the same tensors.

    function: reads and writes tensors that keep their storage, and waits for no result. result: what it returned; each
    call writes its tensors anew. Recording itself computes nothing.

    Raises:
        InputError: the function does something that cannot be recorded, such as reading a number from the device.
    """

    result: T

    def __init__(self, function: Callable[[], T]) -> None:
        self._graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self.result = function()
        except RuntimeError as error:
            refuse(
                "engine.graphs", True, "false for this training, which cannot be recorded", str(error).split("\n")[0]
            )

    def __call__(self) -> None:
        self._graph.replay()


def warm_up(function: Callable[[], object], kept: Sequence[Tensor], device: torch.device) -> None:
    """Call a function that is about to be recorded, on a stream of its own, so that libraries set themselves up.

    kept: tensors that have their values back afterwards, as the random state of the device has.
    """
    values = [tensor.clone() for tensor in kept]
    random = torch.cuda.get_rng_state(device)
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP_CALLS):
            function()
    torch.cuda.current_stream(device).wait_stream(stream)
    for tensor, value in zip(kept, values, strict=True):
        tensor.copy_(value)
    torch.cuda.set_rng_state(random, device)
