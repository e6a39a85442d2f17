"""What every solver stands on: a symmetric linear map that counts its products."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from commons.checks import refuse

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

# Relative accuracy below which nothing is claimed: rounding of products and of the network's own evaluation.
FLOOR = {torch.float32: 1e-6, torch.float64: 1e-12}


@dataclass(frozen=True)
class Rounding:
    """What rounding does to a product A v in float32, estimated: Δ = A v − (A v in float64).

    value: |vᵀΔ|, by which the Rayleigh quotient vᵀAv may be wrong. vector: ‖Δ‖.
    """

    value: float
    vector: float

    def scaled(self, value: float, vector: float) -> "Rounding":
        """Both numbers, each times its factor."""
        return Rounding(value * self.value, vector * self.vector)


EXACT, UNKNOWN = Rounding(0.0, 0.0), Rounding(math.inf, math.inf)


class SymmetricOperator(ABC):
    """A symmetric map of vectors (size,) of one dtype on one device; `products` counts its applications.

    Arguments:
        size: length of the vectors.
        dtype: torch.float32 or torch.float64.
        device: where the vectors live.
    """

    def __init__(self, size: int, dtype: torch.dtype, device: torch.device) -> None:
        if dtype not in FLOOR:
            refuse("dtype", dtype, "torch.float32 or torch.float64")
        self.size, self.dtype, self.device = size, dtype, device
        self.products = 0

    @abstractmethod
    def _product(self, v: Tensor) -> Tensor:
        """A v for a vector of the right shape, dtype and device."""

    @property
    def gradient_equivalents(self) -> float:
        """Work done so far in gradients of the same loss over the same samples; a plain map counts its products."""
        return float(self.products)

    def __matmul__(self, v: Tensor) -> Tensor:
        """A v. Raises InputError where the shape of v is wrong or A v is not finite."""
        if v.shape != (self.size,):
            refuse("v", tuple(v.shape), f"of shape ({self.size},)")
        self.products += 1
        image = self._product(v.to(device=self.device, dtype=self.dtype))
        # A finite sum has only finite terms, and takes a tenth of the time.
        if not math.isfinite(float(image.sum())) and not bool(torch.isfinite(image).all()):
            refuse("A v", "nan or inf", "finite", "the loss or its derivatives overflow here")
        return image

    @property
    def unseen(self) -> float:
        """The share of an eigenvalue that rounding may reach without being seen by `rounding`."""
        return 0.0

    def rounding(self, v: Tensor) -> Rounding:
        """Estimate the rounding of A v, for a v of any length.

        It is EXACT where nothing is rounded, and UNKNOWN where `in_float64` is to be asked instead.
        """
        return EXACT

    def in_float64(self, v: Tensor) -> Tensor:
        """A v in float64, for a float64 vector v; only where `rounding` is not 0."""
        raise NotImplementedError

    def linear_operator(self) -> "LinearOperator":
        """The same map for SciPy, on NumPy vectors (size,) of the same precision."""
        from scipy.sparse.linalg import LinearOperator

        def matvec(v: Any) -> Any:
            return (self @ torch.from_numpy(v.reshape(-1)).to(self.device, self.dtype)).cpu().numpy()

        precision = str(self.dtype).removeprefix("torch.")
        return LinearOperator((self.size, self.size), matvec=matvec, rmatvec=matvec, dtype=precision)


class MatrixOperator(SymmetricOperator):
    """An explicit symmetric matrix (n, n), float32 or float64."""

    def __init__(self, matrix: Tensor) -> None:
        if matrix.ndim != 2 or not matrix.numel() or not torch.equal(matrix, matrix.T):
            refuse("matrix", tuple(matrix.shape), "a symmetric matrix")
        super().__init__(len(matrix), matrix.dtype, matrix.device)
        self.matrix = matrix

    def _product(self, v: Tensor) -> Tensor:
        return self.matrix @ v
