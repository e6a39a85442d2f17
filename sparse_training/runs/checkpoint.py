"""A network as a file: its merged state dict and its masks as one safetensors file, written whole, never a pickle.

It knows nothing of optimizers and of how a weight was written while it trained.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from commons.checks import InputError
from commons.files import write_whole
from sparse_training.masks import Masks

STATE, MASK = "state.", "mask."


@dataclass(frozen=True, eq=False)
class Network:
    """state: state dict of the plain network, on the CPU, 0 off the masks. masks: None where none were saved.

    info: what else was said of it; a run writes `epoch` and `inputs`, the arguments of `models.build`.
    """

    state: dict[str, Tensor]
    masks: Masks | None
    info: dict[str, Any]

    def weights(self) -> dict[str, Tensor]:
        """θ of the masked weights, by parameter name from input to output."""
        return {name: self.state[name] for name in self.masks or ()}


def save_network(path: str | Path, state: Mapping[str, Tensor], masks: Masks | None = None, **info: Any) -> None:
    """Write a network, whole or not at all. info: JSON values to keep with it."""
    tensors = {STATE + name: value for name, value in state.items()}
    tensors |= {MASK + name: mask for name, mask in (masks or {}).items()}
    write_tensors(Path(path), tensors, {"kind": "network", "order": [list(state), list(masks or ())], **info})


def load_network(path: str | Path) -> Network:
    """Read what `save_network` wrote; InputError in one line if the file is missing, cut short or something else."""
    tensors, info = read_tensors(Path(path), "network")
    names, layers = info.pop("order")
    masks = Masks({name: tensors[MASK + name] for name in layers}) if layers else None
    return Network({name: tensors[STATE + name] for name in names}, masks, info)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """A safetensors file with `info` as JSON in its header, whole or not at all."""
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    storages: set[int] = set()
    for name, tensor in held.items():  # the format holds no two names for one storage
        if tensor.data_ptr() in storages:
            held[name] = tensor.clone()
        storages.add(tensor.data_ptr())
    write_whole(path, lambda temporary: save_file(held, temporary, metadata={"info": json.dumps(info)}))


def read_tensors(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and info of a file of this kind; InputError names the file and what is wrong with it."""
    try:
        with safe_open(path, framework="pt") as file:
            info = json.loads((file.metadata() or {}).get("info", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"{str(path)!r} cannot be read: {' '.join(str(error).split())}") from None
    if info.pop("kind", None) != kind:
        raise InputError(f"{str(path)!r} holds no {kind} of this package")
    return tensors, info
