"""Form H v for one piece of the data: on a kept or rebuilt graph, linearized, compiled, or as Gauss-Newton.

v and H v are lists of tensors in the parameters' shapes; masks, batches and processes are the operator's.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from sparse_training.sharpness.losses import Part

Tensors = Sequence[Tensor]
Product = Callable[[Tensors], Tensors]


@dataclass(frozen=True)
class Piece:
    """Some samples, by two functions: the network's output on them, given its leaves, and their part of the loss.

    part: of an output, the samples' summed loss and its weight, or their share of the mean loss and None.
    """

    output: Callable[[Tensors], Tensor]
    part: Callable[[Tensor], Part]

    def loss(self, output: Tensor) -> Tensor:
        """Return the samples' part of the loss, a scalar."""
        return self.part(output)[0]

    def objective(self, leaves: Tensors) -> Tensor:
        """Return the samples' part of the loss at the leaves, a scalar."""
        return self.loss(self.output(leaves))


def gradient(value: Tensor, leaves: Tensors, create_graph: bool = True) -> Tensors:
    """∂value/∂leaves; zeros for a leaf that the value does not depend on."""
    if not value.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves]
    return torch.autograd.grad(value, leaves, create_graph=create_graph, materialize_grads=True)


def transposed(outputs: Tensors, inputs: Tensors, cotangents: Tensors) -> Tensors:
    """(∂outputs/∂inputs)ᵀ cotangents; the graph stays; zeros where no output depends on an input."""
    pairs = [(output, seed) for output, seed in zip(outputs, cotangents, strict=True) if output.requires_grad]
    if not pairs:
        return [torch.zeros_like(leaf) for leaf in inputs]
    roots, seeds = zip(*pairs, strict=True)
    return torch.autograd.grad(roots, inputs, seeds, retain_graph=True, materialize_grads=True)


def kept(piece: Piece, leaves: Tensors, slope: Tensors) -> Product:
    """Reverse over reverse on the kept graph of the gradient `slope`: H v = (∂slope/∂θ)ᵀ v (Pearlmutter 1994)."""
    return lambda v: transposed(slope, leaves, v)


def rebuilt(piece: Piece, leaves: Tensors, slope: Tensors) -> Product:
    """Reverse over reverse on a graph that lives for one product."""
    return lambda v: transposed(gradient(piece.objective(leaves), leaves), leaves, v)


def linearized(piece: Piece, leaves: Tensors, slope: Tensors) -> Product:
    """Forward over reverse: the directional derivative of the gradient, linearized once at the leaves."""
    with warnings.catch_warnings():  # torch warns of its own tracing
        warnings.simplefilter("ignore")
        _, tangent = torch.func.linearize(_gradient_of(piece, leaves), *(leaf.detach() for leaf in leaves))
    return lambda v: tangent(*v)


def forward(piece: Piece, leaves: Tensors, slope: Tensors) -> Product:
    """Forward over reverse, anew at each product: the directional derivative of the gradient.

    Its convolutions are those of a gradient, in their usual shapes. Reverse over reverse has others besides, with
    filters as large as the images, for which libraries on a GPU have no fast way.
    """
    points, function = tuple(leaf.detach() for leaf in leaves), _gradient_of(piece, leaves)

    def product(v: Tensors) -> Tensors:
        with warnings.catch_warnings():  # torch warns of its own formulas
            warnings.simplefilter("ignore")
            tangents: Tensors = torch.func.jvp(function, points, tuple(v))[1]
        return tangents

    return product


def compiled(piece: Piece, leaves: Tensors, slope: Tensors) -> Product:
    """`forward`, traced to plain operators that torch's compiler then fuses; the first product waits for it.

    The compiler is not asked to trace by itself, because it cannot differentiate a normalization.
    """
    plain = forward(piece, leaves, slope)
    made: list[Callable[..., Tensors]] = []

    def product(v: Tensors) -> Tensors:
        if not made:
            from torch._inductor import compile as compile_graph  # slow to import

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                traced = make_fx(lambda *tangents: plain(tangents))(*v)
                made.append(compile_graph(traced, list(v)))
        return made[0](*v)

    return product


def gauss_newton(piece: Piece, leaves: Tensors, slope: Tensors) -> Product:
    """Jᵀ (∂²loss/∂output²) J v on kept graphs (Schraudolph 2002); J v as the transpose of a transpose."""
    output = piece.output(leaves)
    if not output.requires_grad:
        return lambda v: [torch.zeros_like(leaf) for leaf in leaves]
    at_output = output.detach().requires_grad_()
    output_slope = gradient(piece.loss(at_output), [at_output])
    seed = torch.zeros_like(output, requires_grad=True)
    back = torch.autograd.grad(output, leaves, seed, create_graph=True, materialize_grads=True)

    def product(v: Tensors) -> Tensors:
        forward = transposed(back, [seed], v)
        return transposed([output], leaves, transposed(output_slope, [at_output], forward))

    return product


def rebuilt_gauss_newton(piece: Piece, leaves: Tensors, slope: Tensors) -> Product:
    """`gauss_newton` on graphs that live for one product."""
    return lambda v: gauss_newton(piece, leaves, slope)(v)


def _gradient_of(piece: Piece, leaves: Tensors) -> Callable[..., tuple[Tensor, ...]]:
    def objective(*values: Tensor) -> Tensor:
        return piece.objective(values)

    gradients: Callable[..., tuple[Tensor, ...]] = torch.func.grad(objective, argnums=tuple(range(len(leaves))))
    return gradients
