"""Where the `sharpness` command takes networks, samples, loss and masks from: a run, or files and callables by name."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from commons.checks import refuse
from commons.registry import Registry, accepted
from sparse_training import data, models
from sparse_training.data.resident import Resident
from sparse_training.masks import Masks, prunable
from sparse_training.reparam import SignIn
from sparse_training.runs.run import Run
from sparse_training.runs.states import load_into, support_of
from sparse_training.runs.trust import Trust
from sparse_training.sharpness.batches import Batch, count, fixed_batches
from sparse_training.sharpness.losses import Loss

CALLABLES: Registry[Callable[..., Any]] = Registry("a callable", accept=lambda part: part if callable(part) else None)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network to measure.

    epoch: None where there is no run. masks: boolean tensors by parameter name; None means that all weights are active.
    betas: β of each layer whose weights are written as factors, m² − w² = β; None where none are.
    """

    epoch: int | None
    model: nn.Module
    masks: Mapping[str, Tensor] | None
    betas: Mapping[str, float] | None = None


@dataclass(frozen=True, eq=False)
class Samples:
    """What every network of a source is measured on: the batches, and the loss of (output, y)."""

    batches: list[Batch]
    loss: Loss = cross_entropy


@dataclass(frozen=True, eq=False)
class Source:
    """Networks in order, which may be gone through several times; their number; the samples; and what to say of it."""

    networks: Callable[[], Iterator[Checkpoint]]
    count: int
    samples: Samples
    told: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chosen:
    """The samples of a data set to take: `n` of a split drawn by `seed`, or all for None. root: folder of the data."""

    split: str = "train"
    n: int | None = None
    seed: int = 0
    root: str | None = None


@dataclass(frozen=True)
class Files:
    """A network of the user's own: the parts that are named on the command line.

    model, data, loss, normalize: "module:callable"; data may also be the name of a data set. normalize takes pixels in
    [0, 1], or what the data callable returns, to the network's input. state: a state dict. masks: a file of masks; None
    takes them from the zeros of the weights, unless `dense` is set. beta: (first, last) β of the layers, or None.
    """

    model: str
    state: Path
    masks: Path | None = None
    dense: bool = False
    data: str = "digits"
    loss: str | None = None
    normalize: str | None = None
    beta: tuple[float, float] | None = None


def of_run(path: Path, chosen: Chosen, trust: Trust = False) -> Source:
    """Every saved network of a run, merged, with its masks and the β of its configuration, and the run's data."""
    run = Run(path, trust)
    found = run.config.data.load(root=chosen.root or "")

    def networks() -> Iterator[Checkpoint]:
        for epoch in run.epochs:
            yield Checkpoint(epoch, run.model(epoch), run.masks(epoch), run_betas(run))

    return Source(networks, len(run.epochs), Samples([found.samples(chosen.split, chosen.n, seed=chosen.seed)]))


def run_betas(run: Run) -> dict[str, float] | None:
    """Return β of each layer of a run, or None where its weights are not written as factors with m² − w² = β."""
    masks, reparam = run.masks(), run.config.reparam
    charts = reparam.factors(list(masks.values())) if reparam is not None else None
    betas = [beta for chart in charts or () if isinstance(beta := getattr(chart, "beta", None), int | float)]
    return dict(zip(masks, betas, strict=True)) if len(betas) == len(masks) else None


def of_files(files: Files, chosen: Chosen) -> Source:
    """One network of the user's own, on named samples.

    Raises:
        InputError: A name cannot be imported, or a file cannot be read or does not fit the network.
    """
    batches, sizes, said = _samples(files, chosen)
    model = models.build(files.model, **sizes)
    load_into(model, files.state)
    masks, masked = _masks(model, files)
    loss: Loss = cross_entropy
    if files.loss is not None:
        loss = CALLABLES.find("loss", files.loss)
        loss = loss() if isinstance(loss, type) else loss
    betas = None
    if files.beta is not None:
        names = list(masks if masks is not None else prunable(model))
        betas = dict(zip(names, SignIn(files.beta).betas(len(names)), strict=True))
    checkpoint = Checkpoint(None, model, masks, betas)
    return Source(lambda: iter([checkpoint]), 1, Samples(batches, loss), (said, masked))


def _samples(files: Files, chosen: Chosen) -> tuple[list[Batch], dict[str, int], str]:
    """The batches, the sizes that `models.build` offers the callable, and what to say of the samples."""
    normalize = None if files.normalize is None else CALLABLES.find("normalize", files.normalize)
    if ":" in files.data:
        factory = CALLABLES.find("data", files.data)
        found = factory(**accepted(factory, {"root": chosen.root, "split": chosen.split}))
    else:
        found = data.load(files.data, chosen.root)
    if isinstance(found, data.Data):
        x, y = found.samples(chosen.split, chosen.n, seed=chosen.seed)
        how = "standardised by the data set"
        if normalize is not None:
            x, how = _pixels(found, x), f"normalised by {files.normalize}"
        batches = [(x if normalize is None else normalize(x), y)]
        return batches, found.inputs, f"data: {len(x)} samples of {files.data}, {chosen.split}, {how}"
    if chosen.n is not None:
        refuse("samples", chosen.n, f"for data={files.data!r}, which chooses its samples itself")
    batches = [(x if normalize is None else normalize(x), y) for x, y in fixed_batches(found)]
    how = "as they come" if normalize is None else f"normalised by {files.normalize}"
    return batches, {}, f"data: {count(batches)} samples of {files.data}, {how}"


def _pixels(found: data.Data, x: Tensor) -> Tensor:
    """Pixels in [0, 1] of standardised samples."""
    from sparse_training.data.stream import MEAN, STD

    if isinstance(found, Resident):
        mean, std = found.mean, found.std
    else:
        mean, std = (torch.tensor(values, device=x.device).view(-1, 1, 1) * 255 for values in (MEAN, STD))
    return (x * std + mean).round() / 255


def _masks(model: nn.Module, files: Files) -> tuple[Mapping[str, Tensor] | None, str]:
    """The masks and what to say of them."""
    weights = {name: weight.detach() for name, weight in prunable(model).items()}
    total = sum(weight.numel() for weight in weights.values())
    if files.masks is not None:
        masks = Masks.load(files.masks)
        masks.check(model)
        off = sum(int((model.get_parameter(name)[~mask] != 0).sum()) for name, mask in masks.items())
        held = f"; {off:,} weights off it are not 0 and are taken as 0" if off else ""
        return masks, f"mask: {masks.active:,} of {masks.total:,} weights, from {files.masks}{held}"
    zeros = sum(int((weight == 0).sum()) for weight in weights.values())
    if files.dense or not zeros:
        counted = f", {zeros:,} zeros too" if zeros else ""
        return None, f"mask: none, all {total:,} prunable weights count{counted}"
    masks = support_of(weights, "checkpoint", files.state)
    empty = [name for name, weight in weights.items() if not bool(weight.any())]
    closed = f"; without any: {', '.join(empty)}" if empty else ""
    told = f"mask: {total - zeros:,} of {total:,} weights, those that are not 0{closed}; --dense counts the zeros too"
    return masks, told
