"""Networks in files of anyone: state dicts in safetensors or from torch.save, and what `save_network` wrote."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor, nn

from commons.checks import InputError, refuse
from commons.files import open_regular
from sparse_training.runs.checkpoint import Network, is_network, load_network
from sparse_training.tensor_files import read_tensors


def read_network(path: Path) -> Network:
    """Read a state dict from .safetensors, or from what torch.save wrote, in which only tensors are accepted.

    A dictionary around it, as {"epoch": ..., "state_dict": ...}, is opened where it holds one state dict. A network
    that `runs.save_network` wrote comes with its masks and what was said of it; others have neither.

    Raises:
        InputError: The file cannot be read, or holds no state dict, or several.
    """
    if path.suffix == ".safetensors":
        return load_network(path) if is_network(path) else Network(read_tensors(path)[0], None, {})
    return Network(_read_pickled(path), None, {})


def load_into(model: nn.Module, path: Path) -> Network:
    """Give a model the state of a file, which may have a weight that modules share under one of its names only.

    Raises:
        InputError: as `read_network`, or the state is that of another network.
    """
    network = read_network(path)
    state = dict(network.state)
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
    return network


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
