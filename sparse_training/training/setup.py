"""From a configuration to a training that is ready for its first step: data, network, masks, method, optimizer.

It makes no step and writes no file.
"""

import dataclasses

import torch
from torch import nn

from commons.checks import InputError, refuse
from sparse_training import data as datasets
from sparse_training import models
from sparse_training.masks import Masks, make_masks
from sparse_training.methods import Method, Training
from sparse_training.runs.checkpoint import Network, load_network
from sparse_training.runs.config import Config
from sparse_training.seeding import generator
from sparse_training.training.distributed import SharedBatchNorm, World


def chosen_device(config: Config) -> torch.device:
    """The configured device; "auto" is cuda where there is one, and under torchrun the process's own."""
    import os

    name = config.engine.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        refuse("engine.device", name, "a device at hand", str(error).splitlines()[0])
    if device == torch.device("cuda"):
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    return device


def prepare(config: Config, device: torch.device, world: World) -> tuple[Training, Method]:
    """A training before its first step, and the copy of the configured method that is its own.

    Raises:
        InputError: the data, the start or the masks cannot be had, or the batch does not divide among the processes.
    """
    if config.batch_size % world.size:
        refuse("batch_size", config.batch_size, f"a multiple of the number of processes, {world.size}")
    settings = config.data
    data = datasets.load(
        settings.name,
        settings.root or None,
        device=device,
        augment=settings.augment,
        image_size=settings.image_size or None,
        workers=settings.workers,
    )
    start = load_network(config.start) if config.start else None
    model = _network(config, data, start).to(device)
    if config.engine.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    method = dataclasses.replace(config.method)
    steps_per_epoch = -(-(data.n_train // world.size) // (config.batch_size // world.size))
    cycle = steps_per_epoch * config.epochs
    training = Training(
        config=config,
        data=data,
        model=model,
        device=device,
        steps_per_epoch=steps_per_epoch,
        cycle_steps=cycle,
        total_steps=cycle * method.cycles(config.mask.density),
        generator=generator(config.seed, "method"),
        start_masks=lambda: _start_masks(training, start),
    )
    method.begin(training)
    if world.size > 1:
        share_batch_norm(model)
    groups = training.sparse.parameter_groups(config.optimizer.weight_decay, vectors=config.optimizer.vectors)
    training.optimizer = config.optimizer.build(groups)
    return training, method


def share_batch_norm(model: nn.Module) -> None:
    """Replace batch normalizations, in place, by ones over the batches of all processes."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.modules.batchnorm._BatchNorm) and child.affine and child.track_running_stats:
                setattr(parent, name, SharedBatchNorm(child))


def _network(config: Config, data: datasets.Data, start: Network | None) -> nn.Module:
    channels, size, _ = data.shape
    model = models.build(
        config.model, in_channels=channels, image_size=size, num_classes=data.num_classes, seed=config.seed
    )
    if start is not None:
        try:
            model.load_state_dict(start.state)
        except RuntimeError as error:
            raise InputError(f"start={config.start!r} is another network: {' '.join(str(error).split())}") from None
    return model


def _start_masks(training: Training, start: Network | None) -> Masks:
    """From a file, from the start, all of them, or by a score; on the device."""
    asked, model = training.config.mask, training.model
    if asked.file:
        masks = Masks.load(asked.file, training.device)
        masks.check(model)
        return masks
    if start is not None and start.masks is not None:
        return start.masks.to(training.device)
    if asked.density == 1:
        return training.dense_masks()
    usual = "erk" if asked.score == "random" else "global"
    batch = training.data.samples("train", min(asked.samples, training.data.n_train), training.config.seed)
    return make_masks(
        model,
        asked.density,
        asked.score,
        usual if asked.distribution == "usual" else asked.distribution,
        batch=batch,
        seed=training.config.seed,
        include=asked.include,
        exclude=asked.exclude,
    )
