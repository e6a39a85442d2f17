"""From a configuration to a training that is ready for its first step: data, network, masks, optimizer, passes."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from commons.checks import InputError, refuse
from sparse_training import models
from sparse_training.data import Data
from sparse_training.devices import device_at_hand
from sparse_training.losses import cross_entropy
from sparse_training.masks import Masks, make_masks, prunable
from sparse_training.masks.distributions import usual_distribution
from sparse_training.methods import Start, Training
from sparse_training.reparam import Sparse
from sparse_training.runs.checkpoint import Network, load_network
from sparse_training.runs.config import Config
from sparse_training.runs.optimizers import Groups
from sparse_training.seeding import generator
from sparse_training.sign_init import find_signs, set_signs
from sparse_training.training.capture import can_record
from sparse_training.training.distributed import SharedBatchNorm, World, announced
from sparse_training.training.passes import Passes
from sparse_training.training.update import Update


@dataclass(frozen=True)
class Prepared:
    """A run before its first step: what is configured, on what it trains, and the training itself.

    sign_passes: forward passes of one sample that it took to choose the signs.
    """

    config: Config
    world: World
    data: Data
    training: Training
    passes: Passes
    update: Update
    sign_passes: int


def chosen_device(config: Config) -> torch.device:
    """The configured device; "auto" is cuda where there is one, and under torchrun the process's own."""
    name = config.engine.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = device_at_hand("engine.device", name)
    if device == torch.device("cuda"):
        device = torch.device("cuda", announced("LOCAL_RANK", 0))
        torch.cuda.set_device(device)
    return device


def prepare(config: Config, device: torch.device, world: World) -> Prepared:
    """A run before its first step, whole: its optimizer is attached to its network.

    Raises:
        InputError: the data, the start or the masks cannot be had, or the batch does not divide among the processes.
    """
    if config.batch_size % world.size:
        refuse("batch_size", config.batch_size, f"a multiple of the number of processes, {world.size}")
    data = config.data.load(device=device)
    given = load_network(config.start) if config.start else None
    model = _network(config, data, given).to(device)
    if config.engine.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    start = _start(config, data, model, given, world)
    sparse = config.method.begin(start)
    if world.size > 1:
        share_batch_norm(model)
    groups = sparse.parameter_groups(config.optimizer.weight_decay, vectors=config.optimizer.vectors)
    optimizer, rate = optimizer_of(config, sparse, groups)
    sparse.attach(optimizer)
    passes = Passes(model, config, device, config.batch_size // world.size)
    training = Training(
        density=start.density,
        steps_per_epoch=start.steps_per_epoch,
        cycle_steps=start.cycle_steps,
        total_steps=start.total_steps,
        generator=start.generator,
        memory=start.memory,
        sparse=sparse,
        optimizer=optimizer,
        dense_gradient=partial(_dense_gradient, sparse, passes, world),
    )
    update = Update(sparse, optimizer, config.clip, rate)
    return Prepared(config, world, data, training, passes, update, start.sign_passes)


def optimizer_of(config: Config, sparse: Sparse, groups: Groups) -> tuple[torch.optim.Optimizer, Tensor | None]:
    """The optimizer over parameter groups, and the tensor of its learning rate if its steps may be recorded."""
    if config.engine.graphs and can_record(sparse.device) and sparse.recordable:
        rate = torch.tensor(config.optimizer.lr, dtype=torch.float32, device=sparse.device)
        optimizer = config.optimizer.build_recordable(groups, rate)
        if optimizer is not None:
            return optimizer, rate
    return config.optimizer.build(groups), None


def _start(config: Config, data: Data, model: nn.Module, given: Network | None, world: World) -> Start:
    """What the method's `begin` sees."""
    steps_per_epoch = -(-(data.n_train // world.size) // (config.batch_size // world.size))
    cycle = steps_per_epoch * config.epochs
    names = tuple(prunable(model, config.mask.include, config.mask.exclude))
    return Start(
        density=config.mask.density,
        steps_per_epoch=steps_per_epoch,
        cycle_steps=cycle,
        total_steps=cycle * config.method.cycles(config.mask.density),
        generator=generator(config.seed, "method"),
        memory={},
        model=model,
        prunable=names,
        reparam=config.reparam,
        scaling=config.scaling,
        start_masks=partial(_start_masks, config, data, model, given),
        set_signs=partial(_set_signs, config, data, model),
    )


def _dense_gradient(sparse: Sparse, passes: Passes, world: World, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """`Training.dense_gradient`: the mean over the processes of ∂loss/∂θ on their batches."""
    gradients = sparse.dense_gradient(lambda: passes.loss(x, y))
    if sparse.reparametrized:  # without factors it is the gradient at hand, which is averaged already
        world.average(gradients.values())
    return gradients


def share_batch_norm(model: nn.Module) -> None:
    """Replace batch normalizations, in place, by ones over the batches of all processes."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.modules.batchnorm._BatchNorm) and child.affine and child.track_running_stats:
                setattr(parent, name, SharedBatchNorm(child))


def _network(config: Config, data: Data, start: Network | None) -> nn.Module:
    model = models.build(config.model, **data.inputs, seed=config.seed)
    if start is not None:
        try:
            model.load_state_dict(start.state)
        except RuntimeError as error:
            raise InputError(f"start={config.start!r} is another network: {' '.join(str(error).split())}") from None
    return model


def _start_masks(config: Config, data: Data, model: nn.Module, given: Network | None) -> Masks:
    """From a file, from the start, all of them, or by a score; on the device."""
    asked = config.mask
    weights = prunable(model, asked.include, asked.exclude)
    device = next(iter(weights.values())).device
    if asked.file:
        masks = Masks.load(asked.file, device)
        masks.check(model)
        return masks
    if given is not None and given.masks is not None:
        return given.masks.to(device)
    if asked.density == 1:
        return Masks({name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()})
    return make_masks(
        model,
        asked.density,
        asked.score,
        usual_distribution(asked.score) if asked.distribution == "usual" else asked.distribution,
        batch=_samples(data, asked.samples, config.seed),
        loss=cross_entropy,
        seed=config.seed,
        include=asked.include,
        exclude=asked.exclude,
    )


def _set_signs(config: Config, data: Data, model: nn.Module, masks: Masks) -> int:
    """`Start.set_signs`."""
    asked = config.sign_init
    if not asked.name:
        return 0
    batch = _samples(data, asked.samples, config.seed)
    found = find_signs(model, masks, asked.name, batch, loss=cross_entropy, seed=config.seed)
    set_signs(model, found.signs)
    return found.passes


def _samples(data: Data, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """So many training samples, or all where there are fewer."""
    return data.samples("train", min(count, data.n_train), seed)
