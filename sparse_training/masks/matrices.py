"""Which parameters are matrices that multiply activations, and which of their axes are outputs and inputs.

`MATRICES` is the table that `prunable` reads. One line makes a module of one's own known:

    MATRICES.append(Matrix(MyLayer, "kernel", "io"))
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

import torch
from torch import Tensor, nn

from commons.checks import refuse


class Matrix(NamedTuple):
    """Where the modules of a class keep a matrix that multiplies activations.

    owner: the class, or a shell pattern for its full name, so that its package need not be installed.
    parameter: a shell pattern for the attribute. axes: what the first axes are, one letter each: "o" outputs,
    "i" inputs, "e" the matrices of a stack, such as the experts of a mixture; further axes are positions of a kernel.
    opt_in: whether it is pruned only where `include` asks for it.
    """

    owner: type[nn.Module] | str
    parameter: str
    axes: str
    opt_in: bool = False

    def has(self, module: nn.Module, attribute: str) -> bool:
        """Whether the attribute of that module is such a matrix."""
        if not fnmatchcase(attribute, self.parameter):
            return False
        if not isinstance(self.owner, str):
            return isinstance(module, self.owner)
        return any(fnmatchcase(f"{kind.__module__}.{kind.__qualname__}", self.owner) for kind in type(module).__mro__)


MATRICES: list[Matrix] = [
    Matrix(nn.Linear, "weight", "oi"),
    Matrix(nn.Bilinear, "weight", "oii"),
    Matrix(nn.modules.conv._ConvTransposeNd, "weight", "io"),  # in groups: (inputs, outputs of a group, ...)
    Matrix(nn.modules.conv._ConvNd, "weight", "oi"),  # in groups: (outputs, inputs of a group, ...)
    Matrix(nn.MultiheadAttention, "*_proj_weight", "oi"),
    Matrix(nn.RNNBase, "weight_*", "oi"),
    Matrix(nn.RNNCellBase, "weight_*", "oi"),
    Matrix("transformers.pytorch_utils.Conv1D", "weight", "io"),
    Matrix("transformers.models.gpt_oss.*Experts", "*_proj", "eio"),
    Matrix("transformers.models.openai_privacy_filter.*Experts", "*_proj", "eio"),
    Matrix("transformers.models.llama4.*Experts", "*_proj", "eio"),
    Matrix("transformers.models.aria.*Experts", "*_proj", "eio"),
    Matrix("transformers.*Experts", "*_proj", "eoi"),
    Matrix("transformers.*Router", "weight", "oi"),
    Matrix(nn.Embedding, "weight", "io", opt_in=True),
    Matrix(nn.EmbeddingBag, "weight", "io", opt_in=True),
]
"""The first line that fits says what a parameter is; a line of one's own for a known class goes to the front."""

USUAL = "oi"
"""The axes of a weight that `MATRICES` does not know and `include` asked for."""


def matrix_of(module: nn.Module, attribute: str) -> Matrix | None:
    """The line of `MATRICES` for a parameter, or None."""
    return next((matrix for matrix in MATRICES if matrix.has(module, attribute)), None)


def matrices_of(model: nn.Module) -> dict[int, Matrix]:
    """The line of `MATRICES` for each parameter that has one, by the parameter's `id`.

    A weight that modules share is what the first of them says that is not `opt_in`: the matrix of an output layer
    rather than the embedding that it is tied to.
    """
    found: dict[int, Matrix] = {}
    for module in model.modules():
        for attribute, parameter in module._parameters.items():
            matrix = None if parameter is None else matrix_of(module, attribute)
            known = found.get(id(parameter))
            if matrix is not None and (known is None or (known.opt_in and not matrix.opt_in)):
                found[id(parameter)] = matrix
    return found


def axes_by_name(model: nn.Module) -> dict[str, str]:
    """The axes of each parameter, by the name that `named_parameters` gives it; `USUAL` for what no line knows."""
    found = matrices_of(model)
    return {name: found[id(p)].axes if id(p) in found else USUAL for name, p in model.named_parameters()}


def output_axes(axes: str) -> tuple[int, ...]:
    """The axes that tell neurons apart: outputs, and the matrices of a stack."""
    return tuple(index for index, letter in enumerate(axes) if letter in "oe")


def apart(tensors: Mapping[str, Tensor], axes: Mapping[str, str], inputs_second: bool) -> dict[str, Tensor]:
    """Each matrix of a stack as a tensor of its own, "NAME[K]", so that a distribution sees as many layers.

    inputs_second: whether to move inputs behind outputs as well, as a pattern of N in M consecutive inputs asks; shapes
    and orders are otherwise kept.
    """
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        letters = axes.get(name, USUAL)
        parts = {name: tensor}
        if "e" in letters:
            stack = tensor.unbind(letters.index("e"))
            parts = {f"{name}[{index}]": part for index, part in enumerate(stack)}
        flip = inputs_second and _inputs_first(letters)
        found |= {key: part.transpose(0, 1) if flip else part for key, part in parts.items()}
    return found


def together(
    parts: Mapping[str, Tensor], like: Mapping[str, Tensor], axes: Mapping[str, str], inputs_second: bool
) -> dict[str, Tensor]:
    """What `apart` made of tensors with the names and shapes of `like`, put together again."""
    found = {}
    for name, tensor in like.items():
        letters = axes.get(name, USUAL)
        flip = inputs_second and _inputs_first(letters)
        stack = "e" in letters
        count = tensor.shape[letters.index("e")] if stack else 1
        each = [parts[f"{name}[{index}]" if stack else name] for index in range(count)]
        each = [part.transpose(0, 1).contiguous() if flip else part for part in each]
        found[name] = torch.stack(each, letters.index("e")) if stack else each[0]
    return found


def _inputs_first(axes: str) -> bool:
    """Whether a matrix, of a stack or not, has its inputs before its outputs."""
    return axes.replace("e", "").startswith("io")


def check_real(parameters: Mapping[str, Tensor]) -> None:
    """Raise InputError, naming the first of the parameters that has no values yet, in a lazy module or on "meta"."""
    for name, parameter in parameters.items():
        if nn.parameter.is_lazy(parameter):
            refuse("model", f"{name} of a lazy module", "initialized", "run one batch through the network first")
        if parameter.is_meta:
            refuse("model", f"{name} on the meta device", "with values", "model.to_empty and a state dict give it some")
