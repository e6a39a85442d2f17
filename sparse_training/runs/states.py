"""Networks in files of anyone: state dicts in safetensors or from torch.save, and what `save_network` wrote."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor, nn

from commons.checks import InputError, refuse
from commons.files import open_regular
from sparse_training.masks import Masks
from sparse_training.runs.checkpoint import Network, is_network, load_network
from sparse_training.tensor_files import read_tensors

PRETRAINED = "model.safetensors"


def read_network(path: Path) -> Network:
    """Read a state dict from .safetensors, or from what torch.save wrote, in which only tensors are accepted.

    A dictionary around it, as {"epoch": ..., "state_dict": ...}, is opened where it holds one state dict. A network
    that `runs.save_network` wrote comes with its masks and what was said of it; others have neither. In a folder that
    transformers' `save_pretrained` wrote, model.safetensors is read.

    Raises:
        InputError: The file cannot be read, or holds no state dict, or several.
    """
    path = path / PRETRAINED if is_pretrained(path) else path
    if path.suffix == ".safetensors":
        return load_network(path) if is_network(path) else Network(read_tensors(path)[0])
    return Network(_read_pickled(path))


def is_pretrained(path: Path) -> bool:
    """Whether this is a folder that transformers' `save_pretrained` wrote."""
    return (path / PRETRAINED).is_file()


def load_into(model: nn.Module, path: Path) -> Network:
    """Give a model the state of a file, as `put_into` does, and return what `read_network` read.

    Raises:
        InputError: as `read_network` and `put_into`.
    """
    network = read_network(path)
    put_into(model, network.state, path)
    return network


def put_into(model: nn.Module, given: Mapping[str, Tensor], path: Path) -> None:
    """Give a model a state, which may have a weight that modules share under one of its names only.

    path: of the file that the state comes from, for the message.

    Raises:
        InputError: the state is that of another network.
    """
    state = dict(given)
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    for shared in names.values():
        known = next((state[name] for name in shared if name in state), None)
        if known is not None:
            state = {**dict.fromkeys(shared, known), **state}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        _unreadable(path, error)


def support_of(weights: Mapping[str, Tensor], argument: str, path: Path) -> Masks:
    """Masks of the weights that are not 0, which is all that can be known of a network that comes without masks.

    argument: the name of the argument that gave the file `path` of the network, for the message.

    Raises:
        InputError: all weights are 0.
    """
    masks = Masks({name: weight.detach() != 0 for name, weight in weights.items()})
    if not masks.active:
        refuse(argument, str(path), "a network with a prunable weight that is not 0")
    return masks


def _read_pickled(path: Path) -> dict[str, Tensor]:
    try:
        with open_regular(path) as file:
            found = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        _unreadable(path, error)
    if _is_state(found):
        return dict(found)
    inside = {key: value for key, value in found.items() if _is_state(value)} if isinstance(found, Mapping) else {}
    if len(inside) != 1:
        names = ", ".join(map(str, inside)) or "none"
        refuse("checkpoint", str(path), "a file with one state dict", f"state dicts in it: {names}")
    return dict(next(iter(inside.values())))


def _is_state(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(part, Tensor) for part in value.values())


def _unreadable(path: Path, error: Exception) -> NoReturn:
    raise InputError(f"checkpoint={str(path)!r} cannot be loaded: {' '.join(str(error).split())[:300]}") from None
