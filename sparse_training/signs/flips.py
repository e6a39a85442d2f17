"""Count sign flips by layer and epoch in one pass over a sign history, which is never held in memory as a whole.

A weight flips at an epoch if its sign there is the opposite of the last sign other than zero that it had since it
became active. So a weight that stops at exactly zero has not flipped yet; it flips if it leaves zero on the other
side. A weight that left the support and came back begins anew: its sign from before the gap does not count.
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
from sparse_training.kinds import by_kind
from sparse_training.signs.compare import SignCounts, count_signs
from sparse_training.signs.packed import Frame, SignHistory


@dataclass(frozen=True)
class LayerEpoch:
    """What happened in one layer up to one recorded epoch; every count is a number of weights, `cumulative` of flips.

    weights: all weights of the layer. active: those on the mask at this epoch. zero: active ones at exactly 0.
    since_init: signs now against those of the first recorded epoch, over the weights active at both.
    compared: weights active at this and at the previous recorded epoch. flipped: those of them that flipped here.
    surviving: those of the flipped that never flip again and stay active to the end of the history.
    cumulative: flips of all weights of the layer at all epochs so far.
    reference: signs now against those of a reference network, over the weights active in both; None without one.
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
        """Return shares in [0, 1] for a table; a share of no weights at all is None."""
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
    """All counts of a sign history.

    rows: one row for each epoch and layer, with the layers from input to output within an epoch.
    flips: by layer, uint16 in the shape of its weights, how often each weight flipped over the whole run.
    last_flip: by layer, int32 in the shape of its weights, the epoch of the last flip of each weight that is active at
    the end; −1 if the weight never flipped since it last became active.
    active: by layer, bool in the shape of its weights, the support at the end.
    """

    rows: list[LayerEpoch]
    flips: dict[str, NDArray[np.uint16]]
    last_flip: dict[str, NDArray[np.int32]]
    active: dict[str, NDArray[np.bool_]]

    @property
    def epochs(self) -> list[int]:
        return sorted({row.epoch for row in self.rows})

    def settling(self, share: float = 0.01, layers: Iterable[str] | None = None) -> int:
        """Return the first recorded epoch after which fewer than `share` of the finally active weights still flip.

        If signs move to the very end, this is the last recorded epoch. layers: the layers that are counted together;
        None counts all of them.

        Raises:
            InputError: share is not in (0, 1].
        """
        number("share", share, above=0, at_most=1)
        names = list(self.flips if layers is None else layers)
        last = np.concatenate([self.last_flip[name][self.active[name]] for name in names])
        epochs = self.epochs
        return next((e for e in epochs if np.count_nonzero(last > e) < share * max(len(last), 1)), epochs[-1])

    def totals(self) -> list[LayerEpoch]:
        """Return one row an epoch with the sum over all layers, under the layer name `total`."""
        return self.summed("total", self.flips)

    def summed(self, name: str, layers: Iterable[str]) -> list[LayerEpoch]:
        """Return one row an epoch with the sum over some layers, under a name for them."""
        chosen = set(layers)
        own = [row for row in self.rows if row.layer in chosen]
        return [_sum(name, [row for row in own if row.epoch == epoch]) for epoch in self.epochs]

    def kinds(self) -> dict[str, list[str]]:
        """Return the layers by kind, such as q of blocks.0.attention.q.weight, in the order of their first layers."""
        return by_kind(self.flips)


def flip_table(
    history: SignHistory,
    reference: Mapping[str, Tensor] | None = None,
    reference_masks: Mapping[str, Tensor] | None = None,
) -> FlipTable:
    """Read a history once and count its flips.

    reference: weights or signs by layer of a network that each epoch is compared with. reference_masks: its support.

    Raises:
        InputError: The history has no epoch, or the reference lacks a layer or has another shape.
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
    """What the pass remembers of a layer: its first signs, the latest sign of each weight, and the flips so far."""

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
        """Take in the next frame and return its row."""
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
            layer=self.name,
            epoch=frame.epoch,
            weights=signs.size,
            active=int(np.count_nonzero(active)),
            zero=int(np.count_nonzero(active & (signs == 0))),
            since_init=count_signs(*map(torch.from_numpy, (self.first[0], signs, active & self.first[1]))),
            compared=int(np.count_nonzero(both)),
            flipped=flipped,
            surviving=0,  # known only after the last frame, see `with_survivors`
            cumulative=self.cumulative,
            reference=against,
        )

    def with_survivors(self, row: LayerEpoch) -> LayerEpoch:
        """Return the row with the flips that turned out to be the last ones of weights active at the end."""
        return replace(row, surviving=int(np.count_nonzero((self.last == row.epoch) & self.active)))


def _against(frame: Frame, name: str, reference: Tensor, mask: Tensor | None) -> SignCounts:
    active = torch.from_numpy(frame.active[name])
    return count_signs(
        torch.from_numpy(frame.signs[name]), reference.cpu(), active if mask is None else active & mask.cpu()
    )


def _sum(name: str, rows: list[LayerEpoch]) -> LayerEpoch:
    zero = SignCounts(0, 0, 0, 0)
    against = [row.reference for row in rows if row.reference is not None]
    counts = {
        key: sum(getattr(row, key) for row in rows)
        for key in ("weights", "active", "zero", "compared", "flipped", "surviving", "cumulative")
    }
    return LayerEpoch(
        layer=name,
        epoch=rows[0].epoch,
        since_init=sum((row.since_init for row in rows), start=zero),
        reference=sum(against, start=zero) if against else None,
        **counts,
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
