"""`export`: writes a network in one of the formats that `FORMATS` names, and reads it back as what it computes."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from commons.checks import choice, refuse
from commons.files import output_file, write_whole
from sparse_training.export import onnx_file
from sparse_training.masks import Masks
from sparse_training.runs.checkpoint import Network, load_network, save_network
from sparse_training.runs.states import put_into
from sparse_training.tensor_files import read_tensors, write_tensors

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Format:
    """A way to write a network.

    suffixes: the extensions of its files; the first format with an extension is the one that it stands for.
    write(network, path, model, x): writes the file; model computes what the network does, in evaluation mode, and x is
    a batch of its inputs; both are None where they are not at hand. read(path, model): what the file computes; it puts
    the weights into the model where the format has no graph of its own. needs_model: whether `write` needs them.
    """

    suffixes: tuple[str, ...]
    write: Callable[[Network, Path, nn.Module | None, Tensor | None], object]
    read: Callable[[Path, nn.Module], Function]
    needs_model: bool = False


def export(
    network: Network,
    path: str | Path,
    format: str | None = None,
    *,
    model: nn.Module | None = None,
    x: Tensor | None = None,
) -> str:
    """Write a network to the file `path`, whole or not at all, and return the name of the format.

    format: one of `FORMATS`; None takes the one that the extension of path stands for. model: a module with the
    network's weights; x: a batch of its inputs (B, ...); both are needed for ONNX alone.

    Raises:
        InputError: an unknown format or extension, or one that contradicts the other; masks that do not fit the
            format; a package that is not installed.
    """
    name = format_of(path, format)
    chosen = FORMATS[name]
    if chosen.needs_model and (model is None or x is None):
        refuse("format", name, "possible without a model and a batch of its inputs")
    chosen.write(network, output_file("out", path), model, x)
    return name


def format_of(path: str | Path, format: str | None = None) -> str:
    """The name of the format of a file: the one that is given, or else the one that the extension stands for.

    Raises:
        InputError: the extension of path is not known, or not that of the format.
    """
    suffix = Path(path).suffix
    if format is None:
        by_suffix = {end: name for name, known in reversed(FORMATS.items()) for end in known.suffixes}
        if suffix not in by_suffix:
            refuse("out", str(path), f"a file with the extension {', '.join(sorted(by_suffix))}")
        return by_suffix[suffix]
    choice("format", format, FORMATS)
    if suffix not in FORMATS[format].suffixes:
        refuse("out", str(path), f"a file with the extension {' or '.join(FORMATS[format].suffixes)} of {format}")
    return format


def with_support(network: Network) -> Network:
    """The network itself, or, where it has no masks, with those of the weights of two or more axes that are not 0.

    Masks are taken so only from tensors in which at least half of the entries are 0; without any it stays as it is.
    """
    if network.masks is not None:
        return network
    found = {
        name: value != 0
        for name, value in network.state.items()
        if value.dim() > 1 and value.is_floating_point() and 2 * int((value != 0).sum()) <= value.numel() > 0
    }
    return replace(network, masks=Masks(found)) if found else network


def dense_bytes(network: Network) -> int:
    """Bytes of all tensors of the network's state, written dense in their own types."""
    return sum(value.nbytes for value in network.state.values())


def _write_state(network: Network, path: Path, *_: object) -> None:
    write_tensors(path, network.state, {"format": "pt"})


def _write_layout(layout: str) -> Callable[..., None]:
    def write(network: Network, path: Path, *_: object) -> None:
        if network.masks is None:
            refuse("format", layout, "for a network without masks in whose weights fewer than half are 0")
        save_network(path, network.state, network.masks, layout=layout, **network.info)

    return write


def _write_pt(network: Network, path: Path, *_: object) -> None:
    state = {name: value.detach().cpu().contiguous() for name, value in network.state.items()}
    write_whole(path, lambda temporary: torch.save(state, temporary))


def _write_csr(network: Network, path: Path, *_: object) -> None:
    """{"state_dict": masked weights as CSR matrices (units, everything else), "shapes": their shapes as lists}."""
    masks = {name: mask for name, mask in (network.masks or {}).items() if mask.dim() > 1}
    state = {name: value.detach().cpu().contiguous() for name, value in network.state.items()}
    coded = {name: csr_matrix(state[name].flatten(1), mask.cpu().flatten(1)) for name, mask in masks.items()}
    content = {"state_dict": state | coded, "shapes": {name: list(state[name].shape) for name in coded}}
    write_whole(path, lambda temporary: torch.save(content, temporary))


def csr_matrix(weight: Tensor, mask: Tensor) -> Tensor:
    """A torch.sparse_csr matrix of the active entries of a weight (units, inputs), with indices in 32 bits.

    mask: bool, in the shape of the weight. An active entry of value 0 is stored.
    """
    ends = torch.cat((torch.zeros(1, dtype=torch.int64), mask.sum(1).cumsum(0)))
    columns = mask.nonzero()[:, 1]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            ends.int(), columns.int(), weight[mask], size=weight.shape, check_invariants=False
        )


def _put(read: Callable[[Path], Mapping[str, Tensor]]) -> Callable[[Path, nn.Module], Function]:
    """`Format.read` of a format whose files hold a state dict."""

    def put(path: Path, model: nn.Module) -> Function:
        put_into(model, read(path), path)
        return model

    return put


def _read_csr(path: Path) -> dict[str, Tensor]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        content: dict[str, Any] = torch.load(path, weights_only=True)
    state, shapes = content["state_dict"], content["shapes"]
    return {name: value.to_dense().view(shapes[name]) if name in shapes else value for name, value in state.items()}


_NETWORK = _put(lambda path: load_network(path).state)
FORMATS: dict[str, Format] = {
    "safetensors": Format((".safetensors",), _write_state, _put(lambda path: read_tensors(path)[0])),
    "safetensors-sparse": Format((".safetensors",), _write_layout("sparse"), _NETWORK),
    "2:4": Format((".safetensors",), _write_layout("2:4"), _NETWORK),
    "pt": Format((".pt", ".pth"), _write_pt, _put(lambda path: torch.load(path, weights_only=True))),
    "csr": Format((".pt", ".pth"), _write_csr, _put(_read_csr)),
    "onnx": Format((".onnx",), partial(onnx_file.write, compressed=True), onnx_file.read, needs_model=True),
    "onnx-dense": Format((".onnx",), partial(onnx_file.write, compressed=False), onnx_file.read, needs_model=True),
}
"""The formats of `export`. Without a name, an extension stands for the one that other programs open as it is."""
