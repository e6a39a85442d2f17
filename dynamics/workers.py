"""Many trajectories through a few blocks of memory: those that end leave, waiting ones take their place.

No trajectory waits for another, and none changes another's result.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from dynamics.stepper import Kernel, System, eager, fused, locate
from dynamics.tableaux import TSIT5, Pair

BLOCK = {"cpu": 1 << 15, "cuda": 1 << 20}
SMALLEST = 1 << 12  # columns below which a block is not worth a thread of its own
NARROWEST = 16  # columns below which a block is not narrowed any more
FEW = 1 << 10  # ends at once below which a compiled search for them would not pay
STEPS_A_LOOK, STEPS_A_LOOK_AT_FEW = 8, 2  # steps between looks for columns that have ended
REASON = 2  # row after the state: time, steps, reason


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


def march(
    system: System,
    starts: torch.Tensor,
    parameters: torch.Tensor,
    horizon: torch.Tensor,
    limits: Limits,
    *,
    pair: Pair = TSIT5,
    fuse: bool = False,
) -> torch.Tensor:
    """Integrate every start to its end: rows state, time, steps, reason, (width + 3, N), where it ended.

    starts: (width, N).   parameters: (P, N).   horizon: (N,).   fuse: compile the loop (needs a C++ compiler on a CPU,
    Triton on a GPU); the steps taken are the same.   On a CPU, as many threads as torch uses, each with its own block.
    """
    count, threads = starts.shape[1], torch.get_num_threads()
    workers = max(1, min(threads if starts.device.type == "cpu" else 1, count // SMALLEST))
    block = min(BLOCK.get(starts.device.type, BLOCK["cpu"]), -(-count // workers))
    job = _Job(system, pair, fuse, starts, parameters, horizon, limits.tensor(starts), block)
    # One thread inside an operation: several would wait for each other at every one of them.
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            if fuse:
                pool.submit(job.compile).result()
            for done in [pool.submit(job.work) for _ in range(workers)]:
                done.result()
        finally:
            job.stopped = True  # an interrupt ends the workers too
            torch.set_num_threads(threads)
    return job.out


class _Job:
    """The starts of one integration, handed out block by block to however many workers ask."""

    def __init__(
        self,
        system: System,
        pair: Pair,
        fuse: bool,
        starts: torch.Tensor,
        parameters: torch.Tensor,
        horizon: torch.Tensor,
        limits: torch.Tensor,
        block: int,
    ) -> None:
        self.few = eager(system, pair)
        self.many = fused(system, pair, starts.device.type) if fuse else self.few
        self.system, self.block, self.limits = system, block, limits
        self.starts, self.parameters, self.horizon = starts, parameters, horizon
        self.count = starts.shape[1]
        self.out = starts.new_empty(system.width + 3, self.count)
        self.stopped, self._next, self._lock = False, 0, threading.Lock()

    @torch.no_grad()
    def compile(self) -> None:
        """Compile before the workers ask for it, with the coefficients as constants: as inputs they cost a fifth."""
        with torch._dynamo.config.patch(specialize_float=True):
            rows = torch.arange(NARROWEST, device=self.starts.device) % self.count
            fixed = torch.cat([self.parameters[:, rows], self.horizon[None, rows]])
            block = self.many.begin(self.starts[:, rows], fixed, self.limits)
            block = self.many.advance(block, fixed, self.limits)
            if self.count >= FEW:
                locate(self.many, block, fixed, self.limits)

    @torch.no_grad()
    def work(self) -> None:
        """Integrate columns until none is waiting and those at hand have ended."""
        block, fixed, number = self._fresh(self.block)
        reasons = self.system.width + REASON
        at_hand = len(number)
        while at_hand and not self.stopped:
            advance = self._kernel(len(number)).advance
            for _ in range(STEPS_A_LOOK if len(number) >= SMALLEST else STEPS_A_LOOK_AT_FEW):
                block = advance(block, fixed, self.limits)
            (over,) = torch.nonzero((block[reasons] != 0) & (number >= 0), as_tuple=True)
            # Columns that have ended stand still and cost little until there are enough of them to be worth moving.
            if len(over) < at_hand and len(over) * (8 if self._next < self.count else 2) < at_hand:
                continue
            self._collect(block, fixed, number, over)
            at_hand -= len(over)
            new_block, new_fixed, new_number = self._fresh(len(over))
            place = over[: len(new_number)]
            if len(place):
                block.index_copy_(1, place, new_block)
                fixed.index_copy_(1, place, new_fixed)
                number.index_copy_(0, place, new_number)
                at_hand += len(place)
            if at_hand < len(number) // 2 and len(number) > NARROWEST:
                keep = torch.argsort(number < 0, stable=True)[: max(at_hand, NARROWEST)]
                block, fixed, number = block[:, keep], fixed[:, keep], number[keep]

    def _kernel(self, columns: int) -> Kernel:
        """What to run on so many columns: a compiler would take none and one for special cases, and compile again."""
        return self.many if columns >= NARROWEST else self.few

    def _fresh(self, most: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Up to `most` waiting columns, begun, with what they are given and their numbers."""
        with self._lock:
            first, self._next = self._next, min(self._next + most, self.count)
            rows = slice(first, self._next)
        fixed = torch.cat([self.parameters[:, rows], self.horizon[None, rows]])
        number = torch.arange(rows.start, rows.stop, device=self.starts.device)
        starts = self.starts[:, rows].contiguous()
        return self._kernel(len(number)).begin(starts, fixed, self.limits), fixed, number

    def _collect(self, block: torch.Tensor, fixed: torch.Tensor, number: torch.Tensor, over: torch.Tensor) -> None:
        """Write down the columns that have ended, each where its event is."""
        kernel = self.many if len(over) >= FEW else self.few
        self.out.index_copy_(1, number[over], locate(kernel, block[:, over], fixed[:, over], self.limits))
        number[over] = -1
