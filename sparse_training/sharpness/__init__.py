"""Curvature of a network's loss on its active weights: products with its Hessian, and what solvers learn of it."""

from sparse_training.sharpness.base import MatrixOperator, SymmetricOperator
from sparse_training.sharpness.density import SpectralDensity, spectral_density
from sparse_training.sharpness.eigenpair import Eigenpair
from sparse_training.sharpness.layers import layer_eigenvalues
from sparse_training.sharpness.operator import HessianOperator
from sparse_training.sharpness.power import power_iteration
from sparse_training.sharpness.solve import max_eigenvalue
from sparse_training.sharpness.spaces import FactorOperator, FlowOperator, in_space
from sparse_training.sharpness.thick_restart import lanczos, top
from sparse_training.sharpness.trace_estimates import trace

__all__ = [
    "Eigenpair",
    "FactorOperator",
    "FlowOperator",
    "HessianOperator",
    "MatrixOperator",
    "SpectralDensity",
    "SymmetricOperator",
    "in_space",
    "lanczos",
    "layer_eigenvalues",
    "max_eigenvalue",
    "power_iteration",
    "spectral_density",
    "top",
    "trace",
]
