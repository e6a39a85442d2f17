"""A Krylov space that grows by one product at a time, with thick restarts, and its Ritz pairs.

Its basis is kept fully orthogonal. When to stop is decided by the solvers.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse_training.seeding import generator
from sparse_training.sharpness.base import FLOOR, SymmetricOperator

Array = NDArray[np.float64]


def random_unit(operator: SymmetricOperator, seed: int, *keys: int | str) -> Tensor:
    """A vector uniform on the unit sphere, (size,), the same on every device."""
    draw = torch.randn(operator.size, generator=generator(seed, "krylov", *keys), dtype=torch.float64)
    unit: Tensor = draw / draw.norm()
    return unit.to(operator.device, operator.dtype)


@dataclass(frozen=True, eq=False)
class Ritz:
    """Ritz values (m,) descending, their residual norms (m,), and their coordinates (m, m) by column in the basis."""

    values: Array
    residuals: Array
    coordinates: Array


class Krylov:
    """Orthonormal basis q₁ … q_m of a Krylov space of sign·A and the projected matrix T = QᵀAQ (Wu & Simon 2000).

    After `grow`, A Q = Q T + β q_{m+1} e_mᵀ up to rounding. capacity: most vectors held, beside one more; at that many,
    `restart` keeps the best. sign: -1 turns the smallest eigenvalues into the largest.
    """

    def __init__(self, operator: SymmetricOperator, start: Tensor, capacity: int, *, sign: int = 1, seed: int = 0):
        self.operator, self.sign, self._seed = operator, sign, seed
        self.capacity = min(capacity, operator.size)
        # Rows are allocated as they are reached: an early end costs no memory.
        self._basis = torch.empty(0, operator.size, dtype=operator.dtype, device=operator.device)
        self._rows = 0
        self._push(start / start.norm())
        self.T = np.zeros((self.capacity, self.capacity))
        self.beta, self.steps, self.exhausted = 0.0, 0, False
        self.betas: list[float] = []
        self.restarted = False
        self._fresh = False  # just restarted: the next image has a part along every vector kept

    def grow(self) -> None:
        """One product; two passes of Gram-Schmidt, the first of which needs only the vectors that T couples to."""
        j = self.steps
        q = self._basis[j]
        image = self.sign * (self.operator @ q)
        self.T[j, j] = float(q.double() @ image.double())
        coupled = 0 if self._fresh else max(j - 1, 0)
        for basis in (self._basis[coupled : j + 1], self._basis[: j + 1]):
            image = image - basis.T @ (basis @ image)
        self._fresh = False
        self.beta = float(torch.linalg.vector_norm(image, dtype=torch.float64))
        self.steps += 1
        scale = float(np.linalg.norm(self.T[: self.steps, : self.steps]))
        self.exhausted = self.beta <= FLOOR[self.operator.dtype] * scale
        self.betas.append(self.beta)
        if self.exhausted:
            self.beta = 0.0
        else:
            self._push(image / self.beta)
            if self.steps < self.capacity:
                self.T[j, j + 1] = self.T[j + 1, j] = self.beta

    def ritz(self) -> Ritz:
        """The Ritz pairs of the present space, largest first."""
        # Not NumPy's: the threads of its BLAS go on spinning and slow the next products down by a third.
        pairs = torch.linalg.eigh(torch.from_numpy(self.T[: self.steps, : self.steps]))
        values, coordinates = pairs.eigenvalues.flip(0).numpy(), pairs.eigenvectors.flip(1).numpy()
        return Ritz(values, self.beta * np.abs(coordinates[-1]), coordinates)

    def vectors(self, coordinates: Array) -> Tensor:
        """Vectors (k, size) of the coordinates (m, k)."""
        weights = torch.from_numpy(np.ascontiguousarray(coordinates.T)).to(self._basis)
        return weights @ self._basis[: len(coordinates)]

    def restart(self, ritz: Ritz, keep: int, direction: Tensor | None = None) -> None:
        """Keep the best Ritz vectors, coupled to the next basis vector, or to none and a fresh direction instead."""
        best = self.vectors(ritz.coordinates[:, :keep])
        coupling = self.beta * ritz.coordinates[-1, :keep]
        following = self._basis[self.steps].clone() if direction is None else direction
        if direction is not None:
            coupling = np.zeros(keep)
            for _ in range(2):
                following = following - best.T @ (best @ following)
            following = following / following.norm()
        self._basis[:keep], self._rows = best, keep
        self._push(following)
        self.T[:] = 0
        self.T[range(keep), range(keep)] = ritz.values[:keep]
        self.T[keep, :keep] = self.T[:keep, keep] = coupling
        self.steps, self.restarted, self._fresh = keep, True, True

    def _push(self, vector: Tensor) -> None:
        if self._rows == len(self._basis):
            rows = min(max(8, 2 * self._rows), self.capacity + 1)
            wider = self._basis.new_empty(rows, self._basis.shape[1])  # untouched rows cost neither time nor memory
            wider[: self._rows] = self._basis
            self._basis = wider
        self._basis[self._rows] = vector
        self._rows += 1
