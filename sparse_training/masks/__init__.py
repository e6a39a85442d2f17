"""Masks exact to the weight: a score ranks, a distribution says how many a layer keeps, `make_masks` joins them.

A mask is never inferred from zeros, and scoring never changes the model.
"""

from sparse_training.masks.distributions import DISTRIBUTIONS, EmptyLayer, from_scores, usual_distribution
from sparse_training.masks.make import make_masks
from sparse_training.masks.scores import SCORES, Criterion, Setting
from sparse_training.masks.selection import prunable
from sparse_training.masks.value import LayerMask, Masks

__all__ = [
    "DISTRIBUTIONS",
    "SCORES",
    "Criterion",
    "EmptyLayer",
    "LayerMask",
    "Masks",
    "Setting",
    "from_scores",
    "make_masks",
    "prunable",
    "usual_distribution",
]
