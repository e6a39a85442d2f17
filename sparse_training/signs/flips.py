"""Statistics of a sign history, by layer and epoch, in one pass: flips, flips that survive, zeros, settling.

It never keeps the history in memory, and never counts a flip across a gap in a weight's support.

A weight flips when it comes out with the sign opposite to the last one it had since it became active; at zero it has
not flipped yet. Shares are over the weights active at both ends of the comparison.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from commons.checks import number, refuse
from sparse_training.signs.compare import SignCounts, count_signs
from sparse_training.signs.packed import Frame, SignHistory


@dataclass(frozen=True)
class LayerEpoch:
    """Counts of one layer at one epoch, all over active weights.

    weights: size of the layer. active: on the mask at this epoch; zero: of these, at exactly 0.
    since_init: against the first recorded epoch, over the weights active at both.
    compared: active at this and at the previous recorded epoch; flipped: of these, flipped on the way.
    surviving: of the flipped, the sign never changes again and the weight stays active to the end.
    cumulative: flips so far, over all weights of the layer and all epochs.
    reference: against the reference network, over the weights active in both; None without one.
    """

    layer: str
    epoch: int
    weights: int
    active: int
    zero: int
    since_init: SignCounts
    compared: int
    flipped: int
    surviving: int
    cumulative: int
    reference: SignCounts | None

    def row(self) -> dict[str, Any]:
        """Shares in [0, 1] for a table: of the weights named in the class, nothing where there are none."""
        row: dict[str, Any] = {key: getattr(self, key) for key in ("layer", "epoch", "weights", "active")}
        row["share_zero"] = _share(self.zero, self.active)
        row["since_init"] = _share(self.since_init.flipped, self.since_init.active)
        row["since_previous"] = _share(self.flipped, self.compared)
        row["surviving_flips"] = _share(self.surviving, self.compared)
        row["flips_per_weight"] = _share(self.cumulative, self.weights)
        if self.reference is not None:
            row["agreement"] = _share(self.reference.same, self.reference.active)
        return row


@dataclass(frozen=True)
class FlipTable:
    """Everything a sign history says.

    rows: one a layer and epoch, layers from input to output within each epoch.
    flips: uint16 by layer, number of flips of each weight over the whole run.
    last_flip: int32 by layer, epoch of the last flip of each weight active at the end; −1 if it never flipped.
    active: bool by layer, the support at the end.
    """

    rows: list[LayerEpoch]
    flips: dict[str, NDArray[np.uint16]]
    last_flip: dict[str, NDArray[np.int32]]
    active: dict[str, NDArray[np.bool_]]

    @property
    def epochs(self) -> list[int]:
        return sorted({row.epoch for row in self.rows})

    def settling(self, share: float = 0.01, layers: Iterable[str] | None = None) -> int:
        """First recorded epoch after which fewer than `share` of the finally active weights still flip.

        layers: those to take together; all by default. The last epoch if the signs move to the very end.

        Raises:
            InputError: share is not in (0, 1].
        """
        number("share", share, above=0, at_most=1)
        names = list(self.flips if layers is None else layers)
        last = np.concatenate([self.last_flip[name][self.active[name]] for name in names])
        epochs = self.epochs
        return next((e for e in epochs if np.count_nonzero(last > e) < share * max(len(last), 1)), epochs[-1])

    def totals(self) -> list[LayerEpoch]:
        """The rows summed over layers, one an epoch, under the layer name `total`."""
        return [_sum([row for row in self.rows if row.epoch == epoch]) for epoch in self.epochs]


def flip_table(
    history: SignHistory,
    reference: Mapping[str, Tensor] | None = None,
    reference_masks: Mapping[str, Tensor] | None = None,
) -> FlipTable:
    """Read a history once and return its FlipTable.

    reference: θ or signs by layer of the network to compare each epoch with; reference_masks: its support.

    Raises:
        InputError: the history has no epoch, or the reference lacks a layer or differs in shape.
    """
    if not history.epochs:
        refuse("history", str(history.path), "a history with at least one epoch")
    layers = {name: _Layer(name, shape) for name, shape in history.layers.items()}
    for name, shape in history.layers.items():
        if reference is not None and (name not in reference or tuple(reference[name].shape) != shape):
            refuse("reference", name if name in reference else sorted(reference)[:3], f"with {name} of shape {shape}")
    rows: list[LayerEpoch] = []
    for frame in history:
        for name, layer in layers.items():
            against = None
            if reference is not None:
                mask = None if reference_masks is None else reference_masks[name]
                against = _against(frame, name, reference[name], mask)
            rows.append(layer.step(frame, against))
    rows = [layers[row.layer].with_survivors(row) for row in rows]
    return FlipTable(
        rows,
        {name: layer.flips.reshape(layer.shape) for name, layer in layers.items()},
        {name: layer.last.reshape(layer.shape) for name, layer in layers.items()},
        {name: layer.active.reshape(layer.shape) for name, layer in layers.items()},
    )


class _Layer:
    """What one pass must remember of a layer: its first signs, the latest sign of each weight, and its flips."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        size = prod(shape)
        self.name, self.shape = name, shape
        self.first: tuple[NDArray[np.int8], NDArray[np.bool_]] | None = None
        self.active = np.zeros(size, np.bool_)
        self.latest = np.zeros(size, np.int8)
        self.flips = np.zeros(size, np.uint16)
        self.last = np.full(size, -1, np.int32)
        self.cumulative = 0

    def step(self, frame: Frame, against: SignCounts | None) -> LayerEpoch:
        signs, active = frame.signs[self.name].ravel(), frame.active[self.name].ravel()
        if self.first is None:
            self.first = (signs, active)
        both = self.active & active
        self.latest[~both] = 0
        self.last[~both] = -1
        turned = signs * self.latest < 0
        self.flips += turned
        self.last[turned] = frame.epoch
        np.copyto(self.latest, signs, where=signs != 0)
        self.active = active
        flipped = int(np.count_nonzero(turned))
        self.cumulative += flipped
        return LayerEpoch(
            self.name,
            frame.epoch,
            signs.size,
            int(np.count_nonzero(active)),
            int(np.count_nonzero(active & (signs == 0))),
            count_signs(*map(torch.from_numpy, (self.first[0], signs, active & self.first[1]))),
            int(np.count_nonzero(both)),
            flipped,
            0,
            self.cumulative,
            against,
        )

    def with_survivors(self, row: LayerEpoch) -> LayerEpoch:
        return replace(row, surviving=int(np.count_nonzero((self.last == row.epoch) & self.active)))


def _against(frame: Frame, name: str, reference: Tensor, mask: Tensor | None) -> SignCounts:
    active = torch.from_numpy(frame.active[name])
    return count_signs(
        torch.from_numpy(frame.signs[name]), reference.cpu(), active if mask is None else active & mask.cpu()
    )


def _sum(rows: list[LayerEpoch]) -> LayerEpoch:
    zero = SignCounts(0, 0, 0, 0)
    against = [row.reference for row in rows if row.reference is not None]
    counts = {
        key: sum(getattr(row, key) for row in rows)
        for key in ("weights", "active", "zero", "compared", "flipped", "surviving", "cumulative")
    }
    return LayerEpoch(
        layer="total",
        epoch=rows[0].epoch,
        since_init=sum((row.since_init for row in rows), start=zero),
        reference=sum(against, start=zero) if against else None,
        **counts,
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
