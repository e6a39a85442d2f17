"""Signs of weights: recorded while a network trains, counted by layer and epoch, compared between networks."""

from sparse_training.signs.compare import SignCounts, agreement, count_signs, flipped, flips_by_layer, total
from sparse_training.signs.flip_fates import Fates, fates
from sparse_training.signs.flips import FlipTable, LayerEpoch, flip_table
from sparse_training.signs.of_run import history_of
from sparse_training.signs.packed import Frame, SignHistory, SignWriter, pack_signs
from sparse_training.signs.tracker import SignTracker, SparseNetwork

__all__ = [
    "Fates",
    "FlipTable",
    "Frame",
    "LayerEpoch",
    "SignCounts",
    "SignHistory",
    "SignTracker",
    "SignWriter",
    "SparseNetwork",
    "agreement",
    "count_signs",
    "fates",
    "flip_table",
    "flipped",
    "flips_by_layer",
    "history_of",
    "pack_signs",
    "total",
]
