"""The (a₀, w₀) diagram of a flow: a grid of starts, in chunks that fit in memory and survive a kill."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from commons import InputError, number, refuse
from commons.files import output_directory, read_npz, write_whole
from dynamics.outcome import Outcome
from dynamics.results import PhaseDiagram, Report, edge_of
from dynamics.trajectories import (
    ARRIVAL,
    check_device,
    check_flow,
    checked_rtol,
    default_horizon,
    integrate,
    is_worth_compiling,
)
from theory import margin, recovers
from theory.flows import Flow

CHUNK = 1 << 19
COARSEST = 16
AUDIT = 4096
Labels = tuple[NDArray[np.int8], NDArray[np.float64]]


def phase_diagram(
    flow: Flow,
    *,
    grid: int = 512,
    extent: float = 2.0,
    device: str = "cpu",
    dtype: torch.dtype = torch.float64,
    rtol: float | None = None,
    atol: float = 0.0,
    horizon: float | None = None,
    arrival: float = ARRIVAL,
    refine: bool = False,
    chunk: int = CHUNK,
    parts: str | Path | None = None,
    report: Report | None = None,
) -> PhaseDiagram:
    """Integrate the flow from grid × grid starts in [−extent, extent]² and record where each ends.

    refine: integrate every 16th start first, then only the cells whose corners differ, and then the cells along the
        boundary that was found and 4096 cells drawn at random. The other cells take the outcome of their neighbours.
    chunk: how many starts are in memory at once.
    parts: a folder for finished chunks, from which an interrupted diagram goes on.
    report(done, of): called after each chunk, with rows of the grid.
    device, dtype, rtol, atol, horizon, arrival: as in `integrate`.

    Raises:
        InputError: grid < 2, a non-positive extent, or as `integrate`.
    """
    number("grid", grid, at_least=2, integer=True)
    number("extent", extent, above=0)
    number("chunk", chunk, at_least=1, integer=True)
    rtol = checked_rtol(rtol, atol, arrival, 1, dtype)
    check_device(device)
    check_flow(flow)
    end = default_horizon(flow, arrival) if horizon is None else number("horizon", horizon, above=0)
    options = {"rtol": rtol, "atol": atol, "horizon": end, "arrival": arrival, "device": device}
    settings = {"flow": flow.describe(), "grid": grid, "extent": extent, "dtype": str(dtype), **options}
    axis = np.linspace(-extent, extent, grid)
    fuse = is_worth_compiling(grid * grid, device)

    def label(a: NDArray[np.float64], w: NDArray[np.float64]) -> Labels:
        ends = integrate(flow, a, w, dtype=dtype, fuse=fuse, **options)  # type: ignore[arg-type]
        return ends.outcome, np.where(ends.outcome == Outcome.UNDECIDED, np.nan, ends.time)

    if refine:
        outcome, time, computed = _refined(axis, label)
        settings["integrated"] = computed
    else:
        outcome, time = _in_chunks(axis, label, max(1, chunk // grid), parts, settings, report)
    agreement, edge = _agreement(outcome, axis, flow), edge_of(flow, extent)
    return PhaseDiagram(outcome, axis, axis.copy(), time, agreement, settings, edge, flow)


@contextmanager
def alone(out: Path) -> Iterator[Path]:
    """Give the folder for the finished chunks of the file `out`, and keep other processes from it until the block ends.

    The folder is then removed if it is empty. A killed process lets go of it, and what it had finished stays.

    Raises:
        InputError: another process is writing the same file.
    """
    folder = out.parent / f"{out.name}.parts"
    handle = _held(folder)
    if handle is None:
        refuse("out", str(out), "free: another process is writing it")
    try:
        yield folder
    finally:
        with suppress(OSError):  # chunks of an interrupted diagram, or somebody else's files, are there
            folder.rmdir()
        os.close(handle)


def _held(folder: Path) -> int | None:
    """A descriptor of the folder, made if needed, with a lock on it; None where another process has the lock."""
    while True:
        output_directory("out", folder)
        with suppress(FileNotFoundError):  # the process that had it may remove it at any moment
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(handle), folder.stat()):
                    return handle
            except BlockingIOError:
                os.close(handle)
                return None
            os.close(handle)


def _in_chunks(
    axis: NDArray[np.float64],
    label: Callable[..., Labels],
    rows: int,
    parts: str | Path | None,
    settings: dict[str, Any],
    report: Report | None,
) -> Labels:
    outcome = np.empty((len(axis), len(axis)), dtype=np.int8)
    time = np.empty(outcome.shape)
    folder = None if parts is None else output_directory("parts", parts)
    key = json.dumps({**settings, "rows": rows}, sort_keys=True)
    for first in range(0, len(axis), rows):
        block = slice(first, min(first + rows, len(axis)))
        path = None if folder is None else folder / f"rows-{first:06d}.npz"
        done = None if path is None else _finished(path, key)
        if done is None:
            done = label(axis[block, None], axis[None])
            if path is not None:
                _keep(path, key, done)
        outcome[block], time[block] = done
        if report is not None:
            report(block.stop, len(axis))
    return outcome, time


def _keep(path: Path, key: str, labels: Labels) -> None:
    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez(file, outcome=labels[0], time=labels[1], key=key)

    write_whole(path, write)


def _finished(path: Path, key: str) -> Labels | None:
    """The labels of a finished chunk with the same settings; None if there is none, or it is damaged."""
    try:
        saved = read_npz(path)
        return (saved["outcome"], saved["time"]) if str(saved["key"]) == key else None
    except (InputError, KeyError):  # absent or damaged: integrated again
        return None


def _refined(axis: NDArray[np.float64], label: Callable[..., Labels]) -> tuple[*Labels, int]:
    """Labels of the whole grid from integrating near boundaries only, and how many starts were integrated."""
    n = len(axis)
    outcome, time = np.full((n, n), -1, dtype=np.int8), np.full((n, n), np.nan)
    known = np.zeros((n, n), dtype=np.bool_)

    def compute(where: NDArray[np.bool_]) -> None:
        i, j = np.nonzero(where & ~known)
        if len(i):
            outcome[i, j], time[i, j] = label(axis[i], axis[j])
            known[i, j] = True

    for stride, lines in _levels(n):
        if stride == COARSEST:
            compute(_lattice(n, lines))
            coarse = lines
            continue
        low, high = np.searchsorted(coarse, lines, "right") - 1, np.searchsorted(coarse, lines, "left")
        corners = [outcome[np.ix_(coarse[p], coarse[q])] for p in (low, high) for q in (low, high)]
        same = np.logical_and.reduce([c == corners[0] for c in corners[1:]])
        compute(_lattice(n, lines, ~same))
        fill = _lattice(n, lines, same) & ~known
        outcome[fill] = corners[0][same & ~known[np.ix_(lines, lines)]]
        coarse = lines
    drawn = np.random.default_rng(0).integers(0, n, (2, AUDIT))
    before = outcome[drawn[0], drawn[1]].copy()
    sample = np.zeros_like(known)
    sample[drawn[0], drawn[1]] = True
    compute(sample)
    wrong = np.zeros_like(known)
    wrong[drawn[0], drawn[1]] = before != outcome[drawn[0], drawn[1]]
    front = _edges(outcome) | _grown(wrong)
    while (front & ~known).any():
        compute(front)
        front = _edges(outcome)
    return outcome, time, int(known.sum())


def _levels(n: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    stride = COARSEST
    while stride:
        yield stride, np.unique(np.append(np.arange(0, n, stride), n - 1))
        stride //= 2


def _lattice(n: int, lines: NDArray[np.int64], where: NDArray[np.bool_] | bool = True) -> NDArray[np.bool_]:
    chosen = np.zeros((n, n), dtype=np.bool_)
    chosen[np.ix_(lines, lines)] = where
    return chosen


def _edges(outcome: NDArray[np.int8]) -> NDArray[np.bool_]:
    """The cells that have a neighbour, of their four, with another label."""
    edge = np.zeros(outcome.shape, dtype=np.bool_)
    for axis in (0, 1):
        differs = np.diff(outcome, axis=axis) != 0
        edge |= np.insert(differs, 0, False, axis) | np.insert(differs, differs.shape[axis], False, axis)
    return edge


def _grown(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The cells and everything within the coarsest stride around them."""
    grown = np.zeros_like(cells)
    for i, j in np.argwhere(cells):
        grown[max(0, i - COARSEST) : i + COARSEST + 1, max(0, j - COARSEST) : j + COARSEST + 1] = True
    return grown


def _agreement(outcome: NDArray[np.int8], axis: NDArray[np.float64], flow: Flow) -> float:
    agree = total = 0
    for i, a in enumerate(axis):
        clear = np.abs(margin(a, axis, flow)) > 1e-6
        right = (outcome[i] == Outcome.RECOVERED) == recovers(np.full_like(axis, a), axis, flow)
        agree += int((right & (outcome[i] != Outcome.UNDECIDED))[clear].sum())
        total += int(clear.sum())
    return agree / total if total else float("nan")
