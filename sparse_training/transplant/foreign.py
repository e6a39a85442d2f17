"""Two checkpoints of anyone's as the source of transplants: `as_runs` makes them the start and the end of a run."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from sparse_training import models
from sparse_training.data import Data
from sparse_training.masks import Masks, prunable
from sparse_training.runs.checkpoint import Network, save_network
from sparse_training.runs.config import Config
from sparse_training.runs.folder import RunFolder
from sparse_training.runs.states import load_into, support_of
from sparse_training.training.distributed import World
from sparse_training.training.passes import Passes, computing
from sparse_training.training.setup import chosen_device


def as_runs(config: Config, init: Path, final: Path, masks: Path | None, seeds: Iterable[int], out: Path) -> list[Path]:
    """Folders of finished runs, one a seed, that began with one network and ended with another.

    config: of the training that transplants of them get; its model is the network of the checkpoints and its data what
    they are evaluated on. init, final: files of state dicts, as `read_network` reads them. masks: the support of the
    end; None takes that of the file, or else its weights that are not 0. The weights of the end are taken as 0 off it.
    seeds: of what transplants draw anew. out: where to; the same networks have the same folders.

    Raises:
        InputError: a file cannot be read or does not fit the network, or the end has no weight.
    """
    device = chosen_device(config)
    with computing(config, device):
        data = config.data.load(device=device, augment=False)
        model = models.build(config.model, **data.inputs, seed=config.seed)
        load_into(model, init)
        first = {name: value.clone() for name, value in model.state_dict().items()}
        given = load_into(model, final)
        support = Masks.load(masks) if masks is not None else given.masks or support_of(prunable(model), "final", final)
        support.check(model)
        with torch.no_grad():
            for name, mask in support.items():
                model.get_parameter(name).mul_(mask)
        last = {name: value.clone() for name, value in model.state_dict().items()}
        metrics = _evaluated(config, data, model, device)
    name = Network({**{f"init/{key}": value for key, value in first.items()}, **last}, support).digest()[:8]
    config, folders = config.with_set([f"mask.density={support.density!r}"]), []
    for seed in seeds:
        own = replace(config, seed=seed)
        folders.append(out / f"{final.stem}-{name}" / f"seed-{seed}")
        _write(folders[-1], own, data.inputs, (first, last), support, metrics)
    return folders


def _evaluated(config: Config, data: Data, model: nn.Module, device: torch.device) -> dict[str, float]:
    """Losses and accuracies of a trained network, as of the last epoch of a run; those of training on a sample."""
    passes = Passes(model.to(device), config, device, config.batch_size)
    x, y = data.samples("train", min(data.n_train, 1024), config.seed)
    with torch.no_grad():
        model.eval()
        logits = model(x)
        loss = float(passes.loss(x, y))
    right = 100 * float((logits.argmax(-1) == y).double().mean())
    test_loss, test_accuracy = passes.evaluate(data, World())
    return {"train_loss": loss, "train_accuracy": right, "test_loss": test_loss, "test_accuracy": test_accuracy}


def _write(
    path: Path,
    config: Config,
    inputs: dict[str, int],
    states: tuple[Mapping[str, Tensor], Mapping[str, Tensor]],
    masks: Masks,
    metrics: dict[str, float],
) -> None:
    """The folder of a run of these two networks, unless it is there."""
    folder = RunFolder(path, config)
    try:
        if folder.summary:
            return
        dense = Masks({name: torch.ones_like(mask) for name, mask in masks.items()})
        folder.forget_after(0)
        save_network(folder.network_file(0), states[0], dense, epoch=0, inputs=inputs)
        save_network(folder.network_file(config.epochs), states[1], masks, epoch=config.epochs, inputs=inputs)
        folder.append_metrics(
            {"epoch": config.epochs, "step": 0, "lr": 0.0, **metrics, "density": masks.density, "seconds": 0.0}
        )
        folder.finish({"epochs": config.epochs, "steps": 0, **metrics, "density": masks.density, "seconds": 0.0})
    finally:
        folder.close()
