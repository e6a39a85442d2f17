"""Curvature of a network's loss on its active weights: products with the Hessian, and what solvers learn from them.

Nothing here trains, prunes or draws.
"""

from sparse_training.sharpness.base import MatrixOperator, SymmetricOperator
from sparse_training.sharpness.eigenpair import Eigenpair
from sparse_training.sharpness.lanczos import lanczos
from sparse_training.sharpness.operator import HessianOperator
from sparse_training.sharpness.power import power_iteration
from sparse_training.sharpness.solve import max_eigenvalue

__all__ = [
    "Eigenpair",
    "HessianOperator",
    "MatrixOperator",
    "SymmetricOperator",
    "lanczos",
    "max_eigenvalue",
    "power_iteration",
]
