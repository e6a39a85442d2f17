"""Many trajectories through one block of memory: those that end leave, waiting ones take their place.

No trajectory waits for another, and none changes another's result.
"""

from dataclasses import dataclass
from functools import partial

import torch

from dynamics.kernel import System, advance, begin, compiled, locate

BLOCK = {"cpu": 1 << 13, "cuda": 1 << 20}


@dataclass(frozen=True)
class Limits:
    """Tolerances of an integration; see `integrate`.   near: radius at which a start is taken to meet the saddle."""

    rtol: float
    atol: float
    max_steps: int
    arrival: float
    near: float = 0.0

    def tensor(self, like: torch.Tensor) -> torch.Tensor:
        values = [self.rtol, self.atol, self.max_steps, self.arrival, self.near**2]
        return torch.tensor(values, dtype=like.dtype, device=like.device)


def prepare(
    system: System, state: torch.Tensor, parameters: torch.Tensor, horizon: torch.Tensor | float
) -> torch.Tensor:
    """The lanes (rows, N) of starts (width, N) with parameters (P, N) and horizons (N,), not begun."""
    lane = state.new_zeros((system.rows, state.shape[1]))
    lane[: system.width] = state
    lane[2 * system.width : 2 * system.width + system.parameters] = parameters
    lane[-6] = horizon
    lane[-1] = torch.arange(state.shape[1], dtype=state.dtype, device=state.device)
    return lane


@torch.no_grad()
def march(system: System, lane: torch.Tensor, limits: Limits, *, fuse: bool) -> None:
    """Integrate every column of lane (rows, N) to its end, in place.

    fuse: compile the loop (needs a C++ compiler on a CPU, Triton on a GPU); the steps taken are the same.
    """
    given = limits.tensor(lane)
    move = compiled(system) if fuse else partial(advance, system)
    block = BLOCK.get(lane.device.type, BLOCK["cpu"])
    total = lane.shape[1]
    for first in range(0, total, block):
        part = lane[:, first : first + block].contiguous()
        begin(system, part, given)
        lane[:, first : first + block] = part
    work, waiting = lane[:, :block].contiguous(), min(block, total)
    while work.shape[1]:
        move(work, given)
        (over,) = torch.nonzero(work[-2], as_tuple=True)
        if not len(over):
            continue
        done = work.index_select(1, over)
        lane.index_copy_(1, done[-1].long(), done)
        fresh = lane[:, waiting : waiting + len(over)]
        waiting += fresh.shape[1]
        work.index_copy_(1, over[: fresh.shape[1]], fresh)
        if fresh.shape[1] < len(over):
            work = work.index_select(1, torch.nonzero(work[-2] == 0, as_tuple=True)[0])
    for first in range(0, total, block):
        part = lane[:, first : first + block].contiguous()
        locate(system, part, given)
        lane[:, first : first + block] = part
