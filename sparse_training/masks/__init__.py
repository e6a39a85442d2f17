"""Masks exact to the weight: a score ranks, a distribution says how many a layer keeps, `make_masks` joins them.

A weight is active because its mask says so, and a weight of value 0 may be active.
"""

from sparse_training.masks.distributions import (
    DISTRIBUTIONS,
    EmptyLayer,
    by_layer,
    check_distribution,
    from_scores,
    usual_distribution,
)
from sparse_training.masks.make import make_masks, score_and_distribution
from sparse_training.masks.matrices import MATRICES, Matrix
from sparse_training.masks.scores import SCORES, Criterion, Setting
from sparse_training.masks.selection import PassedOver, prunable
from sparse_training.masks.value import LayerMask, Masks

__all__ = [
    "DISTRIBUTIONS",
    "MATRICES",
    "SCORES",
    "Criterion",
    "EmptyLayer",
    "LayerMask",
    "Masks",
    "Matrix",
    "PassedOver",
    "Setting",
    "by_layer",
    "check_distribution",
    "from_scores",
    "make_masks",
    "prunable",
    "score_and_distribution",
    "usual_distribution",
]
