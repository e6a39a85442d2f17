"""Many trajectories through a few blocks of memory: those that have ended leave, and waiting ones take their place.

No trajectory waits for another one, and none changes another's result.
"""

import ctypes
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from dynamics.native import Loop, native
from dynamics.stepper import Kernel, System, eager, fused, locate

BLOCK = {"cpu": 1 << 15, "cuda": 1 << 20}
FUSED_BLOCK = {"cuda": 1 << 24}  # there no operator keeps a result of its own
SMALLEST = 1 << 12  # columns below which a block is not worth a thread of its own
SLICE = 1 << 14  # starts that a compiled loop takes at a time
NARROWEST = 16  # columns below which a block is not narrowed any more
FEW = 1 << 10  # ends at once below which a compiled search for them would not pay
STEPS_A_LOOK, STEPS_A_LOOK_AT_FEW = 8, 2  # steps between looks for columns that have ended
REASON = 2  # row after the state: time, steps, reason


@dataclass(frozen=True)
class Limits:
    """What bounds an integration: the tolerances of `integrate`, and where it stops.

    rtol, atol: the error of a step stays below atol + rtol·‖state‖.   max_steps: of one trajectory.
    arrival: distance to the teacher, or to a standstill, that ends a trajectory.
    near: radius around the saddle that ends it too, for a caller who goes on more closely from there.
    """

    rtol: float
    atol: float
    max_steps: int
    arrival: float
    near: float = 0.0

    def tensor(self, like: torch.Tensor) -> torch.Tensor:
        """(rtol, atol, max_steps, arrival, near²), of the dtype and on the device of `like`."""
        values = [self.rtol, self.atol, self.max_steps, self.arrival, self.near**2]
        return torch.tensor(values, dtype=like.dtype, device=like.device)


@dataclass(frozen=True)
class Starts:
    """The starts of one integration.

    state: (width, N).   parameters: (P, N), those of the field, which may differ from start to start.
    horizon: (N,), flow time at which a trajectory that has not ended is cut off.
    """

    state: torch.Tensor
    parameters: torch.Tensor
    horizon: torch.Tensor

    def __getitem__(self, rows: torch.Tensor | slice) -> "Starts":
        return Starts(self.state[:, rows], self.parameters[:, rows], self.horizon[rows])

    @property
    def fixed(self) -> torch.Tensor:
        """What does not change along a trajectory: parameters and horizon, (P + 1, N)."""
        return torch.cat([self.parameters, self.horizon[None]])


def march(system: System, starts: Starts, limits: Limits, *, fuse: bool = False) -> torch.Tensor:
    """Integrate every start to its end, and return where it ended: rows state, time, steps, reason, (width + 3, N).

    fuse: compile the loop, by the machine's C compiler on a CPU and by Triton on a GPU, and go on without where there
        is none. The steps taken are the same.

    On a CPU as many threads work as torch uses, each on a block of its own.
    """
    count, threads = len(starts.horizon), torch.get_num_threads()
    on_cpu = starts.horizon.device.type == "cpu"
    workers = max(1, min(threads if on_cpu else 1, count // SMALLEST))
    loop = native(system, starts.state.dtype) if fuse and on_cpu else None
    job = _Job(system, starts, limits, workers, fuse and not on_cpu) if loop is None else _Slices(loop, starts, limits)
    # One thread inside an operation: several would wait for each other at every one of them.
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            pool.submit(job.compile).result()
            for done in [pool.submit(job.work) for _ in range(workers)]:
                done.result()
        finally:
            job.stop()  # an interrupt ends the workers too
            torch.set_num_threads(threads)
    return job.out


class _Slices:
    """The starts of one integration, handed out to a loop in C, slice by slice to however many workers ask."""

    def __init__(self, loop: Loop, starts: Starts, limits: Limits) -> None:
        self.loop, self.limits = loop, limits.tensor(starts.state)
        self.rows = [*starts.state, *starts.parameters, starts.horizon]
        self.count = len(starts.horizon)
        self.out = starts.state.new_empty(len(starts.state) + 3, self.count)
        self.stopped, self._next, self._lock = ctypes.c_int(0), 0, threading.Lock()

    def compile(self) -> None:
        """Nothing is left to be compiled."""

    def work(self) -> None:
        """Integrate slices until none is left."""
        while not self.stopped.value:
            with self._lock:
                first, self._next = self._next, min(self._next + SLICE, self.count)
            if first == self.count:
                return
            self.loop(first, min(first + SLICE, self.count), self.rows, self.limits, self.out, self.stopped)

    def stop(self) -> None:
        self.stopped.value = 1


class _Job:
    """The starts of one integration, handed out block by block to however many workers ask."""

    def __init__(self, system: System, starts: Starts, limits: Limits, workers: int, fuse: bool) -> None:
        kind, self.count = starts.horizon.device.type, len(starts.horizon)
        self.few = eager(system)
        self.many = fused(system) if fuse else self.few
        self.system, self.starts, self.limits = system, starts, limits.tensor(starts.state)
        self.block = min((FUSED_BLOCK if fuse else BLOCK).get(kind, BLOCK["cpu"]), -(-self.count // workers))
        self.out = self.limits.new_empty(system.width + 3, self.count)
        self.stopped, self._next, self._lock = False, 0, threading.Lock()

    @torch.no_grad()
    def compile(self) -> None:
        """Compile before the workers ask for it, with the coefficients as constants: as inputs they cost a fifth."""
        if self.many is self.few:
            return
        with torch._dynamo.config.patch(specialize_float=True):
            some = self.starts[torch.arange(NARROWEST, device=self.limits.device) % self.count]
            fixed = some.fixed
            block = self.many.begin(some.state, fixed, self.limits)
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
        """What runs on so many columns. A compiler takes none and one for special cases and would compile again."""
        return self.many if columns >= NARROWEST else self.few

    def stop(self) -> None:
        self.stopped = True

    def _fresh(self, most: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The block of up to `most` waiting columns, what does not change in them, and their numbers."""
        with self._lock:
            first, self._next = self._next, min(self._next + most, self.count)
            rows = slice(first, self._next)
        some = self.starts[rows]
        fixed, number = some.fixed, torch.arange(rows.start, rows.stop, device=self.limits.device)
        return self._kernel(len(number)).begin(some.state.contiguous(), fixed, self.limits), fixed, number

    def _collect(self, block: torch.Tensor, fixed: torch.Tensor, number: torch.Tensor, over: torch.Tensor) -> None:
        """Write the columns that have ended into the result, each at its event."""
        kernel = self.many if len(over) >= FEW else self.few
        self.out.index_copy_(1, number[over], locate(kernel, block[:, over], fixed[:, over], self.limits))
        number[over] = -1
