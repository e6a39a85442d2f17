"""A network as a file: its merged state dict and its masks as one safetensors file, written whole, never a pickle.

Masked weights are written dense beside their masks, or in a layout of `sparse_tensors`; `load_network` reads all.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from commons.checks import InputError, choice, refuse
from commons.files import OldForm, unreadable
from sparse_training import sparse_tensors, tensor_files
from sparse_training.masks import Masks

STATE, MASK = "state.", "mask."


@dataclass(frozen=True, eq=False)
class Network:
    """state: state dict of the plain network, on the CPU, 0 off the masks. masks: None where none were saved.

    info: what else was said of it; a run writes `epoch` and `inputs`, the arguments of `models.build`.
    """

    state: dict[str, Tensor]
    masks: Masks | None = None
    info: dict[str, Any] = field(default_factory=dict)

    def weights(self) -> dict[str, Tensor]:
        """θ of the masked weights, by parameter name from input to output."""
        return {name: self.state[name] for name in self.masks or ()}

    def digest(self) -> str:
        """SHA-256 in hexadecimal of the names, shapes, types and bytes of all tensors and masks."""
        tensors = {STATE + name: value for name, value in self.state.items()}
        return tensor_files.digest_of(tensors | {MASK + name: mask for name, mask in (self.masks or {}).items()}, {})


def save_network(
    path: str | Path,
    network: nn.Module | Mapping[str, Tensor],
    masks: Masks | None = None,
    *,
    layout: str = "dense",
    **info: Any,
) -> None:
    """Write a network to the file `path`, whole or not at all.

    network: the merged network or its state dict, each tensor in its parameter's shape. masks: its support, if any.
    layout: how masked weights are written, "dense" with the mask beside it, "sparse" or "2:4" (see `sparse_tensors`).
    info: JSON values to keep with it.

    Raises:
        InputError: an unknown layout, or a network that is not merged; or, for a layout that is not dense, a weight
            that is not 0 off its mask or whose mask does not fit the layout, told with the name of the weight.
    """
    choice("layout", layout, sparse_tensors.LAYOUTS)
    state, own = _state_of(network) if isinstance(network, nn.Module) else network, dict(masks or {})
    if layout == "dense":
        tensors = {STATE + name: value for name, value in state.items()}
        tensors |= {MASK + name: mask for name, mask in own.items()}
        form: dict[str, Any] = {"order": [list(state), list(own)]}
    else:
        held = {name: value.cpu() for name, value in state.items()}
        tensors, table = sparse_tensors.pack(held, {name: mask.cpu() for name, mask in own.items()}, layout)
        form = {"layout": layout, "tensors": table}
        if list(own) != [name for name in state if name in own]:
            form["order"] = [list(state), list(own)]
    write_checkpoint(Path(path), tensors, {"kind": "network", **form, **info})


def _state_of(network: nn.Module) -> Mapping[str, Tensor]:
    if any(parametrize.is_parametrized(module) for module in network.modules()):
        refuse("network", type(network).__name__, "merged, as factors write its weights", "give sparse.merge()")
    return network.state_dict()


def load_network(path: str | Path) -> Network:
    """Read what `save_network` wrote; a file without a digest is read with the warning `OldForm`.

    Raises:
        InputError: the file is missing, damaged or something else, told in one line.
    """
    tensors, info = read_checkpoint(Path(path), "network")
    try:
        layout = info.pop("layout", "dense")
        if layout == "dense":
            names, layers = info.pop("order")
            state = {name: tensors[STATE + name] for name in names}
            own = {name: tensors[MASK + name] for name in layers}
        else:
            state, own = sparse_tensors.unpack(tensors, info.pop("tensors"), layout)
            own = {name: own[name] for name in info.pop("order", [[], own])[1]}
        masks = Masks(own) if own else None
        weights = {name: state[name] for name in masks or ()}
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError) as error:
        unreadable(path, f"it holds no whole network ({type(error).__name__}: {error})")
    for name, mask in (masks or {}).items():
        if weights[name].shape != mask.shape:
            unreadable(path, f"the mask of {name!r} has another shape than the weight")
    return Network(state, masks, info)


def is_network(path: str | Path) -> bool:
    """Whether the header of a safetensors file says that `save_network` wrote it."""
    try:
        return bool(json.loads(tensor_files.read_metadata(Path(path)).get("info", "{}")).get("kind") == "network")
    except (ValueError, AttributeError, TypeError, RecursionError):
        return False


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """A safetensors file with a digest and with `info` as JSON in its header, whole or not at all."""
    tensor_files.write_tensors(path, tensors, {"info": json.dumps(info)})


def read_checkpoint(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and info of a file of this kind; InputError names the file and what is wrong with it."""
    tensors, metadata = tensor_files.read_tensors(path)
    try:
        info = json.loads(metadata.get("info", "{}"))
        found = info.pop("kind", None)
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        unreadable(path, f"its header is damaged: {error}")
    if found != kind:
        raise InputError(f"{str(path)!r} holds no {kind} of this package")
    if tensor_files.DIGEST not in metadata:
        warnings.warn(
            f"the files in {str(path.parent)!r} are of an old form without digests: damage to them cannot be found",
            OldForm,
            stacklevel=1,
        )
    return tensors, info
