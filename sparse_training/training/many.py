"""Find out, before the first step, whether all of many runs can be trained."""

import importlib.util
import shutil
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from torch import nn

from commons.checks import InputError, number, refuse
from commons.files import output_directory
from sparse_training import models
from sparse_training.masks import EmptyLayer
from sparse_training.runs.config import Config
from sparse_training.training.loop import train
from sparse_training.training.setup import chosen_device

Done = Callable[[int, int], object]
BYTES_OF_NETWORK = 5  # a parameter: float32 and a byte of its mask
BYTES_OF_STATES = 3 * 17  # a parameter: three states of two factors, their momenta and a mask, while a run goes on


def train_one(config: Config, folder: Path) -> None:
    """Train one run, or go on with it, without the warning that a layer of a very sparse mask is empty."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmptyLayer)
        train(config, folder)


def check_runs(configs: Sequence[Config], folders: Sequence[Path], workers: int = 0) -> None:
    """Refuse, before any work, what would end one of the runs later.

    Checked are the device, the data, the network, the package for TensorBoard, and for runs that are not finished
    whether their folders can be written and their files find room on the disk.

    Raises:
        InputError: one of these is missing.
    """
    number("workers", workers, at_least=0, integer=True)
    sizes: dict[str, int] = {}
    needs: dict[Path, int] = {}
    for config, folder in zip(configs, folders, strict=True):
        kind = repr((config.model, config.data, config.engine, config.tensorboard))
        if kind not in sizes:
            sizes[kind] = _parameters(network_of(config))
        if not (folder / "summary.json").exists():
            parent = output_directory("out", folder.parent)
            needs[parent] = needs.get(parent, 0) + _bytes(config, sizes[kind])
    if needs:
        _require_room(needs, max(sizes.values()) * BYTES_OF_STATES * max(workers, 1))


def network_of(config: Config) -> nn.Module:
    """The freshly drawn network of a configuration, once its device, data and packages have been found.

    Raises:
        InputError: one of these is missing.
    """
    chosen_device(config)
    if config.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise InputError("tensorboard=true needs the package tensorboard: install the extra [tensorboard]")
    return models.build(config.model, **config.data.load().inputs, seed=config.seed)


def epochs_of(config: Config) -> int:
    """Epochs that a run trains, over all cycles of its method."""
    return config.epochs * config.method.cycles(config.mask.density)


def _parameters(model: nn.Module) -> int:
    return sum(value.numel() for value in model.state_dict().values())


def _bytes(config: Config, parameters: int) -> int:
    """What a finished run leaves on the disk: its networks, and two bits a parameter and epoch of sign history."""
    epochs = epochs_of(config)
    networks = 2 + epochs // config.checkpoint.every
    return parameters * BYTES_OF_NETWORK * networks + parameters * (epochs + 1) // 4


def _require_room(needs: dict[Path, int], passing: int) -> None:
    """passing: bytes of what the runs in progress need and give back."""
    by_disk: dict[int, tuple[Path, int]] = {}
    for folder, need in needs.items():
        disk = folder.stat().st_dev
        by_disk[disk] = (folder, by_disk.get(disk, (folder, passing))[1] + need)
    for folder, need in by_disk.values():
        free = shutil.disk_usage(folder).free
        if need > free:
            refuse("out", str(folder), "on a disk with room", f"the runs need {_size(need)}, {_size(free)} are free")


def _size(count: float) -> str:
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def unique(argument: str, names: Iterable[str]) -> None:
    """Refuse a name that two rows of a table would share.

    Raises:
        InputError: a name occurs twice.
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            refuse(argument, name, "given once", "rows of one name cannot be told apart")
        seen.add(name)
